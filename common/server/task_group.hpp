// task_group.hpp -- coroutines that end together: what Python calls a TaskGroup, Trio a nursery.
//
// All of it is for the thread that runs the io_context.
#pragma once

#include "common/server/net.hpp"

#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>

#include <list>
#include <utility>

namespace ground {

class TaskGroup {
  public:
    explicit TaskGroup(const Executor& executor) : executor_(executor) {}
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;

    // Starts a task; what it throws is logged. In a group that has been stopped it is dropped, with
    // all that it owns, before it has begun.
    void spawn(awaitable<void> task);

    // Tells every task to come to its end. It ends the wait that a task is in, if nothing is lost
    // by that (Asio's cancellation_type::total: the wait for a client or a request, but not that
    // for a result or for room to send); the task's next co_await throws, unless it has said
    // throw_if_cancelled(false): then it may go on, and ask stopping().
    void stop();

  private:
    awaitable<void> run(awaitable<void> task);

    Executor executor_;
    std::list<asio::cancellation_signal> members_;
    bool stopped_ = false;
};

// Awaits it, out of reach of a stop: what asyncio.shield() is for. (Asio's parallel groups, ||
// among them, take the first cancellation for the only one: one that changes nothing, as a stop's,
// would keep them from ending the other waits later.)
template <typename T>
[[nodiscard]] awaitable<T> shield(awaitable<T> waits)
{
    const auto executor = co_await asio::this_coro::executor;
    co_return co_await asio::co_spawn(executor, std::move(waits), use_awaitable);
}

// Whether the group of the task that asks has been stopped.
[[nodiscard]] awaitable<bool> stopping();

}  // namespace ground
