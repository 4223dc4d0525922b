// files.cpp -- waiting for descriptors, all with one epoll descriptor.
//
// A descriptor is added when a thread first waits for it, edge-triggered and for all events. We
// never remove it, because the kernel does so when it is closed. A thread has tried before it
// waits, and tries again when it is woken. So an event that comes too late does no harm.

#include "common/monkey/green.hpp"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

namespace green {

namespace {

// The table of descriptors: rows that are mapped when one of their descriptors is waited for.
constexpr size_t row_length = 1024;
constexpr size_t rows = 1024;
File* table[rows];

int epoll_fd = -1;
uint32_t epoll_number;  // a child of fork() has a new one, which watches nothing yet

Nanoseconds timeout_of(int fd, int option) noexcept
{
    timeval time{};
    socklen_t size = sizeof time;
    if (green_system_call(SYS_getsockopt, fd, SOL_SOCKET, option, &time, &size) != 0 ||
        (time.tv_sec == 0 && time.tv_usec == 0)) {
        return never;
    }
    return time.tv_sec * second + time.tv_usec * 1000;
}

// How long to wait in the kernel. It is a variable because a signal may come after we have looked
// for signals and before we wait. Then the signal's handler makes this zero.
volatile timespec patience;

int wait_for(int fd, File& file, List& list, Nanoseconds deadline) noexcept
{
    if (!watch(fd, file)) {
        return ENOTSUP;
    }
    const uint32_t use = file.use;
    // Waits with a time limit end at any signal: signal(7).
    switch (wait_in(list, deadline,
                    deadline == never ? Interruptible::unless_restarted : Interruptible::always)) {
        case Woken::by_the_clock:
            return EAGAIN;
        case Woken::by_a_signal:
            return EINTR;
        case Woken::by_a_thread:
            break;
    }
    return file.use == use ? 0 : EBADF;  // kernel threads would continue to wait for the old file
}

}  // namespace

File* file(int fd) noexcept
{
    const auto number = static_cast<size_t>(fd);
    if (fd < 0 || number >= rows * row_length) {
        return nullptr;
    }
    File*& row = table[number / row_length];
    if (row == nullptr) {
        const long memory =
            green_system_call(SYS_mmap, nullptr, row_length * sizeof(File), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
        if (memory < 0 && memory > -4096) {
            return nullptr;
        }
        row = reinterpret_cast<File*>(memory);
    }
    return &row[number % row_length];
}

void forget_file(int fd) noexcept
{
    const auto number = static_cast<size_t>(fd);
    if (fd < 0 || number >= rows * row_length || table[number / row_length] == nullptr) {
        return;
    }
    File& known = table[number / row_length][number % row_length];
    if (known.kind == File::Kind::unknown) {
        return;
    }
    // Threads that still wait for it are told that it is closed.
    wake_all(known.readers);
    wake_all(known.writers);
    const uint32_t use = known.use + 1;
    known = File();
    known.use = use;
}

void forget_files(unsigned first, unsigned last) noexcept
{
    for (size_t row = first / row_length; row < rows && row <= last / row_length; ++row) {
        for (size_t i = 0; table[row] != nullptr && i < row_length; ++i) {
            if (const size_t fd = row * row_length + i; fd >= first && fd <= last) {
                forget_file(static_cast<int>(fd));
            }
        }
    }
}

File::Kind kind_of(int fd) noexcept
{
    File* const known = file(fd);
    if (known == nullptr) {
        return File::Kind::plain;
    }
    if (known->kind == File::Kind::unknown) {
        struct stat status;
        if (green_system_call(SYS_fstat, fd, &status) != 0) {
            return File::Kind::unknown;
        }
        switch (status.st_mode & S_IFMT) {
            case S_IFSOCK:
                known->kind = File::Kind::socket;
                break;
            case S_IFREG:
            case S_IFDIR:
            case S_IFBLK:
                known->kind = File::Kind::plain;
                break;
            default:  // pipes, terminals, eventfd and others without a name
                known->kind = watch(fd, *known) ? File::Kind::pollable : File::Kind::plain;
        }
    }
    return known->kind;
}

void learn(int fd, File& file) noexcept
{
    if (file.knows_flags) {
        return;
    }
    file.nonblocking = (green_system_call(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK) != 0;
    file.receive_timeout = file.send_timeout = never;
    if (kind_of(fd) == File::Kind::socket) {
        file.receive_timeout = timeout_of(fd, SO_RCVTIMEO);
        file.send_timeout = timeout_of(fd, SO_SNDTIMEO);
    }
    file.knows_flags = true;
}

bool have_epoll() noexcept
{
    if (epoll_fd < 0) {
        epoll_fd = static_cast<int>(green_system_call(SYS_epoll_create1, EPOLL_CLOEXEC));
        ++epoll_number;
    }
    return epoll_fd >= 0;
}

// For the child of a fork(). It does not have the threads that waited for descriptors, and the
// parent's epoll would also report events for the child.
void drop_epoll() noexcept
{
    if (epoll_fd >= 0) {
        green_system_call(SYS_close, epoll_fd);
        epoll_fd = -1;
        ++epoll_number;
    }
    for (File* row : table) {
        for (size_t i = 0; row != nullptr && i < row_length; ++i) {
            row[i].readers = row[i].writers = List();
        }
    }
}

bool watch(int fd, File& file) noexcept
{
    if (!have_epoll()) {
        return false;
    }
    if (file.watched == epoll_number) {
        return true;
    }
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    event.data.fd = fd;
    long result = green_system_call(SYS_epoll_ctl, epoll_fd, EPOLL_CTL_ADD, fd, &event);
    if (result == -EEXIST) {
        result = green_system_call(SYS_epoll_ctl, epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
    if (result == 0) {
        file.watched = epoll_number;
    }
    return result == 0;
}

int wait_readable(int fd, File& file, Nanoseconds deadline) noexcept
{
    return wait_for(fd, file, file.readers, deadline);
}

int wait_writable(int fd, File& file, Nanoseconds deadline) noexcept
{
    return wait_for(fd, file, file.writers, deadline);
}

void hurry() noexcept
{
    patience.tv_sec = 0;
    patience.tv_nsec = 0;
}

void ask_kernel(Nanoseconds deadline) noexcept
{
    have_epoll();
    constexpr Nanoseconds year = 365L * 24 * 3600 * second;
    Nanoseconds wait = deadline == 0 ? 0 : deadline == never ? year : deadline - now();
    wait = wait < 0 ? 0 : wait;
    patience.tv_sec = wait / second;
    patience.tv_nsec = wait % second;
    if (signals_came) {
        hurry();
    }
    constexpr int room = 256;
    static epoll_event events[room];
    long number =
        green_system_call(SYS_epoll_pwait2, epoll_fd, events, room, &patience, nullptr, 8L);
    if (number == -ENOSYS) {  // before Linux 5.11; a signal at the wrong moment is late there
        const long milliseconds =
            (patience.tv_sec * second + patience.tv_nsec + 999'999) / 1'000'000;
        constexpr long longest = 1 << 30;
        number = green_system_call(SYS_epoll_pwait, epoll_fd, events, room,
                                   milliseconds < longest ? milliseconds : longest, nullptr, 8L);
    }
    for (long i = 0; i < number; ++i) {
        File* const known = file(events[i].data.fd);
        constexpr uint32_t gone = EPOLLHUP | EPOLLERR;
        if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLPRI | gone)) {
            wake_all(known->readers);
        }
        if (events[i].events & (EPOLLOUT | gone)) {
            wake_all(known->writers);
        }
    }
}

}  // namespace green
