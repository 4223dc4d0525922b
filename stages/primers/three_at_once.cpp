// three_at_once.cpp -- waits for all of three tasks, for the first, for each; and one may fail.

#include "common/server/async.hpp"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>
#include <fmt/format.h>

#include <stdexcept>
#include <string_view>

using namespace ground;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;

namespace {

awaitable<std::string_view> nap(std::string_view name, std::chrono::milliseconds time)
{
    co_await async_sleep(time);
    fmt::print("{} ends\n", name);
    co_return name;
}

awaitable<void> fail(std::chrono::milliseconds time)
{
    co_await async_sleep(time);
    throw std::runtime_error("I have failed");
}

// Each task sends its name into one channel when it ends.
using Channel = asio::experimental::channel<Executor, void(asio::error_code, std::string_view)>;

awaitable<void> report(awaitable<std::string_view> task, Channel& ended)
{
    const std::string_view name = co_await std::move(task);
    co_await ended.async_send(asio::error_code(), name, use_awaitable);
}

awaitable<void> story(asio::io_context& context)
{
    fmt::print("all, in the order in which they were named:\n");
    const auto [a, b, c] = co_await (nap("a", 300ms) && nap("b", 600ms) && nap("c", 1ms));
    fmt::print("{} {} {}\n", a, b, c);

    fmt::print("the first; the others are cancelled:\n");
    const auto first = co_await (nap("a", 600ms) || nap("b", 100ms) || nap("c", 900ms));
    fmt::print("number {}\n", first.index());

    fmt::print("each as it ends:\n");
    Channel ended(context.get_executor());
    asio::co_spawn(context, report(nap("a", 600ms), ended), asio::detached);
    asio::co_spawn(context, report(nap("b", 900ms), ended), asio::detached);
    asio::co_spawn(context, report(nap("c", 300ms), ended), asio::detached);
    for (int i = 0; i < 3; ++i) {
        const std::string_view name = co_await ended.async_receive(use_awaitable);
        fmt::print("got {}\n", name);
    }

    fmt::print("one fails; the others are cancelled:\n");
    try {
        co_await (nap("a", 1h) && fail(100ms) && nap("c", 1h));
    } catch (const std::exception&) {
        fmt::print("not all have ended well\n");
    }
}

}  // namespace

int main()
{
    asio::io_context context;
    asio::co_spawn(context, story(context), asio::detached);
    context.run();
}
