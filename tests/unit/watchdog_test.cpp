#include "tests/watchdog.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <poll.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>

using ground::test::Deadline;
using ground::test::eventually;
using ground::test::Outcome;
using ground::test::Program;

namespace {

// What this program does when it is run once more, as a suite that has gone wrong.
bool is_to(const char* what)
{
    const char* const told = std::getenv("WATCHDOG_TEST");
    return told != nullptr && std::strcmp(told, what) == 0;
}

Outcome run_a_suite_that_is_to(const std::string& what)
{
    return ground::test::run({.command = {"/proc/self/exe", "--dt-test-case=*on purpose*"},
                              .environment = {"WATCHDOG_TEST=" + what, "WATCHDOG_SECONDS=2"}});
}

bool contains(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("on purpose: it hangs" * doctest::skip(!is_to("hang")))
{
    const Program sleeper({.command = {"sleep", "1000"}});
    std::cout << "sleeper " << sleeper.pid() << std::endl;
    const ground::test::Waiting waiting("the end of the world");
    ::poll(nullptr, 0, -1);
}

TEST_CASE("on purpose: it waits in vain, once" * doctest::skip(!is_to("wait in vain")))
{
    const Program sleeper({.command = {"sleep", "1000"}});
    eventually("the sleeper sleeps", [&] { return sleeper.info().state == 'S'; });
    const auto wait = [] {
        eventually(
            "pigs fly", [] { return false; }, Deadline(std::chrono::milliseconds(1)));
    };
    CHECK_NOTHROW(wait());
    CHECK_NOTHROW(wait());
    CHECK_NOTHROW(wait());
}

TEST_CASE("on purpose: it would be next" * doctest::skip(!is_to("wait in vain")))
{
    std::cout << "it was next" << std::endl;
}

TEST_CASE("on purpose: it takes its time, and says so" * doctest::skip(!is_to("take its time")))
{
    ground::test::allow_time(std::chrono::seconds(10));
    ::poll(nullptr, 0, 2500);
}

TEST_CASE(
    "watchdog: a test case that hangs is killed with all that it has started, and it says where "
    "they are")
{
    const Outcome outcome = run_a_suite_that_is_to("hang");
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.err,
                   "watchdog: the test case \"on purpose: it hangs\" has not ended in "));
    CHECK(contains(outcome.err, "; it waits for: the end of the world\n"));
    CHECK(contains(outcome.err, "sleep 1000\n      S in clock_nanosleep()\n"));
    const std::string word = "sleeper ";
    REQUIRE(contains(outcome.out, word));
    const pid_t sleeper = std::stoi(outcome.out.substr(outcome.out.find(word) + word.size()));
    eventually("the sleeper is gone", [&] {
        const auto info = ground::test::process_info(sleeper);
        return !info || info->state == 'Z';
    });
}

TEST_CASE("watchdog: a wait in vain says where all processes are, and after three the suite ends")
{
    const Outcome outcome = run_a_suite_that_is_to("wait in vain");
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.err, "waited in vain for: pigs fly\nwhere each process is"));
    CHECK(contains(outcome.err, "sleep 1000\n      S in clock_nanosleep()\n"));
    CHECK(contains(outcome.err, "the suite ends before \"on purpose: it would be next\"\n"));
    CHECK_FALSE(contains(outcome.out, "it was next"));
}

TEST_CASE("watchdog: a test case that announces a longer wait gets the time for it")
{
    CHECK(run_a_suite_that_is_to("take its time").status == 0);
}

TEST_CASE("harness: what happens while the test itself does not run is seen after the deadline")
{
    // The first look takes longer than the deadline, as if this thread had got no CPU meanwhile.
    const std::chrono::milliseconds soon(20);
    int looks = 0;
    CHECK_NOTHROW(eventually(
        "the second look",
        [&] {
            if (++looks == 1) {
                std::this_thread::sleep_for(5 * soon);
            }
            return looks == 2;
        },
        Deadline(soon)));
    CHECK_THROWS_WITH(
        eventually(
            "pigs fly", [] { return false; }, [] { return std::string("no pig"); }, Deadline(soon)),
        "no pig");
}
