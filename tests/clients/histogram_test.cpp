#include "clients/shared/histogram.hpp"

#include <doctest/doctest.h>

#include <random>

using ground::Histogram;

TEST_CASE("histogram: all figures of an empty one are 0")
{
    const Histogram histogram;
    CHECK(histogram.count() == 0);
    CHECK(histogram.min() == 0);
    CHECK(histogram.max() == 0);
    CHECK(histogram.mean() == 0);
    CHECK(histogram.stdev() == 0);
    CHECK(histogram.percentile(50) == 0);
    CHECK(histogram.share_within(0, 1e9) == 0);
}

TEST_CASE("histogram: one value is its own minimum, maximum, mean and every percentile")
{
    for (const std::uint64_t value :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{255}, std::uint64_t{256},
          std::uint64_t{123'456'789}, std::numeric_limits<std::uint64_t>::max()}) {
        CAPTURE(value);
        Histogram histogram;
        histogram.record(value);
        CHECK(histogram.min() == value);
        CHECK(histogram.max() == value);
        CHECK(histogram.mean() == doctest::Approx(static_cast<double>(value)));
        CHECK(histogram.stdev() == 0);
        CHECK(histogram.percentile(0) == value);
        CHECK(histogram.percentile(50) == value);
        CHECK(histogram.percentile(100) == value);
    }
}

TEST_CASE("histogram: small values are exact")
{
    Histogram histogram;
    for (std::uint64_t value = 1; value <= 100; ++value) {
        histogram.record(value);
    }
    CHECK(histogram.percentile(1) == 1);
    CHECK(histogram.percentile(50) == 50);
    CHECK(histogram.percentile(50.1) == 51);
    CHECK(histogram.percentile(99) == 99);
    CHECK(histogram.percentile(99.9) == 100);
    CHECK(histogram.percentile(100) == 100);
    CHECK(histogram.mean() == doctest::Approx(50.5));
    CHECK(histogram.stdev() == doctest::Approx(28.866));
    CHECK(histogram.share_within(11, 20) == doctest::Approx(0.1));
}

TEST_CASE("histogram: a rank that is a whole number is not rounded up to the next")
{
    Histogram histogram;
    for (int i = 0; i < 999; ++i) {
        histogram.record(1);
    }
    histogram.record(100);
    CHECK(histogram.percentile(99.9) == 1);
    CHECK(histogram.percentile(99.91) == 100);
}

TEST_CASE("histogram: every percentile of large values is right to within 1%, and never too small")
{
    std::mt19937_64 random(1);
    std::lognormal_distribution<double> latency(11, 2);  // 60 us, and a long tail
    std::vector<std::uint64_t> values;
    Histogram histogram;
    double sum = 0;
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(static_cast<std::uint64_t>(latency(random)));
        histogram.record(values.back());
        sum += static_cast<double>(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double percent : {0.01, 1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
        CAPTURE(percent);
        const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 20'000 - 1e-6));
        const auto exact = static_cast<double>(values[rank - 1]);
        const auto found = static_cast<double>(histogram.percentile(percent));
        CHECK(found >= exact);
        CHECK(found <= exact * 1.01);
    }
    const double mean = sum / 20'000;
    double squares = 0;
    for (const std::uint64_t value : values) {
        squares += (static_cast<double>(value) - mean) * (static_cast<double>(value) - mean);
    }
    CHECK(histogram.mean() == doctest::Approx(mean));
    CHECK(histogram.stdev() == doctest::Approx(std::sqrt(squares / 20'000)).epsilon(0.01));
    CHECK(histogram.percentile(100) == values.back());
}

TEST_CASE("histogram: the sum of two is the same as recording all values of both")
{
    Histogram both;
    Histogram low;
    Histogram high;
    for (std::uint64_t value = 0; value < 1000; ++value) {
        (value < 400 ? low : high).record(value * 1000);
        both.record(value * 1000);
    }
    low += high;
    CHECK(low.count() == both.count());
    CHECK(low.min() == both.min());
    CHECK(low.max() == both.max());
    CHECK(low.mean() == doctest::Approx(both.mean()));
    for (double percent = 0; percent <= 100; percent += 2.5) {
        CHECK(low.percentile(percent) == both.percentile(percent));
    }
}

TEST_CASE("histogram: after clear() it is like a new one")
{
    Histogram histogram;
    histogram.record(5);
    histogram.clear();
    histogram.record(1'000'000);
    CHECK(histogram.count() == 1);
    CHECK(histogram.min() == 1'000'000);
    CHECK(histogram.max() == 1'000'000);
    CHECK(histogram.mean() == doctest::Approx(1e6));
    CHECK(histogram.percentile(1) == 1'000'000);
}
