// recorder.hpp -- the figures of a load run: what was answered when, and how soon.
//
// The load generator tells it of every right reply and asks it to look at the clock now and then;
// it does not wait and knows nothing of sockets.
#pragma once

#include "clients/perf/load.hpp"

#include <cstddef>
#include <cstdint>

namespace ground {

class Recorder {
  public:
    using Time = Clock::time_point;

    Recorder(const PerfOptions& options, LoadObserver& observer);

    // Intervals are shown from now on, and none of them counted.
    void start_warmup(Time now);
    // From here on everything counts that was asked later than now.
    void start_measuring(Time now);
    // The figures are final. What comes later is not part of them.
    void stop(Time now);

    void read(std::size_t bytes) noexcept;
    void reply(unsigned n, Time since, Time sent, Time now);  // a right one
    void error(Time now) noexcept;                            // any other
    void failure() noexcept;  // of a connection: it broke, or was never made
    void connected() noexcept;

    // Ends the samples and intervals that are over. Call at next_tick(), and whenever it suits.
    void tick(Time now);
    [[nodiscard]] Time next_tick() const noexcept;

    [[nodiscard]] const LoadResult& result() const noexcept { return result_; }

  private:
    enum class State { idle, warming_up, measuring };

    void start(State state, Time now);
    void end_sample(Time now);
    void end_interval(Time now);

    const PerfOptions& options_;
    LoadObserver& observer_;
    const unsigned biggest_;  // the largest number in the mix
    State state_ = State::idle;
    Time since_{};  // when this state began
    Time last_reply_{};
    Time interval_begin_{};
    Time interval_end_{};
    Time sample_begin_{};
    Time sample_end_{};
    std::uint64_t sample_requests_ = 0;
    std::uint64_t interval_errors_ = 0;
    Histogram interval_latency_;
    double cpu_before_ = 0;
    LoadResult result_;
};

}  // namespace ground
