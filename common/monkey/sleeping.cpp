// sleeping.cpp -- the hooks that wait for several descriptors, or for time to pass.

#include "common/monkey/green.hpp"
#include "common/monkey/trying.hpp"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

PATCHED(several, "poll ppoll __poll_chk __ppoll_chk select pselect epoll_wait epoll_pwait");
PATCHED(sleep, "nanosleep clock_nanosleep usleep sleep");

using namespace green;

namespace {

// The places of a thread that waits for many descriptors: on the stack, or elsewhere if there are
// too many.
class Places {
  public:
    explicit Places(size_t number) noexcept : size_(number * sizeof(Waiter))
    {
        if (number > few) {
            const long memory = green_system_call(SYS_mmap, nullptr, size_, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
            places_ = memory < 0 && memory > -4096 ? nullptr : reinterpret_cast<Waiter*>(memory);
        }
    }
    ~Places()
    {
        for (size_t i = 0; i < used_; ++i) {
            places_[i].leave();
        }
        if (size_ > sizeof here_ && places_ != nullptr) {
            green_system_call(SYS_munmap, places_, size_);
        }
    }
    Places(const Places&) = delete;
    Places& operator=(const Places&) = delete;

    [[nodiscard]] bool good() const noexcept { return places_ != nullptr; }
    void enter(List& list, const pollfd* entry, uint32_t use) noexcept
    {
        Waiter& place = places_[used_++];
        place.thread = current;
        place.address = entry;
        place.use = use;
        place.enter(list);
    }
    // Marks the entries whose descriptors have been closed meanwhile, and returns their number.
    [[nodiscard]] long closed(pollfd* entries) const noexcept
    {
        long number = 0;
        for (size_t i = 0; i < used_; ++i) {
            pollfd& entry = entries[static_cast<const pollfd*>(places_[i].address) - entries];
            if (file(entry.fd)->use != places_[i].use && entry.revents == 0) {
                entry.revents = POLLNVAL;
                ++number;
            }
        }
        return number;
    }
    void leave() noexcept
    {
        while (used_ != 0) {
            places_[--used_].leave();
        }
    }

  private:
    static constexpr size_t few = 8;
    size_t size_;
    size_t used_ = 0;
    Waiter here_[few];
    Waiter* places_ = here_;
};

long wait_for_some(pollfd* entries, nfds_t number, Nanoseconds deadline) noexcept
{
    const auto look = [&] { return green_system_call(SYS_poll, entries, number, 0L); };
    long ready = look();
    if (ready != 0 || deadline == 0) {
        take_turns();
        return ready;
    }
    Places places(2 * number);
    if (!places.good()) {
        return -ENOMEM;
    }
    for (;;) {
        for (nfds_t i = 0; i < number; ++i) {
            File* const known = entries[i].fd < 0 ? nullptr : file(entries[i].fd);
            if (known == nullptr || kind_of(entries[i].fd) == File::Kind::plain ||
                !watch(entries[i].fd, *known)) {
                continue;
            }
            places.enter(known->readers, &entries[i],
                         known->use);  // readers are told of errors and ends
            if ((entries[i].events & (POLLOUT | POLLWRNORM | POLLWRBAND)) != 0) {
                places.enter(known->writers, &entries[i], known->use);
            }
        }
        const Woken how = park(deadline, Interruptible::always);
        ready = places.closed(entries);
        places.leave();
        if (ready != 0) {
            return ready;
        }
        ready = look();
        if (ready != 0 || how == Woken::by_the_clock) {
            return ready;
        }
        if (how == Woken::by_a_signal) {
            return -EINTR;
        }
    }
}

Nanoseconds deadline_of(const timespec* time) noexcept
{
    if (time == nullptr) {
        return never;
    }
    const Nanoseconds duration =
        time->tv_sec > never / second / 2 ? never : time->tv_sec * second + time->tv_nsec;
    return duration == 0 ? 0 : after(duration);
}

bool valid(const timespec* time) noexcept
{
    return time == nullptr || (time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < second);
}

// Another signal mask while it waits.
class Mask {
  public:
    explicit Mask(const sigset_t* mask) noexcept : changed_(mask != nullptr)
    {
        if (changed_) {
            before_ = current->blocked;
            Signals wanted = 0;
            memcpy(&wanted, mask, sizeof wanted);
            set_mask(wanted);
        }
    }
    ~Mask()
    {
        if (changed_) {
            set_mask(before_);
        }
    }
    Mask(const Mask&) = delete;
    Mask& operator=(const Mask&) = delete;

  private:
    bool changed_;
    Signals before_ = 0;
};

long wait_for_some(pollfd* entries, nfds_t number, Nanoseconds deadline,
                   const sigset_t* mask) noexcept
{
    begin_to_wait();
    const Mask changed(mask);
    return wait_for_some(entries, number, deadline);
}

// select() is poll() with the descriptors as bits.
long wait_for_sets(int number, fd_set* reading, fd_set* writing, fd_set* failing,
                   Nanoseconds deadline, const sigset_t* mask) noexcept
{
    if (number < 0 || number > FD_SETSIZE) {
        return -EINVAL;
    }
    pollfd entries[FD_SETSIZE];
    nfds_t used = 0;
    const auto wanted = [](const fd_set* set, int fd) {
        return set != nullptr && FD_ISSET(fd, set);
    };
    for (int fd = 0; fd < number; ++fd) {
        const int events = (wanted(reading, fd) ? POLLIN : 0) |
                           (wanted(writing, fd) ? POLLOUT : 0) |
                           (wanted(failing, fd) ? POLLPRI : 0);
        if (events != 0) {
            entries[used++] = {fd, static_cast<short>(events), 0};
        }
    }
    const long ready = wait_for_some(entries, used, deadline, mask);
    if (ready < 0) {
        return ready;
    }
    for (nfds_t i = 0; i < used; ++i) {
        if ((entries[i].revents & POLLNVAL) != 0) {
            return -EBADF;
        }
    }
    long bits = 0;
    const auto keep = [&bits](fd_set* set, const pollfd& entry, int events) {
        if (set == nullptr || !FD_ISSET(entry.fd, set)) {
            return;
        }
        if ((entry.revents & events) != 0) {
            ++bits;
        } else {
            FD_CLR(entry.fd, set);
        }
    };
    for (nfds_t i = 0; i < used; ++i) {
        keep(reading, entries[i], POLLIN | POLLHUP | POLLERR);
        keep(writing, entries[i], POLLOUT | POLLERR);
        keep(failing, entries[i], POLLPRI);
    }
    return bits;
}

// A sleep ends at any signal. Returns 0 or EINTR.
int sleep_until(Nanoseconds deadline, timespec* left) noexcept
{
    if (park(deadline, Interruptible::always) != Woken::by_a_signal) {
        return 0;
    }
    if (left != nullptr) {
        const Nanoseconds rest = deadline - now();
        *left = {rest > 0 ? rest / second : 0, rest > 0 ? rest % second : 0};
    }
    return EINTR;
}

}  // namespace

PATCH int poll(pollfd* entries, nfds_t number, int milliseconds)
{
    if (passes_through()) {
        return static_cast<int>(with_errno(
            green_system_call(SYS_poll, entries, number, static_cast<long>(milliseconds))));
    }
    const Nanoseconds deadline = milliseconds < 0    ? never
                                 : milliseconds == 0 ? 0
                                                     : after(milliseconds * (second / 1000));
    cancellation_point();
    return static_cast<int>(end_of_wait(wait_for_some(entries, number, deadline, nullptr)));
}

PATCH int ppoll(pollfd* entries, nfds_t number, const timespec* time, const sigset_t* mask)
{
    if (passes_through()) {
        timespec copy = time == nullptr ? timespec{} : *time;  // the kernel would change it
        return static_cast<int>(with_errno(green_system_call(
            SYS_ppoll, entries, number, time == nullptr ? nullptr : &copy, mask, 8L)));
    }
    cancellation_point();
    return static_cast<int>(end_of_wait(
        valid(time) ? wait_for_some(entries, number, deadline_of(time), mask) : -EINVAL));
}

PATCH int __poll_chk(pollfd* entries, nfds_t number, int milliseconds, size_t room)
{
    if (room / sizeof(pollfd) < number) {
        buffer_too_small();
    }
    return poll(entries, number, milliseconds);
}

PATCH int __ppoll_chk(pollfd* entries, nfds_t number, const timespec* time, const sigset_t* mask,
                      size_t room)
{
    if (room / sizeof(pollfd) < number) {
        buffer_too_small();
    }
    return ppoll(entries, number, time, mask);
}

PATCH int select(int number, fd_set* reading, fd_set* writing, fd_set* failing, timeval* time)
{
    if (passes_through()) {
        return static_cast<int>(with_errno(green_system_call(SYS_select, static_cast<long>(number),
                                                             reading, writing, failing, time)));
    }
    const timespec limit =
        time == nullptr ? timespec{} : timespec{time->tv_sec, time->tv_usec * 1000};
    const Nanoseconds deadline = deadline_of(time == nullptr ? nullptr : &limit);
    cancellation_point();
    const long result = wait_for_sets(number, reading, writing, failing, deadline, nullptr);
    if (time != nullptr && deadline != never) {  // Linux returns what is left of it
        const Nanoseconds rest = deadline == 0 ? 0 : deadline - now();
        *time = {rest > 0 ? rest / second : 0, rest > 0 ? rest % second / 1000 : 0};
    }
    return static_cast<int>(end_of_wait(result));
}

PATCH int pselect(int number, fd_set* reading, fd_set* writing, fd_set* failing,
                  const timespec* time, const sigset_t* mask)
{
    if (passes_through()) {
        timespec copy = time == nullptr ? timespec{} : *time;
        const struct {
            const sigset_t* mask;
            long size;
        } both{mask, 8};
        return static_cast<int>(
            with_errno(green_system_call(SYS_pselect6, static_cast<long>(number), reading, writing,
                                         failing, time == nullptr ? nullptr : &copy, &both)));
    }
    cancellation_point();
    return static_cast<int>(end_of_wait(
        valid(time) ? wait_for_sets(number, reading, writing, failing, deadline_of(time), mask)
                    : -EINVAL));
}

namespace {

// The program's own epoll descriptor can be waited for like any other descriptor.
template <typename Ask>
long wait_for_epoll(int fd, int milliseconds, const sigset_t* mask, Ask ask) noexcept
{
    begin_to_wait();
    const Mask changed(mask);
    const Nanoseconds deadline = milliseconds < 0 ? never : after(milliseconds * (second / 1000));
    for (;;) {
        const long ready = ask(0, nullptr);
        if (ready != 0 || milliseconds == 0) {
            take_turns();
            return ready;
        }
        pollfd entry{fd, POLLIN, 0};
        const long result = wait_for_some(&entry, 1, deadline);
        if (result <= 0) {
            return result;
        }
    }
}

}  // namespace

PATCH int epoll_pwait(int fd, epoll_event* events, int room, int milliseconds, const sigset_t* mask)
{
    const auto ask = [=](int patience, const sigset_t* with) {
        return green_system_call(SYS_epoll_pwait, fd, events, static_cast<long>(room),
                                 static_cast<long>(patience), with, 8L);
    };
    if (passes_through()) {
        return static_cast<int>(with_errno(ask(milliseconds, mask)));
    }
    cancellation_point();
    return static_cast<int>(end_of_wait(wait_for_epoll(fd, milliseconds, mask, ask)));
}

PATCH int epoll_wait(int fd, epoll_event* events, int room, int milliseconds)
{
    return epoll_pwait(fd, events, room, milliseconds, nullptr);
}

PATCH int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left)
{
    if (passes_through() || !valid(time) || clock == CLOCK_PROCESS_CPUTIME_ID) {
        return static_cast<int>(-green_system_call(SYS_clock_nanosleep, static_cast<long>(clock),
                                                   static_cast<long>(flags), time, left));
    }
    cancellation_point();
    begin_to_wait();
    const bool absolute = (flags & TIMER_ABSTIME) != 0;
    const int error =
        sleep_until(absolute ? moment(clock, time) : deadline_of(time), absolute ? nullptr : left);
    if (error == EINTR) {
        cancellation_point();
    }
    return error;
}

PATCH int nanosleep(const timespec* time, timespec* left)
{
    const int error = clock_nanosleep(CLOCK_MONOTONIC, 0, time, left);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}

PATCH int usleep(useconds_t microseconds)
{
    const timespec time{microseconds / 1'000'000, long{microseconds % 1'000'000} * 1000};
    return nanosleep(&time, nullptr);
}

PATCH unsigned sleep(unsigned seconds)
{
    timespec time{static_cast<time_t>(seconds), 0};
    // What is left, in whole seconds, rounded.
    return nanosleep(&time, &time) == 0
               ? 0
               : static_cast<unsigned>(time.tv_sec + (time.tv_nsec >= second / 2));
}
