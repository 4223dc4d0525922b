// async.hpp -- what net.hpp has, for coroutines on Asio: nothing here blocks, everything is
// awaited.
//
// All of it is for the thread that runs the io_context of the socket.
#pragma once

#include "common/server/net.hpp"

#include <asio/async_result.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace ground {

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>, Executor>;

// The next client; when there is no descriptor for one it waits, as a Listener does. Throws
// asio::system_error if the wait has been cancelled.
[[nodiscard]] awaitable<tcp::socket> async_accept(tcp::acceptor& acceptor, Here here = Here::at());

// As recv(), but that the loss of a connection is its end, too: then there are 0 bytes. (Neither of
// the two is a coroutine itself: that would cost each connection a frame for as long as it waits.)
[[nodiscard]] inline awaitable<std::size_t> async_recv(tcp::socket& socket, std::span<char> buffer,
                                                       Here here = Here::at())
{
    observe::waits(observe::receives, observe::client(socket), here);
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

// As above, but that it does not wait for longer than this, if it is more than 0: nothing then.
[[nodiscard]] awaitable<std::optional<std::size_t>> async_recv(tcp::socket& socket,
                                                               std::span<char> buffer,
                                                               std::chrono::microseconds limit,
                                                               Here here = Here::at());

// Waits so long.
[[nodiscard]] awaitable<void> async_sleep(std::chrono::microseconds time);

// Sends all of it. The text has to live until then. (Written out like async_recv(), so that Asio
// needs as much memory for one as for the other: what a connection that waits to receive gives back
// is what it needs to send, and ten thousand of them leave no holes in the heap.)
[[nodiscard]] inline awaitable<std::size_t> async_send(tcp::socket& socket, std::string_view text,
                                                       Here here = Here::at())
{
    observe::answers(observe::client(socket), text);
    observe::waits(observe::sends, observe::client(socket), here);
    return asio::async_initiate<const asio::use_awaitable_t<Executor>,
                                void(asio::error_code, std::size_t)>(
        [&socket, text](auto handler) {
            asio::async_write(socket, asio::buffer(text), std::move(handler));
        },
        use_awaitable);
}

// As above, but that it does not wait for longer than this, if it is more than 0: it throws
// asio::error::timed_out then.
[[nodiscard]] awaitable<std::size_t> async_send(tcp::socket& socket, std::string_view text,
                                                std::chrono::microseconds limit,
                                                Here here = Here::at());

}  // namespace ground
