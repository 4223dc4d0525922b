// sockets.cpp -- the hooks that receive, send, accept and connect.
//
// Sockets are tried with MSG_DONTWAIT, because O_NONBLOCK would hold for all processes that share
// the socket. Only accept() and connect() have no such flag.

#include "common/monkey/green.hpp"
#include "common/monkey/trying.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

PATCHED(sockets,
        "accept accept4 connect recv recvfrom recvmsg send sendto sendmsg __recv_chk "
        "__recvfrom_chk setsockopt");

using namespace green;

long green::receive_into(int fd, void* data, size_t size, int flags, void* from,
                         void* from_size) noexcept
{
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return green_system_call(SYS_recvfrom, fd, data, size, flags, from, from_size);
    }
    size_t already = 0;
    for (;;) {
        const long result = receive(fd, [&] {
            return green_system_call(SYS_recvfrom, fd, static_cast<char*>(data) + already,
                                     size - already, flags | MSG_DONTWAIT, from, from_size);
        });
        if (result <= 0) {
            return already != 0 ? static_cast<long>(already) : result;
        }
        already += static_cast<size_t>(result);
        if ((flags & MSG_WAITALL) == 0 || (flags & (MSG_PEEK | MSG_TRUNC)) != 0 ||
            already >= size) {
            return static_cast<long>(already);
        }
    }
}

bool green::wants_to_wait(int fd) noexcept
{
    File* const known = file(fd);
    if (known != nullptr) {
        learn(fd, *known);
    }
    return known != nullptr && !known->nonblocking;
}

// A blocking send() sends all of it. If that fails, it returns how much it has sent.
long green::send_from(int fd, const void* data, size_t size, int flags, const void* to,
                      long to_size) noexcept
{
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return green_system_call(SYS_sendto, fd, data, size, flags, to, to_size);
    }
    size_t already = 0;
    for (;;) {
        const long result = try_and_wait(fd, &File::send_timeout, wait_writable, [&] {
            return green_system_call(SYS_sendto, fd, static_cast<const char*>(data) + already,
                                     size - already, flags | MSG_DONTWAIT, to, to_size);
        });
        if (result < 0) {
            return already != 0 ? static_cast<long>(already) : result;
        }
        already += static_cast<size_t>(result);
        if (already >= size || !wants_to_wait(fd)) {
            return static_cast<long>(already);
        }
    }
}

long green::send_message(int fd, const msghdr* message, int flags) noexcept
{
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return green_system_call(SYS_sendmsg, fd, message, flags);
    }
    const long sent = try_and_wait(fd, &File::send_timeout, wait_writable, [&] {
        return green_system_call(SYS_sendmsg, fd, message, flags | MSG_DONTWAIT);
    });
    // Sends the rest piece by piece. Only a stream leaves a rest.
    long already = 0;
    for (size_t i = 0; sent > 0 && i < message->msg_iovlen; ++i) {
        const iovec& piece = message->msg_iov[i];
        const long before = already;
        already += static_cast<long>(piece.iov_len);
        if (already <= sent) {
            continue;
        }
        const long skip = sent > before ? sent - before : 0;
        if (!wants_to_wait(fd)) {
            return sent;
        }
        const size_t size = piece.iov_len - static_cast<size_t>(skip);
        const long more =
            send_from(fd, static_cast<const char*>(piece.iov_base) + skip, size, flags, nullptr, 0);
        if (more < static_cast<long>(size)) {
            return before + skip + (more > 0 ? more : 0);
        }
    }
    return sent > already || sent <= 0 ? sent : already;
}

namespace {

void set_nonblocking(int fd, bool on) noexcept
{
    const long flags = green_system_call(SYS_fcntl, fd, F_GETFL);
    green_system_call(SYS_fcntl, fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

// The socket listens, so only accept() notices that it does not block.
long accept_from(int fd, void* from, void* size, int flags) noexcept
{
    File* const known = file(fd);
    const bool listens = known != nullptr && known->listens;
    if (known == nullptr || in_handler() || (!threaded && !listens)) {
        return green_system_call(SYS_accept4, fd, from, size, flags);
    }
    if (!listens && kind_of(fd) == File::Kind::socket) {
        learn(fd, *known);
        if (!known->nonblocking) {
            set_nonblocking(fd, true);
            known->listens = true;
        }
    }
    const long result = try_and_wait(fd, &File::receive_timeout, wait_readable, [&] {
        return green_system_call(SYS_accept4, fd, from, size, flags);
    });
    if (result >= 0) {
        forget_file(static_cast<int>(result));
    }
    return result;
}

long connect_to(int fd, const sockaddr* address, socklen_t size) noexcept
{
    if (passes_through() || kind_of(fd) != File::Kind::socket) {
        return green_system_call(SYS_connect, fd, address, static_cast<long>(size));
    }
    File& known = *file(fd);
    learn(fd, known);
    const auto attempt = [=] {
        return green_system_call(SYS_connect, fd, address, static_cast<long>(size));
    };
    if (known.nonblocking) {
        return attempt();
    }
    begin_to_wait();
    const Nanoseconds limit = known.send_timeout;
    const Nanoseconds deadline = limit == never ? never : after(limit);
    const uint32_t use = known.use;
    set_nonblocking(fd, true);
    long result = attempt();
    // AF_UNIX: the backlog is full, and the kernel reports no event when there is room again.
    for (Patience patience; result == -EAGAIN && address->sa_family == AF_UNIX;) {
        const Woken how = patience.rest(
            deadline, limit == never ? Interruptible::unless_restarted : Interruptible::always);
        if (known.use != use) {
            return -EBADF;
        }
        if (how != Woken::by_a_thread) {
            result = how == Woken::by_the_clock ? -EAGAIN : -EINTR;
            break;
        }
        result = attempt();
    }
    if (result == -EINPROGRESS) {
        int error = 0;
        while (error == 0 && !is_ready(fd, POLLOUT)) {
            error = wait_writable(fd, known, deadline);
        }
        if (error == 0) {
            socklen_t length = sizeof error;
            green_system_call(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &length);
        } else if (error == EAGAIN) {
            error = EINPROGRESS;  // as connect(2) says for SO_SNDTIMEO
        } else if (known.use != use) {
            return -EBADF;
        }
        result = -error;
    }
    set_nonblocking(fd, false);
    return result;
}

}  // namespace

// ---- Sockets ------------------------------------------------------------------------------------

PATCH int accept4(int fd, sockaddr* from, socklen_t* size, int flags)
{
    begin();
    cancellation_point();
    return static_cast<int>(end_of_wait(accept_from(fd, from, size, flags)));
}

PATCH int accept(int fd, sockaddr* from, socklen_t* size) { return accept4(fd, from, size, 0); }

PATCH int connect(int fd, const sockaddr* address, socklen_t size)
{
    cancellation_point();
    return static_cast<int>(end_of_wait(connect_to(fd, address, size)));
}

PATCH ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from,
                       socklen_t* from_size)
{
    cancellation_point();
    return end_of_wait(receive_into(fd, data, size, flags, from, from_size));
}

PATCH ssize_t recv(int fd, void* data, size_t size, int flags)
{
    cancellation_point();
    return end_of_wait(receive_into(fd, data, size, flags, nullptr, nullptr));
}

PATCH ssize_t __recv_chk(int fd, void* data, size_t size, size_t room, int flags)
{
    return size > room ? (buffer_too_small(), 0) : recv(fd, data, size, flags);
}

PATCH ssize_t __recvfrom_chk(int fd, void* data, size_t size, size_t room, int flags,
                             sockaddr* from, socklen_t* from_size)
{
    return size > room ? (buffer_too_small(), 0) : recvfrom(fd, data, size, flags, from, from_size);
}

PATCH ssize_t recvmsg(int fd, msghdr* message, int flags)
{
    cancellation_point();
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return end_of_wait(green_system_call(SYS_recvmsg, fd, message, flags));
    }
    return end_of_wait(receive(
        fd, [&] { return green_system_call(SYS_recvmsg, fd, message, flags | MSG_DONTWAIT); }));
}

PATCH ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
                     socklen_t to_size)
{
    cancellation_point();
    return end_of_wait(send_from(fd, data, size, flags, to, static_cast<long>(to_size)));
}

PATCH ssize_t send(int fd, const void* data, size_t size, int flags)
{
    cancellation_point();
    return end_of_wait(send_from(fd, data, size, flags, nullptr, 0));
}

PATCH ssize_t sendmsg(int fd, const msghdr* message, int flags)
{
    cancellation_point();
    return end_of_wait(send_message(fd, message, flags));
}

PATCH int setsockopt(int fd, int level, int option, const void* value, socklen_t size) noexcept
{
    if (level == SOL_SOCKET && (option == SO_RCVTIMEO || option == SO_SNDTIMEO)) {
        if (File* const known = file(fd); known != nullptr && !known->listens) {
            known->knows_flags = false;
        }
    }
    return static_cast<int>(with_errno(
        green_system_call(SYS_setsockopt, fd, level, option, value, static_cast<long>(size))));
}
