// net.hpp -- listening, accepting, receiving and sending, on Asio's sockets.
//
// The stages differ in how they wait. Each of these functions either blocks or returns at once.
// They throw asio::system_error unless they name another error.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/server/options.hpp"

#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ground {

// Asio's types, but with the executor of an io_context in place of any_io_executor, because that
// would cost 500 bytes for every connection of 07_coroutines.
using Executor = asio::io_context::executor_type;
struct tcp : asio::ip::tcp {
    class socket;
    using acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
};

// Asio's socket, but its destructor closes it so that the last reply arrives (see linger.hpp).
// (close() is still Asio's. It sends nothing to the client if another process also has the socket.)
class tcp::socket : public asio::basic_stream_socket<asio::ip::tcp, Executor> {
  public:
    using Base = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    using Base::Base;
    socket(Base&& accepted) noexcept : Base(std::move(accepted)) {}  // NOLINT: implicit on purpose
    socket(socket&&) noexcept = default;
    socket& operator=(socket&&) noexcept = default;
    ~socket();

    // As native_handle(), for a const socket.
    [[nodiscard]] int descriptor() const noexcept
    {
        return const_cast<socket*>(this)->native_handle();
    }
};

template <typename T>
using awaitable = asio::awaitable<T, Executor>;
inline constexpr asio::use_awaitable_t<Executor> use_awaitable;

// Opens, binds and listens. Then it prints "02_threads listening on 127.0.0.1:25000" on stdout. If
// any of that fails, it says so in one line on stderr, and the program exits with status 1.
[[nodiscard]] tcp::acceptor listen(asio::io_context& context, const Options& options);

// The same for several loops that share the port (SO_REUSEPORT). It returns that many sockets, and
// prints the line once, when all of them listen. The kernel distributes new clients among them.
// Pass each socket to adopt() in the thread or process that will use it.
[[nodiscard]] std::vector<Descriptor> listen_reuse_port(const Options& options, unsigned count);
[[nodiscard]] tcp::acceptor adopt(asio::io_context& context, Descriptor listening);

// For a stage that should hold `clients` connections with `loops` event loops. If the limit on
// descriptors leaves room for fewer, this says so in one line on stderr, and says what to type.
// Call it after the pool has been made.
void warn_of_limit(const Options& options, std::size_t clients, unsigned loops = 1);

// Whether accept() failed for lack of descriptors or memory. Then try again a little later.
[[nodiscard]] bool is_exhausted(const asio::error_code& error) noexcept;
inline constexpr std::chrono::milliseconds retry_interval{100};

// Logs that no descriptor is left, but only the first time: it may happen again and again.
void say_no_descriptors_left();

// The listening socket.
//
// When the process has no descriptor left for a new client, the client waits in the backlog. The
// listener says so once and tries again every tenth of a second.
class Listener {
  public:
    explicit Listener(const Options& options);

    // Blocks until there is a client. The socket that it returns also blocks.
    [[nodiscard]] tcp::socket accept(Here here = Here::at());

    // Does not block: returns nothing if there is no client. The returned socket does not block
    // either.
    [[nodiscard]] std::optional<tcp::socket> try_accept(Here here = Here::at());

    // Wait until this is readable before you call try_accept(). Not always the same descriptor.
    [[nodiscard]] int native_handle();

    // As native_handle(), but always the same descriptor, which need be registered only once. (It
    // is an epoll set that contains both descriptors which native_handle() may return. An epoll set
    // is itself readable when a descriptor in it is.)
    [[nodiscard]] int stable_handle();

    // For a child process that has inherited the listener. The parent continues to listen.
    void close() noexcept;

  private:
    [[nodiscard]] std::optional<tcp::socket> accept_one();
    void pause();
    void update_both_set(int operation);

    asio::io_context context_;
    tcp::acceptor acceptor_;
    Descriptor timer_;     // a timerfd: the pause as something that select can wait for
    bool paused_ = false;  // wait for timer_ instead of acceptor_
    Descriptor both_set_;  // the epoll set, if stable_handle() has been called
};

// The same bytes, as Asio's functions take them.
[[nodiscard]] inline asio::mutable_buffer as_buffer(std::span<char> bytes) noexcept
{
    return {bytes.data(), bytes.size()};
}

// As recv(2), for a socket that blocks: the number of bytes, 0 at end of file.
[[nodiscard]] std::size_t recv(tcp::socket& socket, std::span<char> buffer, Here here = Here::at());

// Sends all of it, for a socket that blocks.
void send(tcp::socket& socket, std::string_view text, Here here = Here::at());

// As recv(), for a socket that does not block: returns nothing if no bytes have arrived yet.
[[nodiscard]] std::optional<std::size_t> try_recv(tcp::socket& socket, std::span<char> buffer,
                                                  Here here = Here::at());

// Sends what fits, for a socket that does not block: the number of bytes, 0 if none fits now.
[[nodiscard]] std::size_t try_send(tcp::socket& socket, std::string_view text,
                                   Here here = Here::at());

// Tells a client why it is not served, if it takes the message. Never blocks, never throws.
void refuse(tcp::socket& socket, std::string_view reason, Here here = Here::at()) noexcept;

// The address of the client, or an empty one if the client has left. (It also tells
// the watcher, see common/observe, that this thread now works for this client.)
[[nodiscard]] tcp::endpoint remote_endpoint(const tcp::socket& socket) noexcept;

// Logs "Connection 127.0.0.1:40000" when it is made and "Closed 127.0.0.1:40000" when it is
// destroyed.
class ConnectionLog {
  public:
    explicit ConnectionLog(const tcp::endpoint& peer, Here here = Here::at());
    explicit ConnectionLog(const tcp::socket& socket, Here here = Here::at())
        : ConnectionLog(remote_endpoint(socket), here)
    {
    }
    explicit ConnectionLog(const auto& socket, Here here = Here::at())
        : ConnectionLog(socket.remote_endpoint(), here)
    {
    }
    ~ConnectionLog();
    ConnectionLog(const ConnectionLog&) = delete;
    ConnectionLog& operator=(const ConnectionLog&) = delete;

  private:
    tcp::endpoint peer_;
};

}  // namespace ground
