// hundred.cpp -- a hundred clients at once, of any stage.
//
//     02_threads          then, in another terminal:          hundred [PORT]
//
// With 01_blocking it never ends: each client waits until all are served, and only one is.

#include "common/server/fib.hpp"
#include "common/server/net.hpp"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace ground;

namespace {

constexpr int clients = 100;

// Ends the program. Any thread may call it.
[[noreturn]] void give_up(const asio::system_error& error)
{
    fmt::print(stderr, "hundred: {}; start a stage, and name its port\n", error.what());
    std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv)
try {
    const int port = argc > 1 ? std::atoi(argv[1]) : 25000;
    const tcp::endpoint server(asio::ip::address_v4::loopback(), static_cast<unsigned short>(port));
    asio::io_context context;
    std::vector<tcp::socket> sockets;
    for (int i = 0; i < clients; ++i) {
        sockets.emplace_back(context).connect(server);
    }
    std::barrier all(clients);
    std::atomic<int> right = 0;
    const auto talk = [&](tcp::socket& socket, unsigned n) {
        try {
            for (int i = 0; i < 3; ++i) {
                send(socket, fmt::format("{}\n", n));
                std::string reply;
                while (!reply.ends_with('\n')) {
                    std::array<char, 100> buffer;
                    const std::size_t size = recv(socket, buffer);
                    if (size == 0) {
                        throw asio::system_error(asio::error::eof);
                    }
                    reply.append(buffer.data(), size);
                }
                right += reply == fmt::format("{}\n", fib_fast(n)) ? 1 : 0;
                all.arrive_and_wait();  // no client continues before all have been served
            }
        } catch (const asio::system_error& error) {
            give_up(error);
        }
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < clients; ++i) {
        threads.emplace_back(talk, std::ref(sockets[i]), 1 + i % 20);
    }
    threads.clear();  // waits for them
    fmt::print("{} clients at once, {} right replies\n", clients, right.load());
} catch (const asio::system_error& error) {
    give_up(error);
}
