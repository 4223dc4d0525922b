// reading.cpp -- the hooks that read and write, for any kind of descriptor.

#include "common/monkey/green.hpp"
#include "common/monkey/trying.hpp"

#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

PATCHED(reading, "read readv write writev __read_chk sendfile sendfile64");

using namespace green;

namespace {

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

// Sends a file to a socket with read and send, because the kernel's sendfile() has no flag to try
// with. False if that can't be done, because the file has no positions.
bool send_file(int to, int from, off_t* offset, size_t size, long& result) noexcept
{
    constexpr size_t piece = 16384;
    char buffer[piece];
    off_t position = offset != nullptr ? *offset : green_system_call(SYS_lseek, from, 0L, SEEK_CUR);
    size_t already = 0;
    result = 0;
    while (already < size) {
        const size_t left = size - already;
        const long got =
            green_system_call(SYS_pread64, from, buffer, left < piece ? left : piece, position);
        if (got < 0 && already == 0) {
            return false;
        }
        if (got <= 0) {
            break;
        }
        result = send_from(to, buffer, static_cast<size_t>(got), 0, nullptr, 0);
        if (result < 0) {
            break;
        }
        position += result;
        already += static_cast<size_t>(result);
        if (result < got) {
            break;
        }
    }
    if (offset != nullptr) {
        *offset = position;
    } else if (already != 0) {
        green_system_call(SYS_lseek, from, position, SEEK_SET);
    }
    result = already != 0 ? static_cast<long>(already) : result;
    return true;
}

}  // namespace

PATCH ssize_t read(int fd, void* data, size_t size)
{
    cancellation_point();
    const auto simply = [=] { return green_system_call(SYS_read, fd, data, size); };
    if (passes_through() || size == 0) {
        return end_of_wait(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket:
            return end_of_wait(receive_into(fd, data, size, 0, nullptr, nullptr));
        case File::Kind::pollable:
            return end_of_wait(read_when_ready(fd, simply));
        default:
            return end_of_wait(simply());
    }
}

PATCH ssize_t __read_chk(int fd, void* data, size_t size, size_t room)
{
    return size > room ? (buffer_too_small(), 0) : read(fd, data, size);
}

PATCH ssize_t readv(int fd, const iovec* pieces, int number)
{
    cancellation_point();
    const auto simply = [=] {
        return green_system_call(SYS_readv, fd, pieces, static_cast<long>(number));
    };
    if (passes_through()) {
        return end_of_wait(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket: {
            msghdr message{};
            message.msg_iov = const_cast<iovec*>(pieces);
            message.msg_iovlen = static_cast<size_t>(number);
            return recvmsg(fd, &message, 0);
        }
        case File::Kind::pollable:
            return end_of_wait(read_when_ready(fd, simply));
        default:
            return end_of_wait(simply());
    }
}

PATCH ssize_t write(int fd, const void* data, size_t size)
{
    cancellation_point();
    if (passes_through() || size == 0) {
        return end_of_wait(green_system_call(SYS_write, fd, data, size));
    }
    switch (kind_of(fd)) {
        case File::Kind::socket:
            return end_of_wait(send_from(fd, data, size, 0, nullptr, 0));
        case File::Kind::pollable:
            return end_of_wait(write_when_ready(fd, static_cast<const char*>(data), size));
        default:
            return end_of_wait(green_system_call(SYS_write, fd, data, size));
    }
}

PATCH ssize_t writev(int fd, const iovec* pieces, int number)
{
    cancellation_point();
    const auto simply = [=] {
        return green_system_call(SYS_writev, fd, pieces, static_cast<long>(number));
    };
    if (passes_through()) {
        return end_of_wait(simply());
    }
    switch (kind_of(fd)) {
        case File::Kind::socket: {
            msghdr message{};
            message.msg_iov = const_cast<iovec*>(pieces);
            message.msg_iovlen = static_cast<size_t>(number);
            return end_of_wait(send_message(fd, &message, 0));
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
                    return end_of_wait(written);
                }
                all += written > 0 ? written : 0;
                if (written < size) {
                    break;
                }
            }
            return all;
        }
        default:
            return end_of_wait(simply());
    }
}

PATCH ssize_t sendfile64(int to, int from, off64_t* offset, size_t size) noexcept
{
    long result = 0;
    if (passes_through() || kind_of(to) != File::Kind::socket || !wants_to_wait(to) ||
        !send_file(to, from, offset, size, result)) {
        result = green_system_call(SYS_sendfile, to, from, offset, size);
    }
    return with_errno(result);
}

PATCH ssize_t sendfile(int to, int from, off_t* offset, size_t size) noexcept
{
    return sendfile64(to, from, offset, size);
}
