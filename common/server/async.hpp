// async.hpp -- the functions of net.hpp for coroutines on Asio: they are awaited and do not block.
//
// Call all of it on the thread that runs the io_context of the socket.
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

// Returns the next client. If no descriptor is left for it, waits until there is one, as a Listener
// does. Throws asio::system_error if the wait is cancelled.
[[nodiscard]] awaitable<tcp::socket> async_accept(tcp::acceptor& acceptor, Here here = Here::at());

// As recv(), but a lost connection also counts as ended: then async_recv() returns 0. (async_recv()
// and async_send() are no coroutines, because each connection would then need a coroutine frame for
// as long as it waits.)
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

// As above, but waits no longer than `limit` (0: for ever). Returns nothing if time is up.
[[nodiscard]] awaitable<std::optional<std::size_t>> async_recv(tcp::socket& socket,
                                                               std::span<char> buffer,
                                                               std::chrono::microseconds limit,
                                                               Here here = Here::at());

// Waits for that long.
[[nodiscard]] awaitable<void> async_sleep(std::chrono::microseconds time);

// Sends all of the text, which must live until it has been sent. (Built like async_recv(), so that
// Asio needs the same amount of memory for both. A connection that has received then sends with the
// memory that it has just given back, and ten thousand connections leave no holes in the heap.)
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

// As above, but waits no longer than `limit` (0: for ever). Throws asio::error::timed_out if time
// is up.
[[nodiscard]] awaitable<std::size_t> async_send(tcp::socket& socket, std::string_view text,
                                                std::chrono::microseconds limit,
                                                Here here = Here::at());

}  // namespace ground
