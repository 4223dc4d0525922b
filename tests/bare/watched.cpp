// watched PROGRAM [ARGUMENT...] -- becomes a server that is watched, for scripts/measure/bench.
//
// A process of its own reads all events, fifty times a second, on any free CPU, until the server
// has gone. It is not the server's child, so its CPU time is not the server's.

#include "common/observe/watcher.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace ground;

namespace {

[[noreturn]] void read_until_gone(observe::Watcher& watcher, pid_t server)
{
    cpu_set_t all;
    CPU_ZERO(&all);
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        CPU_SET(cpu, &all);
    }
    ::sched_setaffinity(0, sizeof all, &all);
    ::close(STDOUT_FILENO);
    ::close(STDERR_FILENO);
    while (::kill(server, 0) == 0) {
        watcher.renew();
        static_cast<void>(watcher.look());
        while (!watcher.events().empty()) {
        }
        ::usleep(20'000);
    }
    ::_exit(EXIT_SUCCESS);
}

}  // namespace

int main(int argc, char** argv)
try {
    if (argc < 2) {
        std::fputs("watched: which program? try: watched build/release/stages/05_futures\n",
                   stderr);
        return 2;
    }
    observe::Watcher watcher;
    const pid_t server = ::getpid();
    const pid_t between = check(::fork(), "fork");
    if (between == 0) {
        if (check(::fork(), "fork") == 0) {
            read_until_gone(watcher, server);
        }
        ::_exit(EXIT_SUCCESS);
    }
    ::waitpid(between, nullptr, 0);
    ::setenv("GROUND_WATCH", std::to_string(watcher.descriptor()).c_str(), 1);
    ::execv(argv[1], argv + 1);
    std::perror(argv[1]);
    return EXIT_FAILURE;
} catch (const std::exception& error) {
    std::fprintf(stderr, "watched: %s\n", error.what());
    return EXIT_FAILURE;
}
