// queues.cpp -- a queue with room for two, and a pool for three: a producer that is too fast waits.

#include "common/green/hub.hpp"
#include "common/green/tools.hpp"

#include <fmt/format.h>

#include <chrono>
#include <vector>

using namespace ground;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

int main()
{
    green::Queue<int> queue(2);
    const auto produce = [&] {
        for (int i = 1; i <= 5; ++i) {
            queue.put(i);  // waits for room
            fmt::print("put {}\n", i);
        }
    };
    const auto consume = [&] {
        for (int i = 1; i <= 5; ++i) {
            fmt::print("got {}\n", queue.get());  // waits for something
            green::sleep(50ms);
        }
    };
    green::joinall(std::vector{green::spawn(produce), green::spawn(consume)});

    green::Pool pool(3);
    const auto start = Clock::now();
    for (int i = 0; i < 7; ++i) {
        pool.spawn([i] {  // waits for one of the three to end
            fmt::print("task {} begins\n", i);
            green::sleep(500ms);
        });
    }
    pool.join();
    fmt::print("seven, three at a time: {:.1f} s\n",
               std::chrono::duration<double>(Clock::now() - start).count());
}
