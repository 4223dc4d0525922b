#include "common/server/children.hpp"

#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"
#include "common/server/linger.hpp"
#include "common/server/log.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace ground {

namespace {

// The children that have not been waited for yet. A signal handler also changes this, so signals
// are blocked while it is used. The lock is needed only in a build with a sanitizer: there
// a thread waits for signals, and this thread may use the list, too.
std::vector<pid_t> children;
std::atomic_flag locked;

class Locked {
  public:
    Locked() noexcept
    {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
        while (locked.test_and_set(std::memory_order_acquire)) {
        }
    }
    ~Locked()
    {
        if (for_good_) {
            return;  // signals stay blocked: their handler would wait for ever
        }
        locked.clear(std::memory_order_release);
        ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

    // Keeps the lock for good.
    void keep() noexcept { for_good_ = true; }

  private:
    sigset_t before_;
    bool for_good_ = false;
};

// Logs a child that has not ended as it should. It formats on the stack, because a handler must not
// allocate memory. It never waits for stderr, because nothing else runs meanwhile.
void tell(pid_t child, int status) noexcept
{
    if (connection_log_is_silent() || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        return;
    }
    std::array<char, 160> line;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char* const name = ::sigdescr_np(signal);
    const auto end =
        signal != 0 ? fmt::format_to_n(line.data(), line.size(),
                                       "Lost a client: process {} was ended by signal {} ({})\n",
                                       child, signal, name != nullptr ? name : "real-time")
                    : fmt::format_to_n(line.data(), line.size(),
                                       "Lost a client: process {} ended with status {}\n", child,
                                       WEXITSTATUS(status));
    log_detail::write_if_there_is_room({line.data(), std::min(end.size, line.size())});
}

// One signal may stand for several children.
void on_child_ended(int /*signal*/)
{
    const int before = errno;
    {
        const Locked lock;
        int status = 0;
        for (pid_t child = 0; (child = ::waitpid(-1, &status, WNOHANG)) > 0;) {
            if (status != 0) {
                observe::has_died(child);
            }
            tell(child, status);
            const auto place = std::find(children.begin(), children.end(), child);
            if (place != children.end()) {
                *place = children.back();
                children.pop_back();
            }
        }
    }
    errno = before;
}

}  // namespace

void reap_children()
{
    struct sigaction action = {};
    action.sa_handler = on_child_ended;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    check(::sigaction(SIGCHLD, &action, nullptr), "sigaction");
}

pid_t fork_child(ChildServes clients)
{
    const pid_t parent = ::getpid();
    const Locked lock;
    if (children.size() == children.capacity()) {
        children.reserve(2 * children.size() + 8);  // what comes after the fork must not fail
    }
    const pid_t child = ::fork();
    if (child == 0) {
        children.clear();  // they are the child's siblings
        if (clients == ChildServes::one_client) {
            linger_without_threads();
        }
        // If the parent has ended before the next line, no signal will come.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) {
            ::_exit(EXIT_FAILURE);
        }
    } else if (child != -1) {
        children.push_back(child);
    }
    return child;
}

void leave_child() noexcept
{
    // No check for leaks: LeakSanitizer believes that the parent's threads are also here.
    ::_exit(EXIT_SUCCESS);
}

void end_children() noexcept
{
    Locked lock;
    lock.keep();  // the process ends: another thread must not start one more
    for (const pid_t child : children) {
        ::kill(child, SIGKILL);
    }
    for (const pid_t child : children) {
        while (::waitpid(child, nullptr, 0) == -1 && errno == EINTR) {
        }
    }
    children.clear();
}

}  // namespace ground
