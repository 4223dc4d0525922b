// bench.hpp -- one server and one load: what every scenario is made of.
#pragma once

#include "clients/compare/compare_options.hpp"
#include "clients/compare/measure/child.hpp"
#include "clients/compare/measure/usage.hpp"

#include <nlohmann/json.hpp>

#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ground {

// The verdict on a stage that does not begin to listen.
inline constexpr const char* failed_to_start = "failed to start";

// Why a stage has no figures.
class Failed : public std::runtime_error {
  public:
    // verdict: for a cell of the table, "died". detail: for a line below it.
    Failed(std::string verdict, const std::string& detail)
        : std::runtime_error(detail), verdict_(std::move(verdict))
    {
    }
    [[nodiscard]] const std::string& verdict() const noexcept { return verdict_; }

  private:
    std::string verdict_;
};

// Which program runs on which CPUs. Empty: on any.
struct Placement {
    std::vector<int> server;
    std::vector<int> client;
    std::vector<int> all;
    unsigned client_threads = 1;  // perf's, if there are as many connections
    std::string words;            // for the report
};

// Divides these CPUs between server and clients, at least one for each.
[[nodiscard]] Placement place(Pin pin, std::vector<int> cpus);

// The CPUs that this process may use.
[[nodiscard]] std::vector<int> usable_cpus();

// Is told how a measurement goes.
class BenchObserver {
  public:
    virtual ~BenchObserver() = default;
    // What is being done now: "warming up".
    virtual void on_step(std::string_view step) = 0;
    // The rate of the measured clients, a slice of the time later.
    virtual void on_rate(double requests_per_second) = 0;
};

// How busy other programs keep the CPUs, in percent. Call it while none of ours runs. It takes a
// moment.
[[nodiscard]] double percent_busy(Supervisor& supervisor);

// What a scenario needs to know of the whole run.
struct Bench {
    Supervisor& supervisor;
    const CompareOptions& options;
    const Placement& placement;
    std::string perf;  // its path
    BenchObserver& observer;

    // A measurement is watched in slices of this length.
    [[nodiscard]] Nanoseconds slice() const { return options.duration / slices; }
    static constexpr unsigned slices = 10;
};

// Whether a stage knows --pool, as its --help says. Of a server that we have not started, that is
// unknown.
[[nodiscard]] bool has_pool(Supervisor& supervisor, const Contestant& contestant,
                            Nanoseconds timeout);

// A server that listens. If compare has started it, it ends with this object.
class Server {
  public:
    // Returns once it listens. Throws Failed.
    Server(const Bench& bench, const Contestant& contestant, const std::vector<int>& cpus);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    [[nodiscard]] const Target& target() const noexcept { return target_; }
    // Nothing if compare has not started it.
    [[nodiscard]] std::optional<Usage> usage() const;
    [[nodiscard]] bool died() const noexcept { return child_ && child_->ended(); }
    // Throws Failed if it has ended.
    void check_alive() const;

  private:
    void await_address(const Bench& bench);

    std::optional<Child> child_;
    Target target_;
};

// perf, running against a server, with an interval for each slice of the measurement.
class LoadRun {
  public:
    // The observer is told the rates of the clients that are watched.
    enum class Watched { no, yes };
    LoadRun(const Bench& bench, Server& server, const std::vector<std::string>& arguments,
            Watched watched = Watched::no);

    // Waits until perf has ended, or has shown this many intervals, or until the time is over.
    // Throws Failed if the server ends meanwhile.
    void wait_for_intervals(unsigned count, Nanoseconds longest);
    void wait_for(Nanoseconds time);

    // Waits for its end, but no longer than this, and returns perf's JSON. Throws Failed.
    [[nodiscard]] nlohmann::json report(Nanoseconds longest);
    // Ends it now.
    [[nodiscard]] nlohmann::json stop();

  private:
    void read_intervals();

    const Bench& bench_;
    Server& server_;
    Child child_;
    const bool watched_;
    std::size_t read_ = 0;    // bytes of perf's output
    unsigned intervals_ = 0;  // those that the observer was told
};

}  // namespace ground
