#include "common/server/linger.hpp"

#include "common/server/signals.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

namespace ground {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds longest{2000};
constexpr ssize_t most = 16 << 20;
constexpr int most_threads = 32;

std::atomic<int> threads{0};
bool alone = false;  // see linger_without_threads()

// A forked child has none of its parent's threads.
[[maybe_unused]] const int at_fork = ::pthread_atfork(nullptr, nullptr, [] { threads = 0; });

// Whether closing the socket now would cause a reset, or could cause one later.
bool client_may_talk(int socket) noexcept
{
    tcp_info info{};
    socklen_t size = sizeof info;
    int unread = 0;
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) == -1) {
        return false;
    }
    return info.tcpi_state == TCP_ESTABLISHED ||
           (info.tcpi_state == TCP_CLOSE_WAIT && ::ioctl(socket, FIONREAD, &unread) == 0 &&
            unread > 0);
}

// Reads until the client closes, has taken too long or has sent too much.
void read_away(int socket, milliseconds time) noexcept
{
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + time;
    std::array<char, 32768> buffer;
    for (ssize_t size = 0; size < most;) {
        const auto left = std::chrono::ceil<milliseconds>(end - Clock::now()).count();
        pollfd readable{socket, POLLIN, 0};
        if (::poll(&readable, 1, left > 0 ? static_cast<int>(left) : 0) <= 0) {
            return;
        }
        const ssize_t received = ::recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (received <= 0) {
            return;
        }
        size += received;
    }
}

}  // namespace

void close_lingering(Descriptor socket) noexcept
{
    if (!client_may_talk(socket.get())) {
        return;
    }
    ::shutdown(socket.get(), SHUT_WR);
    if (alone) {
        read_away(socket.get(), longest);
        return;
    }
    if (++threads <= most_threads) {
        try {
            const SignalsBlocked blocked;
            std::thread([fd = socket.get()] {
                {
                    const Descriptor owned(fd);
                    read_away(fd, longest);
                }
                --threads;
            }).detach();
            static_cast<void>(socket.release());
            return;
        } catch (const std::exception&) {
            // No more threads.
        }
    }
    --threads;
    read_away(socket.get(), milliseconds(0));
}

void linger_without_threads() noexcept { alone = true; }

}  // namespace ground
