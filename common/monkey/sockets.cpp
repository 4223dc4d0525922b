// sockets.cpp -- the hooks that read, write, accept and connect.
//
// All of them do the same: try it without waiting, and if it would have to wait, let others run
// until epoll says that another try is worth it. Sockets are tried with MSG_DONTWAIT, because
// O_NONBLOCK belongs to everybody who shares the socket, in other processes, too. Only for accept()
// and connect() there is no such flag.
//
// A program without a second thread, and a signal's handler, are passed through.

#include "common/monkey/green.hpp"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

PATCHED(sockets,
        "accept accept4 connect recv recvfrom recvmsg send sendto sendmsg __recv_chk "
        "__recvfrom_chk setsockopt");
PATCHED(
    files,
    "read readv write writev __read_chk close close_range closefrom dup2 dup3 fclose fcntl fcntl64 "
    "ioctl");

using namespace green;

namespace {

bool passes_through() noexcept { return !threaded || in_handler(); }

// What a function does that waits for as long as it takes.
template <typename Try, typename Wait>
long try_and_wait(int fd, Nanoseconds File::*timeout, Wait wait, Try attempt) noexcept
{
    File* const known = file(fd);
    Nanoseconds deadline = 0;  // not known yet
    for (;;) {
        const long result = attempt();
        if (result != -EAGAIN || known == nullptr) {
            take_turns();
            return result;
        }
        learn(fd, *known);
        if (known->nonblocking) {
            take_turns();
            return result;
        }
        if (deadline == 0) {
            const Nanoseconds limit = known->*timeout;
            deadline = limit == never ? never : after(limit);
        }
        if (const int error = wait(fd, *known, deadline)) {
            return -error;
        }
    }
}

template <typename Try>
long receive(int fd, Try attempt) noexcept
{
    return try_and_wait(fd, &File::receive_timeout, wait_readable, attempt);
}

long receive_into(int fd, void* data, size_t size, int flags, void* from, void* from_size) noexcept
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

// A blocking send() sends all of it, or says how much it has sent when that fails.
long send_from(int fd, const void* data, size_t size, int flags, const void* to,
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
        const File* const known = file(fd);
        if (already >= size || known == nullptr || !known->knows_flags || known->nonblocking) {
            // Without a wait so far it is not known whether the program wants to wait.
            if (already >= size || known == nullptr) {
                return static_cast<long>(already);
            }
            learn(fd, *file(fd));
            if (known->nonblocking) {
                return static_cast<long>(already);
            }
        }
    }
}

long send_message(int fd, const msghdr* message, int flags) noexcept
{
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return green_system_call(SYS_sendmsg, fd, message, flags);
    }
    const long sent = try_and_wait(fd, &File::send_timeout, wait_writable, [&] {
        return green_system_call(SYS_sendmsg, fd, message, flags | MSG_DONTWAIT);
    });
    // What is left of it goes piece by piece; only a stream leaves anything.
    long already = 0;
    for (size_t i = 0; sent > 0 && i < message->msg_iovlen; ++i) {
        const iovec& piece = message->msg_iov[i];
        const long before = already;
        already += static_cast<long>(piece.iov_len);
        if (already <= sent) {
            continue;
        }
        const long skip = sent > before ? sent - before : 0;
        File* const known = file(fd);
        if (known == nullptr) {
            return sent;
        }
        learn(fd, *known);
        if (known->nonblocking) {
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

// Pipes, terminals and the like: there is no flag to try with, so look first.
bool is_ready(int fd, short events) noexcept
{
    pollfd entry{fd, events, 0};
    return green_system_call(SYS_poll, &entry, 1L, 0L) != 0;
}

template <typename Call>
long read_when_ready(int fd, Call read) noexcept
{
    return receive(fd, [&] {
        if (is_ready(fd, POLLIN)) {
            return read();
        }
        File& known = *file(fd);
        learn(fd, known);
        return known.nonblocking ? read() : -EAGAIN;
    });
}

// A pipe that is ready takes this much without blocking, and in one piece: pipe(7).
long write_when_ready(int fd, const char* data, size_t size) noexcept
{
    constexpr size_t piece = 4096;
    File& known = *file(fd);
    learn(fd, known);
    if (known.nonblocking) {
        return green_system_call(SYS_write, fd, data, size);
    }
    size_t already = 0;
    do {
        const size_t left = size - already;
        const long result = try_and_wait(fd, &File::send_timeout, wait_writable, [&] {
            return is_ready(fd, POLLOUT) ? green_system_call(SYS_write, fd, data + already,
                                                             left < piece ? left : piece)
                                         : -EAGAIN;
        });
        if (result < 0) {
            return already != 0 ? static_cast<long>(already) : result;
        }
        already += static_cast<size_t>(result);
    } while (already < size);
    return static_cast<long>(already);
}

[[noreturn]] void buffer_too_small() noexcept
{
    reinterpret_cast<void (*)()>(real("__chk_fail"))();
    __builtin_unreachable();
}

void set_nonblocking(int fd, bool on) noexcept
{
    const long flags = green_system_call(SYS_fcntl, fd, F_GETFL);
    green_system_call(SYS_fcntl, fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

// It listens, so nobody but accept() minds that it does not block.
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
    if (known.nonblocking || address->sa_family == AF_UNIX) {  // which is connected at once
        return green_system_call(SYS_connect, fd, address, static_cast<long>(size));
    }
    set_nonblocking(fd, true);
    long result = green_system_call(SYS_connect, fd, address, static_cast<long>(size));
    if (result == -EINPROGRESS) {
        const Nanoseconds limit = known.send_timeout;
        const Nanoseconds deadline = limit == never ? never : after(limit);
        int error = 0;
        while (error == 0 && !is_ready(fd, POLLOUT)) {
            error = wait_writable(fd, known, deadline);
        }
        if (error == 0) {
            socklen_t length = sizeof error;
            green_system_call(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &length);
        } else if (error == EAGAIN) {
            error = EINPROGRESS;  // connect(2) about SO_SNDTIMEO
        }
        result = -error;
    }
    set_nonblocking(fd, false);
    return result;
}

}  // namespace

// ---- Sockets
// -------------------------------------------------------------------------------------------

PATCH int accept4(int fd, sockaddr* from, socklen_t* size, int flags)
{
    begin();
    return static_cast<int>(with_errno(accept_from(fd, from, size, flags)));
}

PATCH int accept(int fd, sockaddr* from, socklen_t* size) { return accept4(fd, from, size, 0); }

PATCH int connect(int fd, const sockaddr* address, socklen_t size)
{
    return static_cast<int>(with_errno(connect_to(fd, address, size)));
}

PATCH ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* from,
                       socklen_t* from_size)
{
    return with_errno(receive_into(fd, data, size, flags, from, from_size));
}

PATCH ssize_t recv(int fd, void* data, size_t size, int flags)
{
    return with_errno(receive_into(fd, data, size, flags, nullptr, nullptr));
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
    if (passes_through() || (flags & MSG_DONTWAIT) != 0) {
        return with_errno(green_system_call(SYS_recvmsg, fd, message, flags));
    }
    return with_errno(receive(
        fd, [&] { return green_system_call(SYS_recvmsg, fd, message, flags | MSG_DONTWAIT); }));
}

PATCH ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to,
                     socklen_t to_size)
{
    return with_errno(send_from(fd, data, size, flags, to, static_cast<long>(to_size)));
}

PATCH ssize_t send(int fd, const void* data, size_t size, int flags)
{
    return with_errno(send_from(fd, data, size, flags, nullptr, 0));
}

PATCH ssize_t sendmsg(int fd, const msghdr* message, int flags)
{
    return with_errno(send_message(fd, message, flags));
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

// ---- Whatever has a descriptor
// ---------------------------------------------------------------------------

PATCH ssize_t read(int fd, void* data, size_t size)
{
    const auto simply = [=] { return green_system_call(SYS_read, fd, data, size); };
    if (passes_through() || size == 0) {
        return with_errno(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket:
            return with_errno(receive_into(fd, data, size, 0, nullptr, nullptr));
        case File::Kind::pollable:
            return with_errno(read_when_ready(fd, simply));
        default:
            return with_errno(simply());
    }
}

PATCH ssize_t __read_chk(int fd, void* data, size_t size, size_t room)
{
    return size > room ? (buffer_too_small(), 0) : read(fd, data, size);
}

PATCH ssize_t readv(int fd, const iovec* pieces, int number)
{
    const auto simply = [=] {
        return green_system_call(SYS_readv, fd, pieces, static_cast<long>(number));
    };
    if (passes_through()) {
        return with_errno(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket: {
            msghdr message{};
            message.msg_iov = const_cast<iovec*>(pieces);
            message.msg_iovlen = static_cast<size_t>(number);
            return recvmsg(fd, &message, 0);
        }
        case File::Kind::pollable:
            return with_errno(read_when_ready(fd, simply));
        default:
            return with_errno(simply());
    }
}

PATCH ssize_t write(int fd, const void* data, size_t size)
{
    if (passes_through() || size == 0) {
        return with_errno(green_system_call(SYS_write, fd, data, size));
    }
    switch (kind_of(fd)) {
        case File::Kind::socket:
            return with_errno(send_from(fd, data, size, 0, nullptr, 0));
        case File::Kind::pollable:
            return with_errno(write_when_ready(fd, static_cast<const char*>(data), size));
        default:
            return with_errno(green_system_call(SYS_write, fd, data, size));
    }
}

PATCH ssize_t writev(int fd, const iovec* pieces, int number)
{
    const auto simply = [=] {
        return green_system_call(SYS_writev, fd, pieces, static_cast<long>(number));
    };
    if (passes_through()) {
        return with_errno(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket: {
            msghdr message{};
            message.msg_iov = const_cast<iovec*>(pieces);
            message.msg_iovlen = static_cast<size_t>(number);
            return with_errno(send_message(fd, &message, 0));
        }
        case File::Kind::pollable: {
            ssize_t all = 0;
            for (int i = 0; i < number; ++i) {
                const long size = static_cast<long>(pieces[i].iov_len);
                const long written =
                    size == 0 ? 0
                              : write_when_ready(fd, static_cast<const char*>(pieces[i].iov_base),
                                                 pieces[i].iov_len);
                if (written < 0 && all == 0) {
                    return with_errno(written);
                }
                all += written > 0 ? written : 0;
                if (written < size) {
                    break;
                }
            }
            return all;
        }
        default:
            return with_errno(simply());
    }
}

// ---- A number that stands for another file from now on
// ----------------------------------------------------

PATCH int close(int fd)
{
    forget_file(fd);
    return static_cast<int>(with_errno(green_system_call(SYS_close, fd)));
}

PATCH int dup2(int from, int to) noexcept
{
    if (from != to) {
        forget_file(to);
    }
    return static_cast<int>(with_errno(green_system_call(SYS_dup2, from, to)));
}

PATCH int dup3(int from, int to, int flags) noexcept
{
    forget_file(to);
    return static_cast<int>(with_errno(green_system_call(SYS_dup3, from, to, flags)));
}

PATCH int fclose(FILE* stream)
{
    forget_file(::fileno(stream));
    return reinterpret_cast<int (*)(FILE*)>(real("fclose"))(stream);
}

PATCH int close_range(unsigned first, unsigned last, int flags) noexcept
{
    constexpr unsigned close_on_exec = 4;  // nothing is closed now
    if ((static_cast<unsigned>(flags) & close_on_exec) == 0) {
        forget_files(first, last);
    }
    return static_cast<int>(
        with_errno(green_system_call(SYS_close_range, static_cast<unsigned long>(first),
                                     static_cast<unsigned long>(last), flags)));
}

PATCH void closefrom(int first) noexcept
{
    close_range(first < 0 ? 0U : static_cast<unsigned>(first), ~0U, 0);
}

// ---- Whether the program wants to wait at all
// ---------------------------------------------------------------

namespace {

void now_nonblocking(int fd, bool on) noexcept
{
    if (File* const known = file(fd)) {
        known->knows_flags = false;
        known->listens = false;
        if (!on) {
            return;
        }
        learn(fd, *known);
    }
}

}  // namespace

PATCH int fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void* const argument = va_arg(list, void*);
    va_end(list);
    using Function = int (*)(int, int, void*);
    static Function function;
    if (function == nullptr) {
        function = reinterpret_cast<Function>(real("fcntl"));
    }
    const int result = function(fd, command, argument);
    if (command == F_SETFL && result == 0) {
        now_nonblocking(fd, (reinterpret_cast<uintptr_t>(argument) & O_NONBLOCK) != 0);
    }
    return result;
}

PATCH int fcntl64(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void* const argument = va_arg(list, void*);
    va_end(list);
    return fcntl(fd, command, argument);
}

PATCH int ioctl(int fd, unsigned long request, ...) noexcept
{
    va_list list;
    va_start(list, request);
    void* const argument = va_arg(list, void*);
    va_end(list);
    const long result = green_system_call(SYS_ioctl, fd, request, argument);
    if (request == FIONBIO && result == 0) {
        now_nonblocking(fd, *static_cast<const int*>(argument) != 0);
    }
    return static_cast<int>(with_errno(result));
}
