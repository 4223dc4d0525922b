// task_group.hpp -- coroutines that end together: what Python calls a TaskGroup, Trio a nursery.
//
// All of it is for the thread that runs the io_context.
#pragma once

#include "common/server/net.hpp"

#include <asio/cancellation_signal.hpp>

#include <list>
#include <utility>

namespace ground {

class TaskGroup {
  public:
    explicit TaskGroup(const Executor& executor);
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

// Whether the group of the task that asks has been stopped.
[[nodiscard]] awaitable<bool> stopping();

}  // namespace ground
