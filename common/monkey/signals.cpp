// signals.cpp -- handlers run on the stack of the thread that runs, and may end another thread's
// wait.
//
// The kernel has one thread to interrupt, so it interrupts the green thread that runs. This file
// decides which thread's wait ends. If pthread_kill() has named a thread, it is this one. If not,
// it is the first thread, which the kernel also prefers. If the first thread blocks the signal, it
// is a thread that does not. A signal that all threads block does not come: see masks.cpp.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <signal.h>

PATCHED(signals, "sigaction signal pthread_kill raise");

namespace green {

volatile bool signals_came;

namespace {

struct sigaction actions[NSIG];
Thread* volatile named;           // by pthread_kill()
volatile bool others_struck;      // beside the first thread
volatile Signals for_any_thread;  // handled, but the first thread blocks them
volatile Signals ending_waits;    // those of for_any_thread without SA_RESTART
char* volatile handler_frame;

constexpr unsigned room = 64;
void* volatile posted[room];
volatile unsigned posts;
volatile unsigned posts_done;

using SigactionFunction = int (*)(int, const struct sigaction*, struct sigaction*);

SigactionFunction real_sigaction() noexcept
{
    static SigactionFunction function;
    if (function == nullptr) {
        function = reinterpret_cast<SigactionFunction>(real("sigaction"));
    }
    return function;
}

// Notes which thread's wait the signal ends. The handler may have interrupted any code, so this
// must not touch a list.
void note(int number, Struck how) noexcept
{
    Thread* target = named;
    named = nullptr;
    const Signals signal = Signals{1} << (number - 1);
    if (target == nullptr && !main_thread.ended && (main_thread.blocked & signal) == 0) {
        target = &main_thread;
    }
    if (target == nullptr) {
        for_any_thread = for_any_thread | signal;
        if (how == Struck::ending) {
            ending_waits = ending_waits | signal;
        }
        return;
    }
    target->struck = target->struck < how ? how : target->struck;
    others_struck = others_struck || target != &main_thread;
}

void handle(int number, siginfo_t* info, void* context)
{
    char* const before = handler_frame;
    handler_frame = static_cast<char*>(__builtin_frame_address(0));
    const struct sigaction action = actions[number];
    if ((action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0) {
        actions[number].sa_handler = SIG_DFL;
    }
    if ((action.sa_flags & SA_SIGINFO) != 0) {
        action.sa_sigaction(number, info, context);
    } else {
        action.sa_handler(number);
    }
    handler_frame = before;
    note(number, (action.sa_flags & SA_RESTART) == 0 ? Struck::ending : Struck::restarting);
    signals_came = true;
    hurry();
}

}  // namespace

bool in_handler() noexcept
{
    char* const frame = handler_frame;
    if (__builtin_expect(frame == nullptr, 1)) {
        return false;
    }
    // A handler may also be left by siglongjmp(). Then this is no longer above its stack frame.
    constexpr ptrdiff_t deep = 1 << 20;
    const ptrdiff_t depth = frame - static_cast<char*>(__builtin_frame_address(0));
    if (depth > 0 && depth < deep) {
        return true;
    }
    handler_frame = nullptr;
    return false;
}

void after_signals() noexcept
{
    signals_came = false;
    while (posts_done != posts) {
        post_now(posted[posts_done % room]);
        posts_done = posts_done + 1;
    }
    const auto wake_if_struck = [](Thread* thread) {
        if (thread->waits && must_not_wait(thread, thread->interruptible)) {
            thread->struck = Struck::no;
            wake(thread, Woken::by_a_signal);
        }
    };
    wake_if_struck(&main_thread);
    if (others_struck) {
        others_struck = false;
        for (Thread* thread = first_alive; thread != nullptr; thread = thread->next_alive) {
            wake_if_struck(thread);
        }
    }
    while (for_any_thread != 0) {
        const Signals signal = for_any_thread & -for_any_thread;
        const Struck how = (ending_waits & signal) != 0 ? Struck::ending : Struck::restarting;
        for_any_thread = for_any_thread & ~signal;
        ending_waits = ending_waits & ~signal;
        for (Thread* thread = first_alive; thread != nullptr; thread = thread->next_alive) {
            if (thread->waits && (thread->blocked & signal) == 0) {
                const Struck before = thread->struck;
                thread->struck = how;
                wake_if_struck(thread);
                thread->struck = before;
                if (!thread->waits) {
                    break;
                }
            }
        }
    }
}

bool must_not_wait(const Thread* thread, Interruptible interruptible) noexcept
{
    if (interruptible == Interruptible::no) {
        return false;
    }
    if (thread->cancelled && !thread->uncancellable) {
        return true;
    }
    switch (thread->struck) {
        case Struck::ending:
            return interruptible >= Interruptible::unless_restarted;
        case Struck::restarting:
            return interruptible == Interruptible::always;
        case Struck::no:
            break;
    }
    return false;
}

bool post_later(void* semaphore) noexcept
{
    if (posts - posts_done == room) {
        return false;
    }
    posted[posts % room] = semaphore;
    posts = posts + 1;
    signals_came = true;
    return true;
}

}  // namespace green

using namespace green;

PATCH int sigaction(int number, const struct sigaction* action, struct sigaction* old) noexcept
{
    begin();
    if (number <= 0 || number >= NSIG) {
        return real_sigaction()(number, action, old);
    }
    const struct sigaction before = actions[number];
    struct sigaction ours;
    if (action != nullptr && action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN) {
        ours = *action;
        ours.sa_sigaction = handle;
        ours.sa_flags |= SA_SIGINFO;
        actions[number] = *action;
        action = &ours;
    }
    const int result = real_sigaction()(number, action, old);
    if (result != 0) {
        actions[number] = before;
    } else if (old != nullptr && old->sa_sigaction == handle) {
        *old = before;
    }
    return result;
}

PATCH sighandler_t signal(int number, sighandler_t handler) noexcept
{
    struct sigaction action = {};
    struct sigaction old = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

// The handler runs at once, on this thread's stack. The wait that it ends is the other thread's.
PATCH int pthread_kill(pthread_t pthread, int number) noexcept
{
    begin();
    Thread* const thread = thread_of(pthread);
    if (thread->ended) {
        return ESRCH;
    }
    if (number > 0 && number < NSIG) {
        const Signals signal = Signals{1} << (number - 1);
        if (living > 1 && (thread->blocked & signal) != 0) {
            thread->pending |= signal;
            return 0;
        }
        if (actions[number].sa_handler != SIG_DFL && actions[number].sa_handler != SIG_IGN) {
            named = thread;
        }
    }
    const long process = green_system_call(SYS_getpid);
    const long me = green_system_call(SYS_gettid);
    return static_cast<int>(-green_system_call(SYS_tgkill, process, me, static_cast<long>(number)));
}

PATCH int raise(int number) noexcept
{
    const int error = pthread_kill(::pthread_self(), number);
    return static_cast<int>(with_errno(-error));
}
