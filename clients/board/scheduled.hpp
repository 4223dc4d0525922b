// scheduled.hpp -- a server that is run step by step on the board: a puzzle, where the reader says
// who goes next, or a schedule that was saved, which is played.
//
// All of it belongs to the main thread.
#pragma once

#include "clients/shared/schedule/puzzle.hpp"
#include "clients/shared/schedule/schedule_file.hpp"

#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ground::board {

class Scheduled {
  public:
    // Both start the server. They throw ClientError if that fails.
    Scheduled(const explore::Puzzle& puzzle, explore::Subject subject);
    Scheduled(const explore::ScheduleFile& file, explore::Subject subject);
    ~Scheduled();
    Scheduled(const Scheduled&) = delete;
    Scheduled& operator=(const Scheduled&) = delete;

    // Does what a button asks for, {"do": "choose", "which": 0}. The result is empty, or one line
    // that says why not.
    [[nodiscard]] std::string obey(const nlohmann::json& command);

    // Call it about every 50 ms. A schedule that is played goes on, and a solution may be there.
    void tick();

    [[nodiscard]] explore::Play& play() { return game_ ? game_->play() : *reel_->play; }
    [[nodiscard]] const explore::Subject& subject() const { return subject_; }
    // Counts the servers, because each time that the reader takes something back another one is
    // started.
    [[nodiscard]] unsigned run() const noexcept { return run_; }
    // Whether there is something new since the last json().
    [[nodiscard]] bool changed() const noexcept { return changed_; }
    // A schedule that is played has come to its end, and that was shown for a while.
    [[nodiscard]] bool over() const;
    // For the page.
    [[nodiscard]] nlohmann::json json();

  private:
    using Clock = std::chrono::steady_clock;

    struct Reel {
        explore::Story story;
        std::unique_ptr<explore::Play> play;
        std::vector<std::string> actors;
        std::size_t next = 0;
        Clock::time_point when;  // the next step, or the end
    };

    std::string choose(const nlohmann::json& command);
    std::string look_for_solution();
    [[nodiscard]] nlohmann::json steps_of(const explore::Run& run) const;

    const explore::Subject subject_;
    std::optional<explore::Game> game_;
    std::optional<Reel> reel_;
    unsigned run_ = 1;
    bool changed_ = true;
    std::string said_;  // the reply to "no order breaks it"
    std::atomic<bool> stop_{false};
    std::future<std::optional<explore::Run>> search_;
    std::optional<explore::Run> solution_;
    bool lesson_ = false;  // whether it is told already
};

}  // namespace ground::board
