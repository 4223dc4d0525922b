// bare_epoll.cpp -- the least that a server with one thread and an epoll loop can do.
//
// scripts/measure/bench compares the stages with this limit: the same numbers in and out, the same
// socket options, nothing shared with the project, only system calls. It cuts corners that no
// server should: it closes the connection of a client that breaks the protocol, or does not read
// its replies.
//
//     bare_epoll [PORT]        PORT 0 (the default) is a free one

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct Connection {
    int fd = -1;
    std::size_t used = 0;
    std::array<char, 256> bytes;
};

[[gnu::noinline]] std::uint64_t fib(unsigned n) { return n <= 2 ? 1 : fib(n - 1) + fib(n - 2); }

int checked(int result, const char* call)
{
    if (result == -1) {
        std::perror(call);
        std::exit(EXIT_FAILURE);
    }
    return result;
}

int listen_on(std::uint16_t port)
{
    const int fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    const int on = 1;
    checked(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    checked(::bind(fd, generic, size), "bind");
    checked(::listen(fd, SOMAXCONN), "listen");
    checked(::getsockname(fd, generic, &size), "getsockname");
    std::printf("bare_epoll listening on 127.0.0.1:%d\n", int{ntohs(address.sin_port)});
    std::fflush(stdout);
    return fd;
}

// Reads once and answers every complete line, each with a send() of its own. False: close the
// connection.
bool serve(Connection& client)
{
    const ssize_t size =
        ::recv(client.fd, client.bytes.data() + client.used, client.bytes.size() - client.used, 0);
    if (size <= 0) {
        return size == -1 && errno == EAGAIN;
    }
    client.used += static_cast<std::size_t>(size);
    const char* begin = client.bytes.data();
    const char* const end = begin + client.used;
    while (begin != end) {
        const auto* const line_end = static_cast<const char*>(
            std::memchr(begin, '\n', static_cast<std::size_t>(end - begin)));
        if (line_end == nullptr) {
            break;
        }
        unsigned n = 0;
        const auto [stop, error] = std::from_chars(begin, line_end, n);
        if (error != std::errc{} || stop != line_end || n > 50) {
            return false;
        }
        std::array<char, 24> reply;
        char* tail = std::to_chars(reply.begin(), reply.end(), fib(n)).ptr;
        *tail++ = '\n';
        const ssize_t length = tail - reply.data();
        if (::send(client.fd, reply.data(), static_cast<std::size_t>(length), MSG_NOSIGNAL) !=
            length) {
            return false;
        }
        begin = line_end + 1;
    }
    client.used = static_cast<std::size_t>(end - begin);
    std::memmove(client.bytes.data(), begin, client.used);
    return client.used < client.bytes.size();
}

}  // namespace

int main(int argc, char** argv)
{
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);

    const int acceptor = listen_on(static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 0));
    const int epoll = checked(::epoll_create1(0), "epoll_create1");
    epoll_event event{EPOLLIN, {nullptr}};
    checked(::epoll_ctl(epoll, EPOLL_CTL_ADD, acceptor, &event), "epoll_ctl");
    std::array<epoll_event, 256> events;
    for (;;) {
        const int ready = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
        for (int i = 0; i < ready; ++i) {
            auto* client = static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (client == nullptr) {
                const int fd = ::accept4(acceptor, nullptr, nullptr, SOCK_NONBLOCK);
                if (fd == -1) {
                    continue;
                }
                const int on = 1;
                ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                client = new Connection;
                client->fd = fd;
                event.data.ptr = client;
                checked(::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
            } else if (!serve(*client)) {
                ::close(client->fd);
                delete client;
            }
        }
    }
}
