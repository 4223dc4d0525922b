// yield_from.cpp -- a generator inside a generator: running the outer one also runs the inner one.
//
// Python's `yield from` does three things. What the inner generator yields goes to the caller of
// the outer one. What the inner one returns comes back to the outer one, and so does what it
// throws. co_await of a Coroutine does the same: AsyncSocket in 06_async_sockets is made of those.

#include "common/wait/coroutine.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string>

using namespace ground;

namespace {

using Wait = std::string;  // what is yielded: in stage 06 a socket

Coroutine<Wait, int> recv(std::string client, int bytes)
{
    co_await Wait("bytes from " + client);
    if (bytes == 0) {
        throw std::runtime_error(client + " has left");
    }
    co_return bytes;
}

Coroutine<Wait> handle(std::string client)
{
    const int some = co_await recv(client, 3);
    const int more = co_await recv(client, 4);
    fmt::print("handle: got {} bytes\n", some + more);
    try {
        co_await recv(client, 0);
    } catch (const std::runtime_error& error) {
        fmt::print("handle: {}\n", error.what());
    }
    co_await Wait("room to send a farewell");
}

}  // namespace

int main()
{
    Coroutine<Wait> task = handle("Ann");
    while (const auto wait = task.next()) {
        fmt::print("main: it waits for {}\n", *wait);
    }
    fmt::print("main: it has ended\n");
}
