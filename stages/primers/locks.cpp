// locks.cpp -- green threads that wait for each other: a lock, a semaphore, an event.
//
// A green thread can only be interrupted where it waits. So it needs a lock only if it waits in the
// middle of something that must stay in one piece.

#include "common/green/hub.hpp"
#include "common/green/tools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

using namespace ground;
using namespace std::chrono_literals;

int main()
{
    green::Lock lock;
    const auto write = [&](std::string name) {
        const std::lock_guard guard(lock);
        fmt::print("{} begins a sentence\n", name);
        green::sleep(50ms);
        fmt::print("{} ends it\n", name);
    };
    green::joinall(std::vector{green::spawn(write, "Ann"), green::spawn(write, "Ben")});

    green::Semaphore seats(2);
    int seated = 0;
    int most = 0;
    const auto eat = [&] {
        seats.acquire();
        most = std::max(most, ++seated);
        green::sleep(50ms);
        --seated;
        seats.release();
    };
    std::vector<green::Thread> guests;
    for (int i = 0; i < 5; ++i) {
        guests.push_back(green::spawn(eat));
    }
    green::joinall(guests);
    fmt::print("{} guests, at most {} at the table\n", guests.size(), most);

    green::Event start;
    const auto run = [&](std::string name) {
        start.wait();
        fmt::print("{} runs\n", name);
    };
    const std::vector runners{green::spawn(run, "Ann"), green::spawn(run, "Ben")};
    green::sleep(50ms);
    fmt::print("ready, steady\n");
    start.set();
    green::joinall(runners);
}
