// async.hpp -- what net.hpp has, for coroutines on Asio: nothing here blocks, everything is
// awaited.
//
// All of it is for the thread that runs the io_context of the socket.
#pragma once

#include "common/server/net.hpp"

#include <asio/async_result.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/write.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace ground {

// The next client; when there is no descriptor for one it waits, as a Listener does. Throws
// asio::system_error if the acceptor has been closed.
[[nodiscard]] awaitable<tcp::socket> async_accept(tcp::acceptor& acceptor);

// As recv(), but that the loss of a connection is its end, too: then there are 0 bytes. (Not a
// coroutine itself: each would cost every connection another frame for as long as it waits.)
[[nodiscard]] inline awaitable<std::size_t> async_recv(tcp::socket& socket, std::span<char> buffer)
{
    return asio::async_initiate<const asio::use_awaitable_t<Executor>, void(std::size_t)>(
        [&socket, buffer](auto handler) {
            auto slot = asio::get_associated_cancellation_slot(handler);
            socket.async_receive(as_buffer(buffer),
                                 asio::bind_cancellation_slot(slot, [handler = std::move(handler)](
                                                                        const asio::error_code& end,
                                                                        std::size_t size) mutable {
                                     std::move(handler)(end ? 0 : size);
                                 }));
        },
        use_awaitable);
}

// Sends all of it. The text has to live until then.
[[nodiscard]] inline awaitable<std::size_t> async_send(tcp::socket& socket, std::string_view text)
{
    return asio::async_write(socket, asio::buffer(text), use_awaitable);
}

}  // namespace ground
