// processes.cpp -- waiting for children. No event wakes a thread when a child ends, so the thread
// asks again and again.

#include "common/monkey/green.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

PATCHED(processes, "wait waitpid wait3 wait4 waitid");

using namespace green;

namespace {

// Tries until the result is not 0.
template <typename Try>
long ask_until(Try attempt) noexcept
{
    begin_to_wait();
    for (Patience patience;;) {
        if (const long result = attempt()) {
            return result;
        }
        if (patience.rest(never, Interruptible::unless_restarted) == Woken::by_a_signal) {
            return -EINTR;
        }
    }
}

long wait_for_child(pid_t child, int* status, int options, rusage* usage) noexcept
{
    const auto ask = [=](int how) {
        return green_system_call(SYS_wait4, static_cast<long>(child), status,
                                 static_cast<long>(how), usage);
    };
    return passes_through() || (options & WNOHANG) != 0
               ? ask(options)
               : ask_until([=] { return ask(options | WNOHANG); });
}

}  // namespace

PATCH pid_t waitpid(pid_t child, int* status, int options)
{
    cancellation_point();
    return static_cast<pid_t>(end_of_wait(wait_for_child(child, status, options, nullptr)));
}

PATCH pid_t wait(int* status) { return waitpid(-1, status, 0); }

// These two are no cancellation points.
PATCH pid_t wait4(pid_t child, int* status, int options, rusage* usage) noexcept
{
    return static_cast<pid_t>(with_errno(wait_for_child(child, status, options, usage)));
}

PATCH pid_t wait3(int* status, int options, rusage* usage) noexcept
{
    return wait4(-1, status, options, usage);
}

PATCH int waitid(idtype_t kind, id_t which, siginfo_t* info, int options)
{
    siginfo_t own{};
    siginfo_t* const said = info == nullptr ? &own : info;
    const auto ask = [=](int how) {
        return green_system_call(SYS_waitid, static_cast<long>(kind), static_cast<long>(which),
                                 said, static_cast<long>(how), nullptr);
    };
    if (passes_through() || (options & WNOHANG) != 0) {
        return static_cast<int>(with_errno(ask(options)));
    }
    cancellation_point();
    const long result = ask_until([=] {
        said->si_pid = 0;
        const long error = ask(options | WNOHANG);
        return error != 0 ? error : said->si_pid != 0 ? 1L : 0L;
    });
    return static_cast<int>(end_of_wait(result > 0 ? 0 : result));
}
