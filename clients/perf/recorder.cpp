#include "clients/perf/recorder.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>

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

}  // namespace

Recorder::Recorder(const PerfOptions& options, LoadObserver& observer)
    : options_(options), observer_(observer), biggest_(biggest_of(options.mix))
{
}

void Recorder::start_warmup(Time now) { start(State::warming_up, now); }

void Recorder::start_measuring(Time now)
{
    start(State::measuring, now);
    cpu_before_ = cpu_seconds();
}

void Recorder::start(State state, Time now)
{
    if (state_ == State::idle) {
        last_reply_ = now;  // there was none, but this is when the waiting began
    }
    state_ = state;
    since_ = now;
    interval_errors_ = 0;
    interval_latency_.clear();
    interval_begin_ = now;
    interval_end_ = now + options_.interval;
    sample_requests_ = 0;
    sample_begin_ = now;
    sample_end_ = now + sample_length;
}

void Recorder::stop(Time now)
{
    if (state_ == State::measuring) {
        // What is left of an interval counts, but is a line of its own only if it is not too short
        // to tell a rate.
        if (now - interval_begin_ >= options_.interval / 2) {
            end_interval(now);
        }
        result_.latency_ns += interval_latency_;
        if (result_.rate.count() == 0) {
            end_sample(now);
        }
        result_.duration_s = seconds(now - since_);
        result_.requests = result_.latency_ns.count();
        result_.client_cpu_s = cpu_seconds() - cpu_before_;
    }
    state_ = State::idle;
}

void Recorder::read(std::size_t bytes) noexcept
{
    if (state_ == State::measuring) {
        result_.bytes_read += bytes;
    }
}

void Recorder::reply(unsigned n, Time since, Time sent, Time now)
{
    last_reply_ = now;
    if (state_ == State::idle || since < since_) {
        return;
    }
    const Nanoseconds latency = std::max(now - since, Nanoseconds(0));
    interval_latency_.record(static_cast<std::uint64_t>(latency.count()));
    if (options_.rate) {
        const Nanoseconds from_send = std::max(now - sent, Nanoseconds(0));
        result_.latency_from_send_ns.record(static_cast<std::uint64_t>(from_send.count()));
    }
    ++sample_requests_;
    if (options_.each && n == biggest_) {
        observer_.on_reply(n, fib_fast(n), latency);
    }
}

void Recorder::error(Time now) noexcept
{
    last_reply_ = now;
    ++interval_errors_;
}

void Recorder::failure() noexcept { ++interval_errors_; }

void Recorder::connected() noexcept
{
    if (state_ == State::measuring) {
        ++result_.connects;
    }
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

void Recorder::end_sample(Time now)
{
    const double length = seconds(now - sample_begin_);
    if (state_ == State::measuring && length > 0) {
        const double rate = static_cast<double>(sample_requests_) / length;
        result_.rate.record(static_cast<std::uint64_t>(std::llround(rate)));
    }
    sample_requests_ = 0;
    sample_begin_ = now;
    sample_end_ = now + sample_length;
}

void Recorder::end_interval(Time now)
{
    Interval interval;
    interval.warmup = state_ == State::warming_up;
    interval.length_s = seconds(now - interval_begin_);
    interval.requests = interval_latency_.count();
    interval.errors = std::exchange(interval_errors_, 0);
    interval.p50_ns = interval_latency_.percentile(50);
    interval.p99_ns = interval_latency_.percentile(99);
    if (options_.histograms) {
        interval.latencies_ns = interval_latency_.buckets();
    }
    interval.silence_s = seconds(now - last_reply_);
    if (state_ == State::measuring) {
        interval.at_s = seconds(now - since_);
        result_.intervals.push_back(interval);
        result_.latency_ns += interval_latency_;
    }
    interval_latency_.clear();
    interval_begin_ = now;
    // In step with the beginning; but after a long pause (Ctrl-Z) not once for each one missed.
    interval_end_ = std::max(interval_end_ + options_.interval, now + options_.interval / 2);
    observer_.on_interval(interval);
}

}  // namespace ground
