#include "clients/perf/recorder.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace ground {

namespace {

constexpr auto sample_length = std::chrono::milliseconds(100);

double seconds(Nanoseconds duration) { return static_cast<double>(duration.count()) / 1e9; }

double cpu_seconds()
{
    rusage usage{};
    check(::getrusage(RUSAGE_SELF, &usage), "getrusage");
    const auto value = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return value(usage.ru_utime) + value(usage.ru_stime);
}

unsigned biggest_of(const Mix& mix)
{
    const auto smaller = [](const Share& a, const Share& b) { return a.n < b.n; };
    return std::max_element(mix.begin(), mix.end(), smaller)->n;
}

// How many CPUs this many threads can keep busy here.
unsigned usable_cpus(unsigned threads)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    // It fails if there are more CPUs than the set has room for.
    const bool known = ::sched_getaffinity(0, sizeof set, &set) == 0;
    return known ? std::min(threads, static_cast<unsigned>(CPU_COUNT(&set))) : threads;
}

}  // namespace

// ---- Tally

Tally::Tally(Recorder& recorder, const PerfOptions& options)
    : recorder_(recorder),
      open_loop_(options.rate.has_value()),
      each_(options.each),
      biggest_(biggest_of(options.mix))
{
}

void Tally::start(State state, Time now) noexcept
{
    state_ = state;
    since_ = now;
}

void Tally::read(std::size_t bytes) noexcept { counts_[state_].bytes_read += bytes; }

void Tally::reply(unsigned n, Time since, Time sent, Time now)
{
    last_reply_ = now;
    if (state_ == idle || since < since_) {
        return;
    }
    const Nanoseconds latency = std::max(now - since, Nanoseconds(0));
    counts_[state_].latency_ns.record(static_cast<std::uint64_t>(latency.count()));
    if (open_loop_) {
        const Nanoseconds from_send = std::max(now - sent, Nanoseconds(0));
        counts_[state_].latency_from_send_ns.record(static_cast<std::uint64_t>(from_send.count()));
    }
    if (each_ && n == biggest_) {
        recorder_.show_reply(n, latency);
    }
}

void Tally::error(Time now) noexcept
{
    last_reply_ = now;
    ++counts_[state_].errors;
}

void Tally::failure() noexcept { ++counts_[state_].errors; }

void Tally::connected() noexcept { ++counts_[state_].connects; }

// ---- Recorder

Recorder::Recorder(const PerfOptions& options, LoadObserver& observer)
    : options_(options), observer_(observer)
{
    for (unsigned thread = 0; thread < options.threads; ++thread) {
        tallies_.emplace_back(*this, options);
    }
}

void Recorder::start_warmup(Time now) { start(Tally::warming_up, now); }

void Recorder::start_measuring(Time now)
{
    start(Tally::measuring, now);
    cpu_before_ = cpu_seconds();
}

void Recorder::start(Tally::State state, Time now)
{
    if (state_ == Tally::idle) {
        last_reply_ = now;  // there was none, but the waiting began at this time
    }
    state_ = state;
    since_ = now;
    interval_ = {};
    interval_begin_ = now;
    interval_end_ = now + options_.interval;
    sampled_ = 0;
    carried_ = 0;
    sample_begin_ = now;
    sample_end_ = now + sample_length;
}

void Recorder::stop(Time now)
{
    if (state_ == Tally::measuring) {
        // The rest of an interval counts. It becomes a line of its own only if it is long enough to
        // tell a rate.
        if (now - interval_begin_ >= options_.interval / 2) {
            end_interval(now);
        }
        if (result_.rate.count() == 0) {
            end_sample(now);
        }
        collect();
        keep();
        result_.duration_s = seconds(now - since_);
        result_.requests = result_.latency_ns.count();
        result_.client_cpu_s = cpu_seconds() - cpu_before_;
        result_.client_cpus = usable_cpus(options_.threads);
    }
    state_ = Tally::idle;
}

void Recorder::tick(Time now)
{
    if (now >= sample_end_) {
        end_sample(now);
    }
    if (now >= interval_end_) {
        end_interval(now);
    }
}

Recorder::Time Recorder::next_tick() const noexcept { return std::min(interval_end_, sample_end_); }

void Recorder::show_reply(unsigned n, Nanoseconds latency)
{
    const std::lock_guard lock(observer_mutex_);
    observer_.on_reply(n, fib_fast(n), latency);
}

// Adds what the threads have counted to the interval.
void Recorder::collect()
{
    for (Tally& tally : tallies_) {
        const std::lock_guard lock(tally.mutex());
        Tally::Counts& counts = tally.counts_[state_];
        interval_.latency_ns += counts.latency_ns;
        counts.latency_ns.clear();
        if (options_.rate) {
            interval_.latency_from_send_ns += counts.latency_from_send_ns;
            counts.latency_from_send_ns.clear();
        }
        interval_.errors += std::exchange(counts.errors, 0);
        interval_.bytes_read += std::exchange(counts.bytes_read, 0);
        interval_.connects += std::exchange(counts.connects, 0);
        last_reply_ = std::max(last_reply_, tally.last_reply_);
    }
}

// Adds the interval to what will be reported.
void Recorder::keep()
{
    result_.latency_ns += interval_.latency_ns;
    result_.latency_from_send_ns += interval_.latency_from_send_ns;
    result_.bytes_read += interval_.bytes_read;
    result_.connects += interval_.connects;
}

void Recorder::end_sample(Time now)
{
    std::uint64_t requests = interval_.latency_ns.count();
    for (Tally& tally : tallies_) {
        const std::lock_guard lock(tally.mutex());
        requests += tally.counts_[state_].latency_ns.count();
    }
    const double length = seconds(now - sample_begin_);
    if (state_ == Tally::measuring && length > 0) {
        const double rate = static_cast<double>(carried_ + requests - sampled_) / length;
        result_.rate.record(static_cast<std::uint64_t>(std::llround(rate)));
    }
    sampled_ = requests;
    carried_ = 0;
    sample_begin_ = now;
    sample_end_ = now + sample_length;
}

void Recorder::end_interval(Time now)
{
    collect();
    Interval interval;
    interval.warmup = state_ == Tally::warming_up;
    interval.length_s = seconds(now - interval_begin_);
    interval.requests = interval_.latency_ns.count();
    interval.errors = interval_.errors;
    interval.p50_ns = interval_.latency_ns.percentile(50);
    interval.p99_ns = interval_.latency_ns.percentile(99);
    if (options_.histograms) {
        interval.latencies_ns = interval_.latency_ns.buckets();
    }
    interval.silence_s = seconds(now - last_reply_);
    if (state_ == Tally::measuring) {
        interval.at_s = seconds(now - since_);
        result_.intervals.push_back(interval);
        keep();
    }
    carried_ += interval.requests - sampled_;
    sampled_ = 0;
    interval_ = {};
    interval_begin_ = now;
    // In step with the beginning. After a long pause (Ctrl-Z) it is called once, not once for each
    // tick missed.
    interval_end_ = std::max(interval_end_ + options_.interval, now + options_.interval / 2);
    const std::lock_guard lock(observer_mutex_);
    observer_.on_interval(interval);
}

}  // namespace ground
