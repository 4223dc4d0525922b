// task_states.cpp -- the states of a task, from its start to its end.
//
// Asio's coroutines have no object to ask for their state. The code that starts one says what
// happens at its end, and keeps the state itself. Here that is Task, a small part of asyncio's.

#include "common/server/async.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <fmt/format.h>

#include <exception>
#include <string_view>

using namespace ground;
using namespace std::chrono_literals;

namespace {

struct Task {
    std::string_view name;
    std::string_view state = "pending";
    asio::cancellation_signal cancel{};  // has to outlive what it may cancel
};

void show(const Task& task) { fmt::print("{}: {}\n", task.name, task.state); }

awaitable<void> nap(Task& self, std::chrono::milliseconds time)
{
    self.state = "running";
    show(self);
    self.state = "waiting";
    co_await async_sleep(time);
}

void start(asio::io_context& context, Task& task, std::chrono::milliseconds time)
{
    const auto done = [&task](std::exception_ptr error) {
        task.state = error ? "cancelled" : "done";
        fmt::print("callback of {}\n", task.name);
    };
    asio::co_spawn(context, nap(task, time),
                   asio::bind_cancellation_slot(task.cancel.slot(), done));
    show(task);  // it starts when the loop runs
}

awaitable<void> watch(Task& brief, Task& lengthy)
{
    co_await async_sleep(100ms);
    show(brief);
    show(lengthy);
    co_await async_sleep(600ms);
    show(brief);
    show(lengthy);
    lengthy.cancel.emit(asio::cancellation_type::terminal);
    show(lengthy);  // it has been asked to end, and does so at its next turn
    co_await async_sleep(100ms);
    show(lengthy);
}

}  // namespace

int main()
{
    asio::io_context context;
    Task brief{"brief"};
    Task lengthy{"lengthy"};
    start(context, brief, 400ms);
    start(context, lengthy, 1h);
    asio::co_spawn(context, watch(brief, lengthy), asio::detached);
    context.run();
}
