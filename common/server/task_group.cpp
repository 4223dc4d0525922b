
#include "common/server/task_group.hpp"

#include "common/server/disconnect.hpp"
#include "common/server/log.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>

#include <exception>
#include <utility>

namespace ground {

// A loop opens all its descriptors now, so that their number does not depend on its clients.
TaskGroup::TaskGroup(const Executor& executor) : executor_(executor)
{
    DisconnectWatch::prepare(executor);
}

void TaskGroup::spawn(awaitable<void> task)
{
    if (stopped_) {
        return;
    }
    const auto member = members_.emplace(members_.end());
    asio::co_spawn(
        executor_, run(std::move(task)),
        asio::bind_cancellation_slot(member->slot(), [this, member](std::exception_ptr lost) {
            if (!stopped_) {
                log_error(lost);
            }
            // The signal must outlive what it may cancel: the caller of this handler.
            asio::post(executor_, [this, member] { members_.erase(member); });
        }));
}

void TaskGroup::stop()
{
    stopped_ = true;
    for (auto& member : members_) {
        member.emit(asio::cancellation_type::total);
    }
}

awaitable<void> TaskGroup::run(awaitable<void> task)
{
    co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
    co_await std::move(task);
}

awaitable<bool> stopping()
{
    const auto state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() != asio::cancellation_type::none;
}

}  // namespace ground
