// coroutine.cpp -- a coroutine that waits for another one, and then for one with a time limit.

#include "common/server/async.hpp"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <fmt/format.h>

using namespace ground;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

namespace {

awaitable<int> compute(int x, int y)
{
    fmt::print("computing {} + {} ...\n", x, y);
    co_await async_sleep(500ms);  // others could run meanwhile
    co_return x + y;
}

awaitable<void> print_sum(int x, int y)
{
    const int sum = co_await compute(x, y);
    fmt::print("{} + {} = {}\n", x, y, sum);
}

awaitable<void> story()
{
    awaitable<void> task = print_sum(1, 2);
    fmt::print("nothing has run yet\n");
    co_await std::move(task);

    // A time limit is another wait: whichever ends first ends the other.
    const auto ended = co_await (compute(3, 4) || async_sleep(100ms));
    fmt::print("{}\n", ended.index() == 0 ? "in time" : "too late");
}

}  // namespace

int main()
{
    asio::io_context context;
    asio::co_spawn(context, story(), asio::detached);
    context.run();
}
