// schedule.hpp -- when the requests of an open loop are due.
//
// Request k is due k / rate after the beginning, whatever has become of those before it. What is
// due and not sent yet waits in a queue. The queue needs no memory: it follows from how many have
// been taken. All threads have the same schedule, and each takes its part of it.
#pragma once

#include "clients/perf/load.hpp"
#include "clients/perf/part.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace ground {

class Schedule {
  public:
    using Time = Clock::time_point;

    // Requests per second, those of all threads, at most 10^9. Nothing is due before start().
    explicit Schedule(double rate, Part part = {}) noexcept : gap_ns_(1e9 / rate), part_(part) {}

    // From here on it counts, and the queue is empty. The first request of all is due at once.
    void start(Time now) noexcept
    {
        begin_ = now;
        taken_ = 0;
    }

    // When the oldest that has not been taken was or will be due.
    [[nodiscard]] Time next() const noexcept
    {
        if (begin_ == Time::max()) {
            return begin_;
        }
        const double after = std::ceil(static_cast<double>(part_.request(taken_)) * gap_ns_);
        return begin_ + Nanoseconds(static_cast<Nanoseconds::rep>(after));
    }

    // How many wait in the queue. At next() and later at least one, despite rounding: a caller that
    // sleeps until then must find it.
    [[nodiscard]] std::uint64_t due(Time now) const noexcept
    {
        if (now < next()) {
            return 0;
        }
        const double gaps = std::floor(static_cast<double>((now - begin_).count()) / gap_ns_);
        const std::uint64_t due = part_.of_requests(static_cast<std::uint64_t>(gaps) + 1);
        return std::max(due, taken_ + 1) - taken_;
    }

    // Takes the oldest out of the queue, and returns when it was due.
    [[nodiscard]] Time take() noexcept
    {
        const Time due = next();
        ++taken_;
        return due;
    }

  private:
    double gap_ns_;
    Part part_;
    Time begin_ = Time::max();
    std::uint64_t taken_ = 0;
};

}  // namespace ground
