#include "scripted_server.hpp"

#include "common/server/fib.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>

namespace ground {

namespace {

std::uint16_t bind_loopback(const Descriptor& socket)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    check(::bind(socket.get(), any, size), "bind");
    check(::getsockname(socket.get(), any, &size), "getsockname");
    return ntohs(address.sin_port);
}

Descriptor new_socket()
{
    return Descriptor(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
}

}  // namespace

std::optional<std::string> Peer::line()
{
    for (;;) {
        const std::size_t end = buffer_.find('\n');
        if (end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 1);
            return line;
        }
        const std::string more = bytes();
        if (more.empty()) {
            return std::nullopt;
        }
        buffer_ += more;
    }
}

std::string Peer::bytes()
{
    std::array<char, 4096> received;
    const ssize_t size = ::recv(socket_.get(), received.data(), received.size(), 0);
    return std::string(received.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
}

void Peer::send(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            return;  // the client has gone; the test looks at its output
        }
        text.remove_prefix(static_cast<std::size_t>(sent));
    }
}

void Peer::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

void Peer::reset()
{
    const linger at_once{1, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

ScriptedServer::ScriptedServer(Script script)
    : script_(std::move(script)), listener_(new_socket()), port_(bind_loopback(listener_))
{
    check(::listen(listener_.get(), 4096), "listen");
    thread_ = std::thread([this] { serve(); });
}

ScriptedServer::~ScriptedServer()
{
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        // Ends whatever the threads wait for: accept() and recv().
        ::shutdown(listener_.get(), SHUT_RDWR);
        for (Client& client : clients_) {
            ::shutdown(client.peer.socket_.get(), SHUT_RDWR);
        }
    }
    thread_.join();
    for (Client& client : clients_) {
        client.thread.join();
    }
}

void ScriptedServer::serve()
{
    for (;;) {
        Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        const int on = 1;  // pieces of a script shall leave as pieces
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const std::lock_guard lock(mutex_);
        if (stopping_ || socket.get() < 0) {
            return;
        }
        Client& client =
            clients_.emplace_back(Client{Peer(std::move(socket), clients_.size()), {}});
        client.thread = std::thread([this, &client] {
            script_(client.peer);
            const std::lock_guard closing(mutex_);
            client.peer.socket_.reset();
        });
    }
}

void answer(Peer& peer)
{
    while (const auto line = peer.line()) {
        const bool blank = line->find_first_not_of(" \r") == std::string::npos;
        if (!blank) {
            peer.send(std::to_string(fib_fast(static_cast<unsigned>(std::stoul(*line)))) + "\n");
        }
    }
}

DeafPort::DeafPort() : socket_(new_socket()), port_(bind_loopback(socket_)) {}

}  // namespace ground
