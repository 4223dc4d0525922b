// futex.cpp -- waiting for a word in memory, as with the kernel's futexes: std::atomic::wait(),
// std::counting_semaphore, and waiting for the initialisation of a static variable.
//
// libstdc++ makes the system call with libc's syscall(), so that is the hook.

#include "common/monkey/green.hpp"

#include <stdarg.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

PATCHED(futex, "syscall");

namespace green {

namespace {

// The waiting threads, by the address.
List waiting_at[256];

List& list_at(const void* address) noexcept
{
    return waiting_at[(reinterpret_cast<uintptr_t>(address) >> 2) * 0x9E3779B97F4A7C15U >> 56];
}

}  // namespace

Woken wait_at(const void* address, Nanoseconds deadline, Interruptible interruptible) noexcept
{
    Waiter me;
    me.address = address;
    me.enter(list_at(address));
    const Woken how = park(deadline, interruptible);
    me.leave();
    return how;
}

int wake_at(const void* address, int at_most) noexcept
{
    int woken = 0;
    for (Waiter* waiter = list_at(address).first; waiter != nullptr && woken < at_most;) {
        Waiter* const next = waiter->next;
        if (waiter->address == address && waiter->thread->waits) {
            waiter->leave();
            wake(waiter->thread);
            ++woken;
        }
        waiter = next;
    }
    return woken;
}

}  // namespace green

using namespace green;

namespace {

long futex(int* address, int operation, int value, const timespec* time, long fifth, long sixth)
{
    const int what = operation & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    switch (what) {
        case FUTEX_WAIT:
        case FUTEX_WAIT_BITSET: {
            begin_to_wait();
            if (__atomic_load_n(address, __ATOMIC_SEQ_CST) != value) {
                return -EAGAIN;
            }
            Nanoseconds deadline = never;
            if (time != nullptr) {  // for FUTEX_WAIT a duration, else a moment
                const bool of_day = (operation & FUTEX_CLOCK_REALTIME) != 0;
                deadline = what == FUTEX_WAIT
                               ? after(time->tv_sec * second + time->tv_nsec)
                               : moment(of_day ? CLOCK_REALTIME : CLOCK_MONOTONIC, time);
            }
            const Interruptible by =
                time == nullptr ? Interruptible::unless_restarted : Interruptible::always;
            switch (wait_at(address, deadline, by)) {
                case Woken::by_the_clock:
                    return -ETIMEDOUT;
                case Woken::by_a_signal:
                    return -EINTR;
                case Woken::by_a_thread:
                    break;
            }
            return 0;
        }
        case FUTEX_WAKE:
        case FUTEX_WAKE_BITSET: {
            const int woken = wake_at(address, value);
            if ((operation & FUTEX_PRIVATE_FLAG) != 0 || woken == value) {
                return woken;
            }
            // A thread of another process may also wait.
            const long others =
                green_system_call(SYS_futex, address, operation, value - woken, time, fifth, sixth);
            return others < 0 ? others : others + woken;
        }
        default:
            return green_system_call(SYS_futex, address, operation, value, time, fifth, sixth);
    }
}

}  // namespace

PATCH long syscall(long number, ...) noexcept
{
    va_list list;
    va_start(list, number);
    long words[6];
    for (long& word : words) {
        word = va_arg(list, long);  // as libc does: missing arguments do not matter
    }
    va_end(list);
    if (number == SYS_futex && threaded && !in_handler()) {
        return with_errno(futex(reinterpret_cast<int*>(words[0]), static_cast<int>(words[1]),
                                static_cast<int>(words[2]), reinterpret_cast<timespec*>(words[3]),
                                words[4], words[5]));
    }
    return with_errno(
        green_system_call(number, words[0], words[1], words[2], words[3], words[4], words[5]));
}
