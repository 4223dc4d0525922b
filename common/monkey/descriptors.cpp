// descriptors.cpp -- the hooks that close or replace a descriptor, or change whether it blocks.
// When it is closed, the threads that wait for it are told so.

#include "common/monkey/green.hpp"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

PATCHED(descriptors, "close close_range closefrom dup2 dup3 fclose fcntl fcntl64 ioctl");

using namespace green;

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

// ---- Whether the program wants to wait at all ---------------------------------------------------

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
