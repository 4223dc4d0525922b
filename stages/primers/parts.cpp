// parts.cpp -- two clients send three requests each, in three parts that are no requests.
//
//     04_generators          then, in another terminal:          parts [PORT]
//
// TCP is a stream of bytes. It keeps their order and nothing else: where a part ended is lost.

#include "common/server/net.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

using namespace ground;

int main(int argc, char** argv)
try {
    const int port = argc > 1 ? std::atoi(argv[1]) : 25000;
    const tcp::endpoint server(asio::ip::address_v4::loopback(), static_cast<unsigned short>(port));
    asio::io_context context;
    std::vector<tcp::socket> clients;
    for (int i = 0; i < 2; ++i) {
        clients.emplace_back(context).connect(server);
    }
    for (const std::string_view part : {"30\n2", "0\n1", "0\n"}) {
        for (std::size_t i = 0; i < clients.size(); ++i) {
            fmt::print("client {} sends {} bytes\n", i, part.size());
            send(clients[i], part);
        }
    }
    for (std::size_t i = 0; i < clients.size(); ++i) {
        std::string replies;
        while (std::count(replies.begin(), replies.end(), '\n') < 3) {
            std::array<char, 100> buffer;
            const std::size_t size = recv(clients[i], buffer);
            if (size == 0) {
                throw asio::system_error(asio::error::eof);
            }
            replies.append(buffer.data(), size);
        }
        fmt::print("client {} has\n{}", i, replies);
    }
} catch (const asio::system_error& error) {
    fmt::print(stderr, "parts: {}; start a stage, and name its port\n", error.what());
    return 1;
}
