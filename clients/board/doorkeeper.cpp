#include "clients/board/doorkeeper.hpp"

#include "common/base/descriptor.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <filesystem>
#include <linux/tcp.h>
#include <optional>
#include <string>
#include <system_error>

namespace ground::board {

namespace {

namespace fs = std::filesystem;

// The port of a socket's own end, or of the other end. 0 if it is no connection over IPv4.
std::uint16_t port_of(int fd, int (*end)(int, sockaddr*, socklen_t*))
{
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (end(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        address.ss_family != AF_INET) {
        return 0;
    }
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

int own_end(int fd, sockaddr* address, socklen_t* size) { return ::getsockname(fd, address, size); }

int other_end(int fd, sockaddr* address, socklen_t* size)
{
    return ::getpeername(fd, address, size);
}

std::uint64_t bytes_received(int fd)
{
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_received
                                                                      : 0;
}

// The connection's reader then sees the end, its writer an error. When the server closes, the
// client gets a reset, because a client that sends while no room is left might not notice an end.
void put_out(int fd)
{
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    ::shutdown(fd, SHUT_RDWR);
}

}  // namespace

Doorkeeper::Doorkeeper(std::uint16_t port, DoorLimits limits)
    : port_(port), limits_(limits), thread_([this](const std::stop_token& stop) { watch(stop); })
{
}

Doorkeeper::~Doorkeeper() = default;

void Doorkeeper::has_asked(int port)
{
    const std::lock_guard lock(mutex_);
    asked_.insert(static_cast<std::uint16_t>(port));
}

void Doorkeeper::close()
{
    const std::lock_guard lock(mutex_);
    closes_ = Clock::now() + limits_.to_leave;
}

void Doorkeeper::watch(const std::stop_token& stop)
{
    while (!stop.stop_requested()) {
        look();
        std::this_thread::sleep_for(limits_.between_looks);
    }
}

// Locked from beginning to end. A connection that is still open must not be forgotten because this
// look has missed it.
void Doorkeeper::look()
{
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    std::map<std::uint16_t, Clock::time_point> there;
    std::error_code failed;
    fs::directory_iterator entry("/proc/self/fd", failed);
    for (; !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
        const std::string name = entry->path().filename();
        int number = -1;
        std::from_chars(name.data(), name.data() + name.size(), number);
        if (port_of(number, own_end) != port_) {
            continue;
        }
        // A duplicate of our own, because the server may close its descriptor at any time, and the
        // number may then be another file's.
        const Descriptor connection(::fcntl(number, F_DUPFD_CLOEXEC, 0));
        const std::uint16_t client =
            port_of(connection.get(), own_end) == port_ ? port_of(connection.get(), other_end) : 0;
        if (client == 0) {
            continue;  // gone, or the socket that listens
        }
        const auto seen = since_.find(client);
        const Clock::time_point since = seen == since_.end() ? now : seen->second;
        there.emplace(client, since);
        const bool too_slow = !asked_.contains(client) && now - since > limits_.to_ask;
        if (too_slow || now > closes_ || bytes_received(connection.get()) > limits_.bytes) {
            put_out(connection.get());
        }
    }
    since_ = std::move(there);
    std::erase_if(asked_, [this](std::uint16_t client) { return !since_.contains(client); });
}

}  // namespace ground::board
