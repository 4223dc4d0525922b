// net.hpp -- listening, accepting, receiving and sending, on Asio's sockets.
//
// The stages differ in how they wait; this is what they then do without waiting, or by blocking.
// Functions that name no other error throw asio::system_error.
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

// Asio's types, for programs with one io_context: they name its executor instead of hiding it in an
// any_io_executor, which would cost every connection of 07_coroutines 500 bytes.
using Executor = asio::io_context::executor_type;
struct tcp : asio::ip::tcp {
    class socket;
    using acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
};

// Asio's, too, but that its end is a lingering close: the last reply arrives. (close() is still
// Asio's, and says nothing to the client if somebody else has the socket as well.)
class tcp::socket : public asio::basic_stream_socket<asio::ip::tcp, Executor> {
  public:
    using Base = asio::basic_stream_socket<asio::ip::tcp, Executor>;
    using Base::Base;
    socket(Base&& accepted) noexcept : Base(std::move(accepted)) {}  // NOLINT: as Asio gives it
    socket(socket&&) noexcept = default;
    socket& operator=(socket&&) noexcept = default;
    ~socket();

    // As native_handle(), but that it can be asked of a const one.
    [[nodiscard]] int descriptor() const noexcept
    {
        return const_cast<socket*>(this)->native_handle();
    }
};

template <typename T>
using awaitable = asio::awaitable<T, Executor>;
inline constexpr asio::use_awaitable_t<Executor> use_awaitable;

// Opens, binds and listens; then says "02_threads listening on 127.0.0.1:25000" on stdout.
// If that cannot be done it says so in one line on stderr and exits with 1.
[[nodiscard]] tcp::acceptor listen(asio::io_context& context, const Options& options);

// The same for several loops that share the port (SO_REUSEPORT): so many sockets, all of which
// listen when it is said, once. The kernel deals newcomers out among them. Each is for adopt() in
// the thread or the process that is to use it.
[[nodiscard]] std::vector<Descriptor> listen_together(const Options& options, unsigned count);
[[nodiscard]] tcp::acceptor adopt(asio::io_context& context, Descriptor listening);

// For a stage that means to hold so many clients, with so many loops: if the limit on descriptors
// leaves room for fewer, says so in one line on stderr, and what to type. Call it once the pool is
// there.
void warn_of_limit(const Options& options, std::size_t clients, unsigned loops = 1);

// Whether accept() failed for want of descriptors or memory: worth another try a little later.
[[nodiscard]] bool is_exhausted(const asio::error_code& error) noexcept;
inline constexpr std::chrono::milliseconds retry_interval{100};

// Says so once in the life of the process, for it may come to this again and again.
void say_no_descriptors_left();

// The socket that clients knock at.
//
// When the process has no descriptor left for a newcomer, the newcomer waits in the backlog; the
// listener says so once and looks again every tenth of a second, until it can go on.
class Listener {
  public:
    explicit Listener(const Options& options);

    // Blocks until there is a client. The socket it returns blocks, too.
    [[nodiscard]] tcp::socket accept(Here here = Here::at());

    // Does not block: nothing if nobody is there. The socket it returns does not block either.
    [[nodiscard]] std::optional<tcp::socket> try_accept(Here here = Here::at());

    // What to wait on, until it is readable, before try_accept(). Not always the same descriptor.
    [[nodiscard]] int native_handle();

    // The same for whoever registers it once and for all: always the same descriptor. (An epoll set
    // is itself readable when something in it is. In this one are both that native_handle() may
    // be.)
    [[nodiscard]] int lasting_handle();

    // For a child process that has inherited it: its parent goes on listening.
    void close() noexcept;

  private:
    [[nodiscard]] std::optional<tcp::socket> accept_one();
    void pause();
    void tell_either(int operation);

    asio::io_context context_;
    tcp::acceptor acceptor_;
    Descriptor timer_;     // a timerfd: the pause as something that select can wait for
    bool paused_ = false;  // wait for timer_ instead of acceptor_
    Descriptor either_;    // the epoll set, if lasting_handle() has been called
};

// The same bytes, as Asio's functions want to have them.
[[nodiscard]] inline asio::mutable_buffer as_buffer(std::span<char> bytes) noexcept
{
    return {bytes.data(), bytes.size()};
}

// As recv(2), for a socket that blocks: the number of bytes, 0 at end of file.
[[nodiscard]] std::size_t recv(tcp::socket& socket, std::span<char> buffer, Here here = Here::at());

// Sends all of it, for a socket that blocks.
void send(tcp::socket& socket, std::string_view text, Here here = Here::at());

// As recv(), for a socket that does not block: nothing if nothing is there yet.
[[nodiscard]] std::optional<std::size_t> try_recv(tcp::socket& socket, std::span<char> buffer,
                                                  Here here = Here::at());

// Sends what fits, for a socket that does not block: the number of bytes, 0 if none fits now.
[[nodiscard]] std::size_t try_send(tcp::socket& socket, std::string_view text,
                                   Here here = Here::at());

// Tells a client why it is not served, as far as it listens. Never blocks, never throws.
void refuse(tcp::socket& socket, std::string_view reason, Here here = Here::at()) noexcept;

// The address of the client, or nobody's if it has gone again. (Who watches the server takes what
// comes next on this thread for this client's.)
[[nodiscard]] tcp::endpoint remote_endpoint(const tcp::socket& socket) noexcept;

// Says "Connection 127.0.0.1:40000" now and "Closed 127.0.0.1:40000" at the end of its life.
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
