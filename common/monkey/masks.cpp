// masks.cpp -- a signal mask for each thread.
//
// The kernel keeps a single mask, for the one thread that it knows. That mask must block the
// signals that all threads block, and no others. A signal to the process is handled as soon as one
// thread does not block it.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <signal.h>
#include <string.h>

PATCHED(masks,
        "pthread_sigmask sigprocmask sigpending sigsuspend pause sigwait sigwaitinfo sigtimedwait");

namespace green {

namespace {

constexpr int signals = 64;
// The two signals that libc uses, and those that can't be blocked.
constexpr Signals never_blocked =
    Signals{1} << 31 | Signals{1} << 32 | Signals{1} << (SIGKILL - 1) | Signals{1} << (SIGSTOP - 1);

size_t blockers[signals];  // how many threads block it
Signals kernels;           // the mask that the kernel has

void tell_kernel(Signals mask) noexcept
{
    kernels = mask;
    green_system_call(SYS_rt_sigprocmask, static_cast<long>(SIG_SETMASK), &mask, nullptr, 8L);
}

template <typename Do>
void for_each(Signals set, Do act) noexcept
{
    for (; set != 0; set &= set - 1) {
        act(__builtin_ctzl(set));
    }
}

// Call it after the number of threads, or of blockers of a signal, has changed.
void adapt() noexcept
{
    Signals mask = 0;
    for_each(first_alive->blocked, [&mask](int number) {
        if (blockers[number] == living) {
            mask |= Signals{1} << number;
        }
    });
    if (mask != kernels) {
        tell_kernel(mask);
    }
}

}  // namespace

void begin_masks() noexcept
{
    green_system_call(SYS_rt_sigprocmask, static_cast<long>(SIG_SETMASK), nullptr, &kernels, 8L);
    main_thread.blocked = kernels;
    for_each(kernels, [](int number) { blockers[number] = 1; });
}

void set_mask(Signals blocked) noexcept
{
    const Signals before = current->blocked;
    current->blocked = blocked & ~never_blocked;
    for_each(before & ~current->blocked, [](int number) { --blockers[number]; });
    for_each(current->blocked & ~before, [](int number) { ++blockers[number]; });
    if (current->blocked != before) {
        adapt();
    }
    for_each(current->pending & ~current->blocked, [](int number) {
        current->pending &= ~(Signals{1} << number);
        ::pthread_kill(::pthread_self(), number + 1);
    });
}

// A new thread inherits the mask of the thread that starts it. So it blocks what all others block,
// and the kernel's mask stays as it is.
void mask_begins(Thread* thread) noexcept
{
    thread->blocked = current->blocked;
    for_each(thread->blocked, [](int number) { ++blockers[number]; });
}

void mask_ends(const Thread* thread) noexcept
{
    for_each(thread->blocked, [](int number) { --blockers[number]; });
    if (living != 0) {
        adapt();
    }
}

void masks_in_child() noexcept
{
    memset(blockers, 0, sizeof blockers);
    for_each(current->blocked, [](int number) { blockers[number] = 1; });
    current->pending = 0;
    tell_kernel(current->blocked);
}

namespace {

Signals as_signals(const sigset_t* set) noexcept
{
    Signals signals_of_it = 0;
    memcpy(&signals_of_it, set, sizeof signals_of_it);
    return signals_of_it;
}

// Takes a signal that is already pending for this thread or the process. 0 if there is none.
int take_pending(Signals wanted, siginfo_t* info) noexcept
{
    if (const Signals own = current->pending & wanted; own != 0) {
        const int number = __builtin_ctzl(own) + 1;
        current->pending &= ~(own & -own);
        *info = siginfo_t();
        info->si_signo = number;
        info->si_code = SI_TKILL;
        return number;
    }
    const timespec at_once{};
    const long number = green_system_call(SYS_rt_sigtimedwait, &wanted, info, &at_once, 8L);
    return number > 0 ? static_cast<int>(number) : 0;
}

long wait_for_signal(const sigset_t* set, siginfo_t* info, const timespec* time) noexcept
{
    siginfo_t unwanted;
    info = info == nullptr ? &unwanted : info;
    const Signals wanted = as_signals(set) & ~never_blocked;
    if (!threaded || in_handler()) {
        return green_system_call(SYS_rt_sigtimedwait, &wanted, info, time, 8L);
    }
    if (time != nullptr && (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= second)) {
        return -EINVAL;
    }
    begin_to_wait();
    const Nanoseconds deadline =
        time == nullptr ? never : after(time->tv_sec * second + time->tv_nsec);
    for (Patience patience;;) {
        if (const int number = take_pending(wanted, info)) {
            return number;
        }
        switch (patience.rest(deadline, Interruptible::always)) {
            case Woken::by_the_clock:
                return -EAGAIN;
            case Woken::by_a_signal:
                return -EINTR;
            case Woken::by_a_thread:
                break;
        }
    }
}

}  // namespace

}  // namespace green

using namespace green;

PATCH int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept
{
    begin();
    if (in_handler()) {  // the kernel takes it back when the handler returns
        return static_cast<int>(
            -green_system_call(SYS_rt_sigprocmask, static_cast<long>(how), set, old, 8L));
    }
    const Signals before = current->blocked;
    if (set != nullptr) {
        const Signals given = as_signals(set);
        switch (how) {
            case SIG_BLOCK:
                set_mask(before | given);
                break;
            case SIG_UNBLOCK:
                set_mask(before & ~given);
                break;
            case SIG_SETMASK:
                set_mask(given);
                break;
            default:
                return EINVAL;
        }
    }
    if (old != nullptr) {
        ::sigemptyset(old);
        memcpy(old, &before, sizeof before);
    }
    return 0;
}

PATCH int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept
{
    return static_cast<int>(with_errno(-pthread_sigmask(how, set, old)));
}

PATCH int sigpending(sigset_t* set) noexcept
{
    begin();
    ::sigemptyset(set);
    Signals pending = 0;
    const long error = green_system_call(SYS_rt_sigpending, &pending, 8L);
    pending |= current->pending;
    memcpy(set, &pending, sizeof pending);
    return static_cast<int>(with_errno(error));
}

PATCH int sigsuspend(const sigset_t* set)
{
    begin();
    if (passes_through()) {
        return static_cast<int>(with_errno(green_system_call(SYS_rt_sigsuspend, set, 8L)));
    }
    cancellation_point();
    begin_to_wait();
    const Signals before = current->blocked;
    set_mask(as_signals(set));
    park(never, Interruptible::always);
    set_mask(before);
    return static_cast<int>(end_of_wait(-EINTR));
}

PATCH int pause()
{
    begin();
    if (passes_through()) {
        return static_cast<int>(with_errno(green_system_call(SYS_pause)));
    }
    cancellation_point();
    begin_to_wait();
    park(never, Interruptible::always);
    return static_cast<int>(end_of_wait(-EINTR));
}

PATCH int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* time)
{
    begin();
    cancellation_point();
    return static_cast<int>(end_of_wait(wait_for_signal(set, info, time)));
}

PATCH int sigwaitinfo(const sigset_t* set, siginfo_t* info)
{
    return sigtimedwait(set, info, nullptr);
}

PATCH int sigwait(const sigset_t* set, int* number)
{
    begin();
    cancellation_point();
    long result = 0;
    while ((result = wait_for_signal(set, nullptr, nullptr)) == -EINTR) {
        cancellation_point();
    }
    if (result < 0) {
        return static_cast<int>(-result);
    }
    *number = static_cast<int>(result);
    return 0;
}
