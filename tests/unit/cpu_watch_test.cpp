// What is seen of programs that share one CPU.
#include "tests/cpu_watch.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <sched.h>

#include <chrono>
#include <deque>
#include <string>
#include <thread>

using ground::test::CpuLook;
using ground::test::CpuWatch;
using ground::test::eventually;
using ground::test::Program;
using ground::test::Start;

namespace {

// On the CPU that this test may use first.
Start pinned(const std::string& script)
{
    cpu_set_t cpus;
    REQUIRE(::sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    std::size_t first = 0;
    while (!CPU_ISSET(first, &cpus)) {
        ++first;
    }
    return {.command = {"taskset", "-c", std::to_string(first), "sh", "-c", script}};
}

Start spinning() { return pinned("echo here; while :; do :; done"); }

}  // namespace

TEST_CASE("cpu watch: a program that spins demands a CPU, however seldom it gets one")
{
    std::deque<Program> programs;
    for (int i = 0; i < 4; ++i) {
        programs.emplace_back(spinning()).out().wait_for("here");
    }
    CpuWatch watch;
    CHECK(watch.look({programs.front().pid()}).time.count() == 0);
    eventually("it is seen to spin, and to wait for the others", [&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        const CpuLook seen = watch.look({programs.front().pid()});
        return seen.demand > 0.9 && seen.progress < 0.6 && seen.waited > seen.used / 2;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    CHECK(watch.look({programs.front().pid()}).demand > 0.9);
}

TEST_CASE("cpu watch: a program that waits demands nothing, and loses no time")
{
    std::deque<Program> programs;
    for (int i = 0; i < 3; ++i) {
        programs.emplace_back(spinning()).out().wait_for("here");
    }
    const Program asleep(pinned("echo here; read line"));
    asleep.out().wait_for("here");
    CpuWatch watch;
    eventually("it is seen to wait", [&] {
        static_cast<void>(watch.look({asleep.pid()}));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        const CpuLook seen = watch.look({asleep.pid()});
        return seen.demand < 0.01 && seen.progress > 0.99;
    });
}
