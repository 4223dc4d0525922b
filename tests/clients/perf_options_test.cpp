#include "clients/perf/perf_options.hpp"

#include <doctest/doctest.h>

using namespace ground;
using namespace std::chrono_literals;

TEST_CASE("duration: a number and its unit")
{
    CHECK(parse_duration("2s") == 2s);
    CHECK(parse_duration("500ms") == 500ms);
    CHECK(parse_duration("3m") == 3min);
    CHECK(parse_duration("1h") == 1h);
    CHECK(parse_duration("1.5s") == 1500ms);
    CHECK(parse_duration("2") == 2s);
    CHECK(parse_duration("0s") == 0s);
    for (const char* const text : {"", "s", "x", "2x", "2 s", "-2s", "1e3s", "1..5s", ".", "2ss",
                                   "inf", "nan", "99999999999999h"}) {
        CAPTURE(text);
        CHECK(parse_duration(text) == std::nullopt);
    }
}

TEST_CASE("duration: is printed as you would type it")
{
    for (const char* const text : {"2s", "500ms", "3m", "90s", "1.5s", "250ms", "0s"}) {
        CHECK(to_string(*parse_duration(text)) == text);
    }
}

TEST_CASE("duration: none is too short or too precise to be printed and read back")
{
    for (const auto duration : {1ns, 20ns, 500'000ns, 1'000'500'000ns, 60'000'500'000ns,
                                15'555'500'000ns, 86'400'000'000'001ns}) {
        CAPTURE(duration.count());
        CHECK(parse_duration(to_string(duration)) == duration);
    }
}

TEST_CASE("target: a host has no brackets, so that what is printed can be read back")
{
    CHECK(to_string(*parse_target("[::1]:80")) == "[::1]:80");
    CHECK(to_string(*parse_target("::1")) == "[::1]:25000");
    for (const std::string text : {"[[]", "[]]", "a:]:b", "a[", "]:80", "[[::1]]:80"}) {
        CAPTURE(text);
        CHECK_FALSE(parse_target(text).has_value());
    }
}

TEST_CASE("mix: a number, or numbers with weights")
{
    const auto parsed = [](const char* text) {
        const auto mix = parse_mix(text);
        std::string result = mix ? "" : "none";
        for (const Share& share : mix.value_or(Mix{})) {
            result += std::to_string(share.n) + "x" + std::to_string(share.weight) + " ";
        }
        return result;
    };
    CHECK(parsed("30") == "30x1 ");
    CHECK(parsed("0") == "0x1 ");
    CHECK(parsed("1:99,30:1") == "1x99 30x1 ");
    CHECK(parsed("1,30") == "1x1 30x1 ");
    CHECK(parsed("1:0,30:5") == "30x5 ");
    for (const char* const text :
         {"", ",", "1,", "x", "-1", "94", "1:", "1:x", ":1", "1:0", "1:1:1", "1 :2", "1:-1"}) {
        CAPTURE(text);
        CHECK(parsed(text) == "none");
    }
}

TEST_CASE("mix: is described by its shares")
{
    CHECK(describe(*parse_mix("30")) == "fib(30)");
    CHECK(describe(*parse_mix("1:99,30:1")) == "99% fib(1), 1% fib(30)");
    CHECK(describe(*parse_mix("1:3,2:1")) == "75% fib(1), 25% fib(2)");
    CHECK(describe(*parse_mix("1:3999,40:1")) == "99.975% fib(1), 0.025% fib(40)");
    CHECK(describe(*parse_mix("1:2,2:1")) == "67% fib(1), 33% fib(2)");
}
