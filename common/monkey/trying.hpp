// trying.hpp -- what the hooks that read, write, accept or connect have in common. They try the
// call without waiting. If it would have to wait, other threads run until epoll says that it may
// succeed.
//
// In a program with one thread, and in a signal handler, calls are passed through.
#pragma once

#include "common/monkey/green.hpp"

#include <poll.h>
#include <sys/socket.h>

namespace green {

// Tries until it succeeds or fails, and waits before each new try.
template <typename Try, typename Wait>
long try_and_wait(int fd, Nanoseconds File::*timeout, Wait wait, Try attempt) noexcept
{
    begin_to_wait();
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

// For pipes, terminals and the like: there is no flag to try with, so check first.
inline bool is_ready(int fd, short events) noexcept
{
    pollfd entry{fd, events, 0};
    return green_system_call(SYS_poll, &entry, 1L, 0L) != 0;
}

// These return like system calls.
long receive_into(int fd, void* data, size_t size, int flags, void* from, void* from_size) noexcept;
long send_from(int fd, const void* data, size_t size, int flags, const void* to,
               long to_size) noexcept;
long send_message(int fd, const msghdr* message, int flags) noexcept;

// Whether a function that has done a part of its work must wait until it can do the rest.
bool wants_to_wait(int fd) noexcept;

[[noreturn]] inline void buffer_too_small() noexcept
{
    reinterpret_cast<void (*)()>(real("__chk_fail"))();
    __builtin_unreachable();
}

}  // namespace green
