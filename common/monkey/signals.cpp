// signals.cpp -- handlers run on whatever stack there is, and some end the wait of a thread.
//
// The kernel has one thread to interrupt, so it interrupts whoever runs or asks. Here is decided
// whose wait ends by it: that of the thread that pthread_kill() has named; else that of the first
// thread, which the kernel prefers as well.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <signal.h>

PATCHED(signals, "sigaction signal pthread_kill");

namespace green {

volatile bool signals_came;

namespace {

struct sigaction actions[NSIG];
volatile bool ends_waits;  // a handler without SA_RESTART has run
Thread* volatile named;    // by pthread_kill()
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
    if ((action.sa_flags & SA_RESTART) == 0) {
        ends_waits = true;
    }
    signals_came = true;
    hurry();
}

bool may_end(const Thread* thread, bool restarted) noexcept
{
    return thread->waits && thread->interruptible >= (restarted ? Interruptible::always
                                                                : Interruptible::unless_restarted);
}

}  // namespace

bool in_handler() noexcept
{
    char* const frame = handler_frame;
    if (__builtin_expect(frame == nullptr, 1)) {
        return false;
    }
    // A handler may also have been left by siglongjmp(): then this is no longer above its frame.
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
    Thread* const target = named != nullptr ? named : &main_thread;
    const bool restarted = !ends_waits;
    named = nullptr;
    ends_waits = false;
    if (may_end(target, restarted)) {
        wake(target, Woken::by_a_signal);
    } else if (target == &main_thread && target->ended && may_end(current, restarted)) {
        wake(current, Woken::by_a_signal);
    }
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

// The handler runs at once, on this thread's stack; the wait that it ends is the other's.
PATCH int pthread_kill(pthread_t pthread, int number) noexcept
{
    begin();
    Thread* const thread = thread_of(pthread);
    if (thread->ended) {
        return ESRCH;
    }
    named = number == 0 ? named : thread;
    const long process = green_system_call(SYS_getpid);
    const long me = green_system_call(SYS_gettid);
    return static_cast<int>(-green_system_call(SYS_tgkill, process, me, static_cast<long>(number)));
}
