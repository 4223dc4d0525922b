// histogram.hpp -- how often each value occurred, for values of any size, in constant memory.
//
// It is log-linear, the idea of Gil Tene's HdrHistogram. Every power of two is cut into the same
// number of buckets, so a bucket is as wide as its values are large. A value is known to within 1%,
// whether it is a microsecond or an hour. Recording is an addition, without allocation or sorting.
//
// The unit is the caller's; perf records latencies in nanoseconds. Not thread-safe.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace ground {

class Histogram {
  public:
    void record(std::uint64_t value, std::uint64_t times = 1) noexcept
    {
        counts_[index(value)] += times;
        count_ += times;
        sum_ += static_cast<double>(value) * static_cast<double>(times);
        min_ = std::min(min_, value);
        max_ = std::max(max_, value);
    }

    Histogram& operator+=(const Histogram& other) noexcept
    {
        std::transform(counts_.begin(), counts_.end(), other.counts_.begin(), counts_.begin(),
                       std::plus<>());
        count_ += other.count_;
        sum_ += other.sum_;
        min_ = std::min(min_, other.min_);
        max_ = std::max(max_, other.max_);
        return *this;
    }

    void clear() noexcept
    {
        std::fill(counts_.begin(), counts_.end(), 0);
        count_ = 0;
        sum_ = 0;
        min_ = none;
        max_ = 0;
    }

    // Exact. Of an empty histogram everything is 0.
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
    [[nodiscard]] std::uint64_t min() const noexcept { return count_ == 0 ? 0 : min_; }
    [[nodiscard]] std::uint64_t max() const noexcept { return max_; }
    [[nodiscard]] double mean() const noexcept
    {
        return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
    }

    // The population's standard deviation, to within 1% of the values.
    [[nodiscard]] double stdev() const noexcept
    {
        double squares = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            const double distance = middle(i) - mean();
            squares += static_cast<double>(counts_[i]) * distance * distance;
        }
        return count_ == 0 ? 0 : std::sqrt(squares / static_cast<double>(count_));
    }

    // The smallest value that `percent` percent of all values do not exceed, to within 1% and never
    // too small. percentile(50) is the median, percentile(100) is max().
    [[nodiscard]] std::uint64_t percentile(double percent) const noexcept
    {
        const double share = std::clamp(percent, 0.0, 100.0) / 100;
        // The rank is rounded up. But 0.999 * 1000 is a hair more than 999, and must not become
        // 1000.
        const double exact = share * static_cast<double>(count_);
        const auto rank =
            std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(exact * (1 - 1e-12))));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen >= rank) {
                return std::clamp(lowest(i) + (width(i) - 1), min_, max_);
            }
        }
        return max_;
    }

    // The share of the values that lie between the two, both included: 0 to 1.
    [[nodiscard]] double share_within(double low, double high) const noexcept
    {
        std::uint64_t inside = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (middle(i) >= low && middle(i) <= high) {
                inside += counts_[i];
            }
        }
        return count_ == 0 ? 0 : static_cast<double>(inside) / static_cast<double>(count_);
    }

    // The largest value of each bucket that is not empty, with its count, in order. Recorded again,
    // they give the same percentiles.
    [[nodiscard]] std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets() const
    {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> found;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] > 0) {
                found.emplace_back(std::min(lowest(i) + (width(i) - 1), max_), counts_[i]);
            }
        }
        return found;
    }

  private:
    // 2^7 buckets for each power of two, so a bucket is narrower than 1/128 of its values. Values
    // below 2^8 have a bucket each. A larger value is shifted right until it is below.
    static constexpr unsigned precision = 7;
    static constexpr std::size_t per_octave = std::size_t{1} << precision;
    static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

    [[nodiscard]] static constexpr std::size_t index(std::uint64_t value) noexcept
    {
        const auto bits = static_cast<unsigned>(std::bit_width(value | per_octave));
        const unsigned shift = bits - (precision + 1);
        return shift * per_octave + static_cast<std::size_t>(value >> shift);
    }

    [[nodiscard]] static constexpr unsigned shift_of(std::size_t index) noexcept
    {
        return static_cast<unsigned>(std::max<std::size_t>(index / per_octave, 1) - 1);
    }
    [[nodiscard]] static constexpr std::uint64_t lowest(std::size_t index) noexcept
    {
        const unsigned shift = shift_of(index);
        return std::uint64_t{index - shift * per_octave} << shift;
    }
    [[nodiscard]] static constexpr std::uint64_t width(std::size_t index) noexcept
    {
        return std::uint64_t{1} << shift_of(index);
    }
    // The value that stands for all values of a bucket.
    [[nodiscard]] double middle(std::size_t index) const noexcept
    {
        const double value =
            static_cast<double>(lowest(index)) + static_cast<double>(width(index) - 1) / 2;
        return std::clamp(value, static_cast<double>(min()), static_cast<double>(max()));
    }

    std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(index(none) + 1);
    std::uint64_t count_ = 0;
    double sum_ = 0;
    std::uint64_t min_ = none;
    std::uint64_t max_ = 0;
};

}  // namespace ground
