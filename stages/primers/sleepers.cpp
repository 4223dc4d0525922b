// sleepers.cpp -- green threads that wait: two seconds and one second are two seconds in all.

#include "common/green/hub.hpp"

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <vector>

using namespace ground;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

void nap(std::string name, std::chrono::milliseconds time)
{
    fmt::print("{} falls asleep\n", name);
    green::sleep(time);  // others run meanwhile
    fmt::print("{} wakes up\n", name);
}

void task(int number)
{
    green::sleep(200ms);
    fmt::print("task {} is done\n", number);
}

void say_how_long(Clock::time_point start)
{
    fmt::print("it took {:.1f} s\n", std::chrono::duration<double>(Clock::now() - start).count());
}

}  // namespace

int main()
{
    auto start = Clock::now();
    std::vector<green::Thread> threads{green::spawn(nap, "Ann", 2s), green::spawn(nap, "Ben", 1s)};
    green::joinall(threads);
    say_how_long(start);

    fmt::print("ten, one after the other:\n");
    start = Clock::now();
    for (int i = 0; i < 10; ++i) {
        task(i);
    }
    say_how_long(start);

    fmt::print("ten at once:\n");
    start = Clock::now();
    threads.clear();
    for (int i = 0; i < 10; ++i) {
        threads.push_back(green::spawn(task, i));
    }
    green::joinall(threads);
    say_how_long(start);
}
