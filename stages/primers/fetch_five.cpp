// fetch_five.cpp -- five tasks that ask a server, at most three of them at a time.
//
//     04_generators          then, in another terminal:          fetch_five [PORT]

#include "common/server/async.hpp"

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace ground;
using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

awaitable<std::string> ask(tcp::endpoint server, int n)
{
    tcp::socket socket(co_await asio::this_coro::executor);
    co_await socket.async_connect(server, use_awaitable);
    const std::string request = fmt::format("{}\n", n);
    co_await async_send(socket, request);
    std::string reply;
    while (!reply.ends_with('\n')) {
        std::array<char, 100> buffer;
        const std::size_t size = co_await async_recv(socket, buffer);
        if (size == 0) {
            throw asio::system_error(asio::error::eof);
        }
        reply.append(buffer.data(), size);
    }
    co_return reply;
}

// A channel with room for three is a semaphore: to send is to sit down, to receive is to get up.
using Seats = asio::experimental::channel<Executor, void(asio::error_code, int)>;

awaitable<void> fetch(tcp::endpoint server, int index, Seats& seats, Clock::time_point start)
{
    co_await seats.async_send(asio::error_code(), index, use_awaitable);
    // We make believe that the server needs a second.
    const std::string reply = co_await (ask(server, 20 + index) && async_sleep(1s));
    const std::chrono::duration<double> time = Clock::now() - start;
    fmt::print("{} after {:.1f} s: {}", index, time.count(), reply);
    seats.try_receive([](asio::error_code, int) {});
}

}  // namespace

int main(int argc, char** argv)
try {
    const int port = argc > 1 ? std::atoi(argv[1]) : 25000;
    const tcp::endpoint server(asio::ip::address_v4::loopback(), static_cast<unsigned short>(port));
    asio::io_context context;
    Seats seats(context.get_executor(), 3);
    const auto start = Clock::now();
    for (int index = 0; index < 5; ++index) {
        asio::co_spawn(context, fetch(server, index, seats, start), [](std::exception_ptr error) {
            if (error) {
                std::rethrow_exception(error);  // out of run()
            }
        });
    }
    context.run();
} catch (const std::exception&) {  // of one fetch, or of several at once
    fmt::print(stderr, "fetch_five: no reply; start a stage, and name its port\n");
    return 1;
}
