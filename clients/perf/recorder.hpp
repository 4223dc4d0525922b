// recorder.hpp -- the figures of a load run: which requests were answered when, and how soon.
//
// Each thread that sends requests counts in a tally of its own. The recorder belongs to one thread.
// It collects the tallies at the end of each sample (a tenth of a second) and of each interval (a
// line of the output). Neither class knows anything of sockets. A thread locks its tally for a
// whole batch of events, not for each event. If it is also the recorder's thread, it does not lock
// at all.
#pragma once

#include "clients/perf/load.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>

namespace ground {

class Recorder;

// What one thread has counted since the recorder last collected it. Call with the mutex locked,
// unless the recorder's thread is the same.
class Tally {
  public:
    using Time = Clock::time_point;

    Tally(Recorder& recorder, const PerfOptions& options);

    // Counts from now on, but not for the measuring.
    void start_warmup(Time now) noexcept { start(warming_up, now); }
    // From now on everything counts that was sent after `now`.
    void start_measuring(Time now) noexcept { start(measuring, now); }
    // What comes later does not count.
    void stop() noexcept { state_ = idle; }

    void read(std::size_t bytes) noexcept;
    void reply(unsigned n, Time since, Time sent, Time now);  // a right one
    void error(Time now) noexcept;                            // any other
    void failure() noexcept;  // a connection broke, or could not be made
    void connected() noexcept;

    [[nodiscard]] std::mutex& mutex() noexcept { return mutex_; }

  private:
    friend class Recorder;

    enum State : std::size_t { warming_up, measuring, idle };
    struct Counts {
        Histogram latency_ns;
        Histogram latency_from_send_ns;  // only in an open loop
        std::uint64_t errors = 0;
        std::uint64_t bytes_read = 0;
        std::uint64_t connects = 0;
    };

    void start(State state, Time now) noexcept;

    std::mutex mutex_;
    Recorder& recorder_;
    const bool open_loop_;
    const bool each_;
    const unsigned biggest_;  // the largest number in the mix
    State state_ = idle;
    Time since_{};  // when this state began
    Time last_reply_{};
    // For each state, because two threads never begin to measure at exactly the same time. What is
    // counted while idle is never read.
    std::array<Counts, 3> counts_;
};

class Recorder {
  public:
    using Time = Clock::time_point;

    Recorder(const PerfOptions& options, LoadObserver& observer);

    // The tally of one of options.threads threads.
    [[nodiscard]] Tally& tally(std::size_t thread) { return tallies_[thread]; }

    // From now on intervals are shown, but none of them counts.
    void start_warmup(Time now);
    void start_measuring(Time now);
    // The figures are final. Nothing that comes later is part of them.
    void stop(Time now);

    // Ends the samples and intervals that are over. Call at next_tick(); more often does no harm.
    void tick(Time now);
    [[nodiscard]] Time next_tick() const noexcept;

    [[nodiscard]] const LoadResult& result() const noexcept { return result_; }

    // Passes it to the observer. Any thread may call it.
    void show_reply(unsigned n, Nanoseconds latency);

  private:
    void start(Tally::State state, Time now);
    void collect();
    void keep();
    void end_sample(Time now);
    void end_interval(Time now);

    const PerfOptions& options_;
    std::mutex observer_mutex_;
    LoadObserver& observer_;     // guarded by observer_mutex_
    std::deque<Tally> tallies_;  // they can't be moved
    Tally::State state_ = Tally::idle;
    Time since_{};  // when this state began
    Time last_reply_{};
    Time interval_begin_{};
    Time interval_end_{};
    Time sample_begin_{};
    Time sample_end_{};
    std::uint64_t sampled_ = 0;  // this interval's requests in samples that have ended
    std::uint64_t carried_ = 0;  // this sample's requests in intervals that have ended
    Tally::Counts interval_;     // what has been collected of this interval
    double cpu_before_ = 0;
    LoadResult result_;
};

}  // namespace ground
