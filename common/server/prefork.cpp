#include "common/server/prefork.hpp"

#include "common/observe/seams.hpp"
#include "common/server/children.hpp"
#include "common/server/log.hpp"
#include "common/server/signals.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace ground {

namespace {

void say_how_it_ended(pid_t child, int status)
{
    if (WIFSIGNALED(status)) {
        const int number = WTERMSIG(status);
        const char* const name = ::sigdescr_np(number);
        log("Lost a loop: process {} was ended by signal {} ({})", child, number,
            name != nullptr ? name : "real-time");
    } else {
        log("Lost a loop: process {} ended with status {}", child, WEXITSTATUS(status));
    }
}

void signal_all(const std::vector<pid_t>& children, int number) noexcept
{
    for (const pid_t child : children) {
        ::kill(child, number);
    }
}

// What the parent does from now on.
[[noreturn]] void wait_for_all(std::vector<pid_t> children, const sigset_t& awaited)
{
    bool stopped = false;
    while (!children.empty()) {
        int number = 0;
        ::sigwait(&awaited, &number);
        if (number != SIGCHLD) {
            stopped = true;
            signal_all(children, SIGTERM);
        }
        int status = 0;
        for (pid_t child = 0; (child = ::waitpid(-1, &status, WNOHANG)) > 0;) {
            std::erase(children, child);
            observe::has_died(child);
            if (!stopped) {
                say_how_it_ended(child, status);
            }
        }
    }
    ::_exit(stopped ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace

std::vector<Descriptor> prefork(const Options& options, std::vector<Descriptor> sockets)
{
    const ParentSignals signals;
    std::vector<pid_t> children;
    for (Descriptor& socket : sockets) {
        const pid_t child = fork_child(ChildServes::many_clients);
        if (child == 0) {
            signals.leave_to_parent();
            std::vector<Descriptor> own;
            own.push_back(std::move(socket));
            return own;
        }
        if (child == -1) {
            log("{}: can't start {} processes: {}; try fewer --processes", options.stage,
                sockets.size(), std::strerror(errno));
            signal_all(children, SIGKILL);
            ::_exit(EXIT_FAILURE);
        }
        children.push_back(child);
    }
    sockets.clear();  // else these would still take new clients after a child has ended
    wait_for_all(std::move(children), signals.awaited());
}

}  // namespace ground
