// socket.hpp -- TCP sockets for green threads: a call that waits lets the other green threads run.
#pragma once

#include "common/green/hub.hpp"
#include "common/server/net.hpp"

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace ground::green {

// hub.hpp says which threads may call. One of them may be in recv() while another one is in send().
// Errors are thrown as asio::system_error.
class Socket {
  public:
    explicit Socket(tcp::socket socket) : socket_(std::move(socket)) { socket_.non_blocking(true); }
    Socket(Socket&&) = default;
    Socket& operator=(Socket&&) = delete;
    ~Socket()
    {
        if (socket_.is_open()) {
            Hub::current().forget(socket_.native_handle());
        }
    }

    // Waits for bytes and returns their number, 0 at end of file.
    [[nodiscard]] std::size_t recv(std::span<char> buffer)
    {
        for (;;) {
            Hub::current().wait_for(socket_.native_handle(), Events::read);
            if (const auto size = try_recv(socket_, buffer)) {
                return *size;
            }
        }
    }

    // Sends all of it, and waits for room as often as needed.
    void send(std::string_view text)
    {
        while (!text.empty()) {
            const std::size_t size = try_send(socket_, text);
            text.remove_prefix(size);
            if (size == 0) {
                Hub::current().wait_for(socket_.native_handle(), Events::write);
            }
        }
    }

  private:
    tcp::socket socket_;
};

// Waits for a client and, if no descriptor is left, for a descriptor.
[[nodiscard]] inline Socket accept(Listener& listener)
{
    for (;;) {
        Hub::current().wait_for(listener.stable_handle(), Events::read);
        if (auto client = listener.try_accept()) {
            return Socket(std::move(*client));
        }
    }
}

}  // namespace ground::green
