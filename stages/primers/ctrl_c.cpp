// ctrl_c.cpp -- Ctrl-C cancels the tasks that wait; each of them cleans up, then the program ends.

#include "common/server/async.hpp"
#include "common/server/signals.hpp"
#include "common/server/task_group.hpp"

#include <fmt/format.h>

#include <set>
#include <string_view>

using namespace ground;
using namespace std::chrono_literals;

namespace {

awaitable<void> nap(std::string_view name, std::chrono::seconds time,
                    std::set<std::string_view>& pending)
{
    pending.insert(name);
    fmt::print("{} begins\n", name);
    try {
        co_await async_sleep(time);
        fmt::print("{} is done\n", name);
    } catch (const asio::system_error&) {
        fmt::print("{} is cancelled\n", name);
    }
    pending.erase(name);
}

}  // namespace

int main()
{
    asio::io_context context;
    TaskGroup tasks(context.get_executor());
    std::set<std::string_view> pending;
    tasks.spawn(nap("short", 1s, pending));
    tasks.spawn(nap("medium", 100s, pending));
    tasks.spawn(nap("long", 200s, pending));
    const StopOnSignals stopping(context, [&] {
        for (const auto name : pending) {
            fmt::print("{} is pending\n", name);
        }
        tasks.stop();
    });
    context.run();
    fmt::print("{} are left\n", pending.size());
}
