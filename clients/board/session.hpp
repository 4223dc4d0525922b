// session.hpp -- a stage that runs, its clients, and the film of them.
//
// All of it belongs to the main thread, except submit(), where the viewers' threads leave their
// commands, and crowd().
#pragma once

#include "clients/board/crowd.hpp"
#include "clients/board/film.hpp"
#include "clients/board/outside.hpp"
#include "clients/board/scheduled.hpp"
#include "clients/compare/measure/child.hpp"
#include "clients/shared/catalogue.hpp"
#include "common/observe/watcher.hpp"

#include <nlohmann/json.hpp>

#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ground::board {

class Session {
  public:
    Session(Supervisor& supervisor, const std::vector<StageEntry>& stages, Film& film);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Ends the running stage, if there is one, and starts `stage`. The clients move to it. Whenever
    // this stage is chosen again, it gets these options. Throws ClientError if the stage does not
    // begin to listen.
    void start(const StageEntry& stage, const std::vector<std::string>& options);

    // Shows a server that is run step by step, instead of a stage.
    void start(std::unique_ptr<Scheduled> scheduled);

    // Does what a button asks for: {"do": "pause"}. The result is empty, or one line that says why
    // not.
    [[nodiscard]] std::future<std::string> submit(nlohmann::json command);

    // Does what was submitted, renews the lease, looks at the stage, and adds a frame to the film.
    // Call it about every 50 ms.
    void tick();

    // Like submit(), but from our own thread.
    std::string obey(const nlohmann::json& command);

    // Its clients. Any thread may use them.
    [[nodiscard]] Crowd& crowd() noexcept { return crowd_; }
    // The server's own source file: the file in which it waits for its first client. Empty if the
    // server does not say, because it is not built on common/.
    [[nodiscard]] std::string main_file();
    // The name of the stage that runs, or ran last.
    [[nodiscard]] std::string stage() const { return entry() != nullptr ? entry()->name : ""; }
    // A schedule was played, and is over.
    [[nodiscard]] bool over() const { return scheduled_ && scheduled_->over(); }

  private:
    // A server and the memory that it shares with us.
    struct Stage {
        Stage(Supervisor& supervisor, const StageEntry& stage,
              const std::vector<std::string>& options);

        const StageEntry& entry;
        observe::Watcher watcher;  // before the child, which may look into the memory while it ends
        Child child;
        std::uint16_t port = 0;
        std::size_t said = 0;  // bytes on stderr until it listened
        std::string end;       // how it has ended; empty: it runs
    };

    std::string step(const nlohmann::json& command);
    std::string slow(const nlohmann::json& command);
    std::string come(Role role, const nlohmann::json& command);
    std::string ask(const nlohmann::json& command);
    std::string leave(const nlohmann::json& command);
    std::string kill_worker(const nlohmann::json& command);
    std::string other_stage(const nlohmann::json& command);
    std::string restart();

    void run(const StageEntry& stage);
    void forget_places();
    [[nodiscard]] bool running() const
    {
        return scheduled_ != nullptr || (stage_ && !stage_->child.ended());
    }
    [[nodiscard]] observe::Watcher& watcher();
    [[nodiscard]] const StageEntry* entry() const;  // nullptr: there is no server
    [[nodiscard]] const std::vector<std::string>& options() const;
    void notice_end();
    void film();
    void film_places(std::string& json, bool key);
    void film_events(std::string& json);
    void film_clients(std::string& json, const Tally& tally, bool key);
    void film_scheduled(std::string& json, bool key);
    void film_figures(std::string& json, const Tally& tally);
    void count(const Tally& tally);
    [[nodiscard]] std::int64_t since_origin(std::uint64_t microseconds) const;

    Supervisor& supervisor_;
    const std::vector<StageEntry>& stages_;
    Film& film_;
    Crowd crowd_;
    std::optional<Stage> stage_;
    std::unique_ptr<Scheduled> scheduled_;
    unsigned scheduled_run_ = 0;
    std::map<std::string, std::vector<std::string>> options_;  // those given, by the stage's name

    enum class Pace { free, slow, paused };
    Pace pace_ = Pace::free;
    unsigned slow_ms_ = 0;
    unsigned run_ = 0;  // counts the stages
    std::vector<std::string> news_;
    std::vector<std::uint32_t> killed_;  // workers, since the last frame

    const std::uint64_t origin_;  // CLOCK_MONOTONIC in microseconds, as all times in the memory
    std::int64_t now_ = 0;        // since then
    std::int64_t next_key_ = 0;
    std::int64_t next_figures_ = 0;
    std::int64_t next_body_ = 0;
    std::map<std::uint32_t, observe::Seen> shown_;
    std::map<unsigned, std::string> files_;
    std::deque<std::pair<std::int64_t, double>>
        latencies_;  // of the last second, each with the time when it came
    Body body_;
    std::int64_t body_at_ = 0;
    double cpu_percent_ = 0;

    std::mutex mutex_;  // of what follows
    std::deque<std::pair<nlohmann::json, std::promise<std::string>>> submitted_;
};

}  // namespace ground::board
