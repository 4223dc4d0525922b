// task_group.hpp -- coroutines that end together: what Python calls a TaskGroup, Trio a nursery.
//
// Call all of it on the thread that runs the io_context.
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

    // Starts a task. What it throws is logged. If the group has been stopped, the task is destroyed
    // before it has begun, with all that it owns.
    void spawn(awaitable<void> task);

    // Tells every task to end. A wait for a client or a request ends at once, because nothing is
    // lost by that (Asio's cancellation_type::total). A wait for a result or for room to send
    // continues. Afterwards the task's next co_await throws, unless the task has called
    // throw_if_cancelled(false). Such a task can ask stopping().
    void stop();

  private:
    awaitable<void> run(awaitable<void> task);

    Executor executor_;
    std::list<asio::cancellation_signal> members_;
    bool stopped_ = false;
};

// Whether the group of the calling task has been stopped.
[[nodiscard]] awaitable<bool> stopping();

}  // namespace ground
