// puzzle.hpp -- the reader is the scheduler: make a server break its promise.
#pragma once

#include "clients/shared/schedule/subject.hpp"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ground::explore {

struct Puzzle {
    std::string name;
    std::string goal;
    std::string stage;  // or, if it has a mistake of its own, the wrong turn
    bool wrong = false;
    std::vector<std::string> options;
    std::string story;
    bool can_be_solved = true;  // else the solution is to say so
    std::vector<std::string> hints;
    std::string lesson;  // afterwards
};

[[nodiscard]] const std::vector<Puzzle>& puzzles();

// Throws ClientError if there is none of this name.
[[nodiscard]] const Puzzle& find_puzzle(const std::string& name);

// A puzzle that is being played. The terminal and the board each show it in their own way. All of
// it belongs to one thread.
class Game {
  public:
    // Starts the server. Throws ClientError if that fails, as every function that starts it again.
    Game(const Puzzle& puzzle, Subject subject);

    enum class End {
        open,    // there is something to choose
        kept,    // the run is over, and every promise was kept
        solved,  // one was broken; or none can be, and the reader has said so
        strange,
    };
    struct Option {
        Act act;
        std::string text;  // "reads answered_"
        bool went_last = false;
    };
    struct Choice {
        std::string actor;
        bool by_reader = false;  // else there was nothing to choose
    };

    [[nodiscard]] const Puzzle& puzzle() const noexcept { return puzzle_; }
    [[nodiscard]] const Subject& subject() const noexcept { return subject_; }
    [[nodiscard]] const Story& story() const noexcept { return story_; }
    [[nodiscard]] End end() const noexcept { return end_; }
    [[nodiscard]] const Run& run() const noexcept { return play_->run(); }
    [[nodiscard]] Play& play() noexcept { return *play_; }

    // Two at least; none if the run is over.
    [[nodiscard]] std::vector<Option> options() const;
    // The one that went last, or else the first.
    [[nodiscard]] std::size_t by_default() const
    {
        return choose_by_default(play_->enabled(), play_->last());
    }
    void choose(std::size_t which);
    // The server starts again, and all before the reader's last choice is replayed. False if
    // nothing has been chosen.
    bool take_back();
    // From the beginning.
    void again();
    // The next one, or the last one again.
    const std::string& hint();
    [[nodiscard]] std::size_t hints_shown() const noexcept { return hints_; }
    // Returns whether that is right.
    bool says_that_none_does();
    [[nodiscard]] std::size_t choices() const;  // of the reader

  private:
    void restart();
    void go_to_the_next_choice();

    const Puzzle& puzzle_;
    const Subject subject_;
    const Story story_;
    std::optional<Play> play_;
    std::vector<Choice> taken_;
    std::size_t hints_ = 0;
    End end_ = End::open;
};

// Of a puzzle that can be solved, with the fewest pre-emptions. Nothing if it is not found in time.
// `tick` is called after each run, and may throw to end the search.
[[nodiscard]] std::optional<Run> solve(const Subject& subject, const Story& story,
                                       const std::function<void()>& tick);

}  // namespace ground::explore
