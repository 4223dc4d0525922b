#include "clients/shared/format.hpp"

#include "clients/perf/report.hpp"
#include "clients/shared/target.hpp"

#include <doctest/doctest.h>

using namespace ground;

TEST_CASE("format: times have the unit that keeps them short")
{
    CHECK(format_time(810) == "0.8 us");
    CHECK(format_time(8'100) == "8.1 us");
    CHECK(format_time(81'000) == "81 us");
    CHECK(format_time(999'700) == "1.0 ms");
    CHECK(format_time(2'100'000) == "2.1 ms");
    CHECK(format_time(252e6) == "252 ms");
    CHECK(format_time(999.7e6) == "1.00 s");
    CHECK(format_time(12.345e9) == "12.35 s");
    CHECK(format_time_column(635'910) == "635.91us");
    CHECK(format_time_column(12.92e6) == "12.92ms");
    CHECK(format_time_column(1.2e9) == "1.20s");
}

TEST_CASE("format: counts and bytes as wrk prints them")
{
    CHECK(format_count_column(950) == "950.00");
    CHECK(format_count_column(56'200) == "56.20k");
    CHECK(format_count_column(1.2e6) == "1.20M");
    CHECK(format_bytes(0) == "0.00B");
    CHECK(format_bytes(1536) == "1.50KB");
    CHECK(format_bytes(17.76 * 1024 * 1024 * 1024) == "17.76GB");
}

TEST_CASE("format: a bar is as long as the value is large")
{
    CHECK(format_bar(100, 100, 20, false) == std::string(20, '#'));
    CHECK(format_bar(50, 100, 20, false) == std::string(10, '#'));
    CHECK(format_bar(1, 1'000'000, 20, false) == "#");  // little is still something
    CHECK(format_bar(0, 100, 20, false).empty());
    CHECK(format_bar(0, 0, 20, false).empty());
    CHECK(format_bar(200, 100, 20, false) == std::string(20, '#'));  // never beyond its width
    CHECK(format_bar(100, 100, 2, true) == "██");
    CHECK(format_bar(50, 100, 3, true) == "█▌");
    CHECK(format_bar(1, 1'000'000, 20, true) == "▏");
}

TEST_CASE("report: the live line begins with the rate and ends with the bar")
{
    Interval interval;
    interval.length_s = 2;
    interval.requests = 23'746;
    interval.p50_ns = 81'000;
    interval.p99_ns = 120'000;
    CHECK(format_interval(interval, 11'873, {}) ==
          "11873 reqs/sec   p50 81 us    p99 120 us   ##############################");
    CHECK(format_interval(interval, 4 * 11'873, {}) ==
          "11873 reqs/sec   p50 81 us    p99 120 us   ########");
    CHECK(format_interval(interval, 11'873, {true, true}).find("\x1b[32m██████") !=
          std::string::npos);
    CHECK(format_interval(interval, 4 * 11'873, {true, true}).find("\x1b[31m██") !=
          std::string::npos);
    // The line also fits into a narrow window.
    CHECK(format_interval(interval, 11'873, {false, false, 60}).size() == 60);
}

TEST_CASE("report: a second without a reply says for how long")
{
    Interval interval;
    interval.length_s = 1;
    interval.silence_s = 3;
    CHECK(format_interval(interval, 1000, {}) == "0 reqs/sec       no reply for 3.0 s");
    interval.errors = 1;
    CHECK(format_interval(interval, 1000, {}) == "0 reqs/sec       no reply for 3.0 s   (1 error)");
}

TEST_CASE("report: a second with nothing but errors does not count as silence")
{
    Interval interval;
    interval.length_s = 1;
    interval.errors = 13'209;
    interval.silence_s = 0.01;
    CHECK(format_interval(interval, 1000, {}) ==
          "0 reqs/sec       no right reply   (13209 errors)");
}

TEST_CASE(
    "report: the oldest request without a reply is named only if it has waited longest of all")
{
    PerfOptions options;
    options.rate = 100;
    LoadResult result;
    result.errors.unanswered = 1;
    result.latency_ns.record(5'000'000'000);
    const auto named = [&] {
        const auto sentences = warnings(options, result);
        return std::any_of(sentences.begin(), sentences.end(), [](const std::string& sentence) {
            return sentence.starts_with("the oldest without a reply had waited ");
        });
    };
    result.longest_wait_s = 0.1;
    CHECK_FALSE(named());
    result.longest_wait_s = 6;
    CHECK(named());
}

TEST_CASE("report: perf says so if it was itself the bottleneck")
{
    const PerfOptions options;
    LoadResult result;
    result.duration_s = 2;
    result.client_cpu_s = 1.8;
    CHECK(warnings(options, result).empty());
    result.client_cpu_s = 1.95;
    REQUIRE(warnings(options, result).size() == 1);
    CHECK(warnings(options, result)[0].find("perf itself was busy for 98% of the time") !=
          std::string::npos);
}

TEST_CASE("target: host and port, or one of them")
{
    const auto parsed = [](const char* text) {
        const auto target = parse_target(text);
        return target ? target->host + " " + std::to_string(target->port) : "none";
    };
    CHECK(parsed("localhost:25000") == "localhost 25000");
    CHECK(parsed("example.org") == "example.org 25000");
    CHECK(parsed("8080") == "localhost 8080");
    CHECK(parsed(":8080") == "localhost 8080");
    CHECK(parsed("[::1]:8080") == "::1 8080");
    CHECK(parsed("::1") == "::1 25000");
    CHECK(parsed("host:") == "host 25000");
    CHECK(parsed("") == "none");
    CHECK(parsed(":") == "none");
    CHECK(parsed("host:0") == "none");
    CHECK(parsed("host:65536") == "none");
    CHECK(parsed("host:http") == "none");
    CHECK(parsed("[::1") == "none");
    CHECK(parsed("[::1]8080") == "none");
    CHECK(to_string(Target{"::1", 80}) == "[::1]:80");
    CHECK(to_string(Target{}) == "localhost:25000");
}
