// endings.cpp -- how a green thread is ended by others: it is killed, or its time is up.
//
// Both are exceptions, thrown where the thread waits. So the destructors run, as at any other end.

#include "common/green/hub.hpp"

#include <fmt/format.h>

#include <chrono>

using namespace ground;
using namespace std::chrono_literals;

namespace {

// What Python writes as `finally` is a destructor.
struct Tools {
    ~Tools() { fmt::print("the worker puts its tools away\n"); }
};

void work()
{
    fmt::print("the worker begins\n");
    const Tools tools;
    green::sleep(1h);
    fmt::print("the worker has finished\n");
}

}  // namespace

int main()
{
    const green::Thread worker = green::spawn(work);
    green::sleep(50ms);
    worker.kill();  // waits until it has ended
    fmt::print("dead: {}\n", worker.dead());

    const green::Thread never = green::spawn(work);
    never.kill();  // before it has run at all
    fmt::print("dead: {}\n", never.dead());

    const bool in_time = green::within(100ms, work);
    fmt::print("in time: {}\n", in_time);
}
