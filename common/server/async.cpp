
#include "common/server/async.hpp"

#include "common/server/disconnect.hpp"

#include <asio/basic_waitable_timer.hpp>
#include <asio/experimental/parallel_group.hpp>
#include <asio/redirect_error.hpp>
#if __has_include(<asio/deferred.hpp>)  // it was experimental until Asio 1.24
#include <asio/deferred.hpp>
#else
#include <asio/experimental/deferred.hpp>
#endif

#include <sys/socket.h>

#include <array>
#include <memory>
#include <utility>

namespace ground {

awaitable<tcp::socket> async_accept(tcp::acceptor& acceptor, Here here)
{
    for (;;) {
        observe::waits(observe::accepts, observe::this_thread, here);
        asio::error_code error;
        tcp::socket client =
            co_await acceptor.async_accept(asio::redirect_error(use_awaitable, error));
        observe::is_at(observe::this_thread, here);
        if (!error) {
            observe::opens(client.descriptor(), here);
            client.set_option(tcp::no_delay(true), error);
            co_return client;
        }
        if (error == asio::error::operation_aborted) {
            throw asio::system_error(error);
        }
        if (is_exhausted(error)) {
            say_no_descriptors_left();
            co_await async_sleep(retry_interval);
        }
    }
}

namespace {

// How many bytes a wait has brought. A cancelled wait still takes bytes that have arrived
// meanwhile, because the loop may not have noticed them yet.
std::size_t received(tcp::socket& socket, std::span<char> buffer, const asio::error_code& end,
                     std::size_t size) noexcept
{
    if (end == asio::error::operation_aborted && socket.is_open()) {
        const ssize_t there =
            ::recv(socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        return there > 0 ? static_cast<std::size_t>(there) : 0;
    }
    return end ? 0 : size;
}

}  // namespace

awaitable<std::optional<std::size_t>> async_recv(tcp::socket& socket, std::span<char> buffer,
                                                 std::chrono::microseconds limit, Here here)
{
    observe::waits(observe::receives, observe::client(socket), here);
    using Result = std::optional<std::size_t>;
    return asio::async_initiate<const asio::use_awaitable_t<Executor>, void(Result)>(
        [&socket, buffer, limit](auto handler) {
            const auto slot = asio::get_associated_cancellation_slot(handler);
            if (limit.count() == 0) {
                socket.async_receive(
                    as_buffer(buffer),
                    asio::bind_cancellation_slot(
                        slot, [&socket, buffer, handler = std::move(handler)](
                                  const asio::error_code& end, std::size_t size) mutable {
                            std::move(handler)(Result(received(socket, buffer, end, size)));
                        }));
                return;
            }
            using namespace asio;
            using namespace asio::experimental;
            auto timer = std::make_unique<Timer>(socket.get_executor(), limit);
            auto both = asio::experimental::make_parallel_group(
                socket.async_receive(as_buffer(buffer), deferred), timer->async_wait(deferred));
            both.async_wait(
                asio::experimental::wait_for_one(),
                asio::bind_cancellation_slot(
                    slot, [&socket, buffer, handler = std::move(handler), timer = std::move(timer)](
                              std::array<std::size_t, 2> order, const asio::error_code& end,
                              std::size_t size, const asio::error_code&) mutable {
                        const std::size_t taken = received(socket, buffer, end, size);
                        const bool in_vain = order[0] == 1 && end && taken == 0;
                        std::move(handler)(in_vain ? Result() : Result(taken));
                    }));
        },
        use_awaitable);
}

awaitable<void> async_sleep(std::chrono::microseconds time)
{
    Timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(use_awaitable);
}

namespace {

awaitable<std::size_t> send_in_time(tcp::socket& socket, std::string_view text,
                                    std::chrono::microseconds limit, Here here)
{
    bool late = false;
    const OnTimeout end(socket.get_executor(), limit, [&] {
        late = true;
        socket.cancel();
    });
    try {
        co_return co_await async_send(socket, text, here);
    } catch (const asio::system_error&) {
        if (!late) {
            throw;
        }
    }
    throw asio::system_error(asio::error::timed_out);
}

}  // namespace

awaitable<std::size_t> async_send(tcp::socket& socket, std::string_view text,
                                  std::chrono::microseconds limit, Here here)
{
    return limit.count() == 0 ? async_send(socket, text, here)
                              : send_in_time(socket, text, limit, here);
}

}  // namespace ground
