#include "common/server/net.hpp"

#include "common/base/limits.hpp"
#include "common/server/linger.hpp"
#include "common/server/log.hpp"
#include "common/server/who_listens.hpp"

#include <asio/buffer.hpp>
#include <asio/write.hpp>
#include <fmt/format.h>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <utility>

namespace ground {

namespace {

// Says in one line what to do and ends the program.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args)
{
    log(format, std::forward<Args>(args)...);
    std::exit(EXIT_FAILURE);
}

tcp::endpoint resolve(asio::io_context& context, const Options& options)
{
    asio::error_code error;
    tcp::resolver resolver(context);
    const auto found =
        resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
    if (error || found.empty()) {
        fail("{}: no such host '{}'; give --host an address of this machine", options.stage,
             options.host);
    }
    return found.begin()->endpoint();
}

std::string to_string(const tcp::endpoint& endpoint)
{
    std::ostringstream text;
    text << endpoint;
    return text.str();
}

void say_listening(const Options& options, const tcp::endpoint& bound)
{
    if (!bound.address().is_loopback()) {
        log("{}: warning: anyone who can reach {} can keep this machine's cores busy",
            options.stage, to_string(bound));
    }
    // The server serves even if it can't say so, for example because the disk is full.
    fmt::print("{} listening on {}\n", options.stage, to_string(bound));
    if (std::fflush(stdout) != 0) {
        const std::string reason = std::strerror(errno);
        log("{}: can't write to stdout: {}; still listening on {}", options.stage, reason,
            to_string(bound));
    }
}

[[noreturn]] void fail_to_listen(const Options& options, const tcp::endpoint& endpoint,
                                 const asio::error_code& error)
{
    if (error == asio::error::address_in_use) {
        const std::string who = who_listens(options.port);
        fail("{}: port {} is in use{}; stop {} or choose another --port", options.stage,
             options.port, who.empty() ? "" : " by " + who,
             who.empty() ? "the other server" : "it");
    }
    if (error == asio::error::access_denied) {
        fail("{}: port {} is reserved; choose a --port of 1024 or more", options.stage,
             options.port);
    }
    fail("{}: can't listen on {}: {}; give --host an address of this machine", options.stage,
         to_string(endpoint), error.message());
}

}  // namespace

tcp::socket::~socket()
{
    if (is_open()) {
        asio::error_code error;
        observe::closes(descriptor());
        const int fd = release(error);
        if (!error) {
            close_lingering(Descriptor(fd));
        }
    }
}

tcp::acceptor listen(asio::io_context& context, const Options& options)
{
    const tcp::endpoint endpoint = resolve(context, options);
    tcp::acceptor acceptor(context);  // outside the try: no address helps without io_uring (07c)
    try {
        acceptor.open(endpoint.protocol());
        // A restart need not wait for old connections to time out.
        acceptor.set_option(tcp::acceptor::reuse_address(true));
        acceptor.bind(endpoint);
        acceptor.listen();
        say_listening(options, acceptor.local_endpoint());
        return acceptor;
    } catch (const asio::system_error& error) {
        fail_to_listen(options, endpoint, error.code());
    }
}

std::vector<Descriptor> listen_reuse_port(const Options& options, unsigned count)
{
    asio::io_context context;
    tcp::endpoint endpoint = resolve(context, options);
    std::vector<Descriptor> sockets;
    try {
        while (sockets.size() < count) {
            tcp::acceptor acceptor(context, endpoint.protocol());
            acceptor.set_option(tcp::acceptor::reuse_address(true));
            // The first socket binds without SO_REUSEPORT. So this fails if another program has the
            // port, or if this program runs already. Then this socket gets the option, too, so that
            // the others can bind.
            if (sockets.empty()) {
                acceptor.bind(endpoint);
                endpoint = acceptor.local_endpoint();
            }
            const int yes = 1;
            check(
                ::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes),
                "SO_REUSEPORT");
            if (!sockets.empty()) {
                acceptor.bind(endpoint);
            }
            acceptor.listen();
            sockets.emplace_back(acceptor.release());
        }
    } catch (const asio::system_error& error) {
        fail_to_listen(options, endpoint, error.code());
    }
    say_listening(options, endpoint);
    return sockets;
}

tcp::acceptor adopt(asio::io_context& context, Descriptor listening)
{
    int family = 0;
    socklen_t size = sizeof family;
    check(::getsockopt(listening.get(), SOL_SOCKET, SO_DOMAIN, &family, &size), "SO_DOMAIN");
    return {context, family == AF_INET6 ? tcp::v6() : tcp::v4(), listening.release()};
}

void warn_of_limit(const Options& options, std::size_t clients, unsigned loops)
{
    // Still to be opened: each loop's listening socket, the descriptors of a single loop (several
    // loops have theirs already), and some to spare.
    const std::size_t own = open_descriptors() + 8 + std::size_t{loops};
    const std::size_t limit = raise_descriptor_limit();
    if (limit < clients + own) {
        log("{}: room for {} clients only, because ulimit -n is {}; for {} type {} and start it "
            "again",
            options.stage, limit - std::min(limit, own), limit, clients,
            how_to_allow_descriptors(clients + own));
    }
}

bool is_exhausted(const asio::error_code& error) noexcept
{
    // Compares the values, because Asio's category does not translate its codes to std::errc.
    return error.category() == asio::error::get_system_category() &&
           (error.value() == EMFILE || error.value() == ENFILE || error.value() == ENOBUFS ||
            error.value() == ENOMEM);
}

void say_no_descriptors_left()
{
    static std::atomic_flag said;
    if (!said.test_and_set()) {
        log("No descriptors left: newcomers wait until a client leaves (see ulimit -n)");
    }
}

Listener::Listener(const Options& options)
    : acceptor_(listen(context_, options)),
      timer_(check(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create"))
{
}

tcp::socket Listener::accept(Here here)
{
    const observe::Seam seam(observe::accepts, observe::this_thread, here);
    for (;;) {
        if (auto client = accept_one()) {
            observe::opens(client->descriptor(), here);
            return std::move(*client);
        }
        if (paused_) {
            std::uint64_t expirations = 0;
            [[maybe_unused]] const auto size =
                ::read(timer_.get(), &expirations, sizeof expirations);
        }
    }
}

std::optional<tcp::socket> Listener::try_accept(Here here)
{
    observe::passes(observe::this_thread, here);
    if (!acceptor_.non_blocking()) {
        acceptor_.non_blocking(true);
    }
    auto client = accept_one();
    if (client) {
        observe::opens(client->descriptor(), here);
        client->non_blocking(true);
    }
    return client;
}

int Listener::native_handle() { return paused_ ? timer_.get() : acceptor_.native_handle(); }

int Listener::stable_handle()
{
    if (both_set_.get() == -1) {
        both_set_ = Descriptor(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
        update_both_set(EPOLL_CTL_ADD);
    }
    return both_set_.get();
}

// Chooses which of the two to wait for now. The other one stays in the set, because changing its
// entry takes no memory. So this can't fail when no memory is left.
void Listener::update_both_set(int operation)
{
    epoll_event newcomer{paused_ ? 0U : EPOLLIN, {}};
    epoll_event pause_over{paused_ ? EPOLLIN : 0U, {}};
    check(::epoll_ctl(both_set_.get(), operation, acceptor_.native_handle(), &newcomer),
          "epoll_ctl");
    check(::epoll_ctl(both_set_.get(), operation, timer_.get(), &pause_over), "epoll_ctl");
}

void Listener::close() noexcept
{
    asio::error_code ignored;
    acceptor_.close(ignored);
    timer_.reset();
    both_set_.reset();
}

std::optional<tcp::socket> Listener::accept_one()
{
    asio::error_code error;
    tcp::socket client(context_);
    acceptor_.accept(client, error);
    const bool was_paused = std::exchange(paused_, is_exhausted(error));
    if (paused_) {
        pause();
    }
    if (paused_ != was_paused && both_set_.get() != -1) {
        update_both_set(EPOLL_CTL_MOD);
    }
    if (error) {
        return std::nullopt;  // it would block, or the client has gone again
    }
    // A reply is one small packet: it must not wait for the acknowledgement of the one before.
    client.set_option(tcp::no_delay(true), error);
    return client;
}

void Listener::pause()
{
    say_no_descriptors_left();
    const itimerspec once{{0, 0}, {0, std::chrono::nanoseconds(retry_interval).count()}};
    check(::timerfd_settime(timer_.get(), 0, &once, nullptr), "timerfd_settime");
}

std::size_t recv(tcp::socket& socket, std::span<char> buffer, Here here)
{
    const observe::Seam seam(observe::receives, observe::client(socket), here);
    asio::error_code error;
    const std::size_t size = socket.receive(as_buffer(buffer), 0, error);
    if (error && error != asio::error::eof) {
        throw asio::system_error(error);
    }
    return size;
}

void send(tcp::socket& socket, std::string_view text, Here here)
{
    const observe::Seam seam(observe::sends, observe::client(socket), here);
    asio::write(socket, asio::buffer(text));
    observe::answers(observe::client(socket), text);
}

std::optional<std::size_t> try_recv(tcp::socket& socket, std::span<char> buffer, Here here)
{
    observe::passes(observe::client(socket), here);
    asio::error_code error;
    const std::size_t size = socket.receive(as_buffer(buffer), 0, error);
    if (error == asio::error::would_block) {
        return std::nullopt;
    }
    if (error && error != asio::error::eof) {
        throw asio::system_error(error);
    }
    return size;
}

std::size_t try_send(tcp::socket& socket, std::string_view text, Here here)
{
    const observe::Seam seam(observe::sends, observe::client(socket), here);
    asio::error_code error;
    const std::size_t size = socket.send(asio::buffer(text), 0, error);
    if (error && error != asio::error::would_block) {
        throw asio::system_error(error);
    }
    observe::answers(observe::client(socket), text.substr(0, size));
    return size;
}

void refuse(tcp::socket& socket, std::string_view reason, Here here) noexcept
{
    try {
        connection_log("Refused a client: {}", reason);
        socket.non_blocking(true);
        static_cast<void>(try_send(socket, format_error(reason), here));
    } catch (const std::exception&) {
        // The client has not waited for the reply.
    }
}

tcp::endpoint remote_endpoint(const tcp::socket& socket) noexcept
{
    observe::runs_now(observe::client(socket));
    asio::error_code gone;
    return socket.remote_endpoint(gone);
}

ConnectionLog::ConnectionLog(const tcp::endpoint& peer, Here here) : peer_(peer)
{
    observe::passes(observe::whoever_runs, here);
    if (!connection_log_is_silent()) {  // else the address need not be formatted
        connection_log("Connection {}", to_string(peer_));
    }
}

ConnectionLog::~ConnectionLog()
{
    if (connection_log_is_silent()) {
        return;
    }
    try {
        connection_log("Closed {}", to_string(peer_));
    } catch (const std::exception&) {
        // Without memory for a log line the server continues.
    }
}

}  // namespace ground
