// cpu_watch.hpp -- how much CPU time processes use, and how much they would use if they got it.
//
// On a busy machine a program that gets no CPU looks like one that has nothing to do, and like one
// that hangs. The kernel knows the difference: /proc/PID/task/TID/schedstat has the time that a
// thread was on a CPU, and the time that it waited for one.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace ground::test {

// What was seen since the look before.
struct CpuLook {
    std::chrono::nanoseconds time{0};
    std::chrono::nanoseconds used{0};    // of all threads
    std::chrono::nanoseconds waited{0};  // for a CPU, of all threads
    // The CPUs that all threads together would use if there were enough of them: 1 for a thread
    // that spins, however seldom it gets a CPU. A thread that wants to run just now counts as 1,
    // because nothing is known of the time since it last ran.
    double demand = 0;
    // Of the thread that had to wait longest, the part of the time in which it did not wait for a
    // CPU: 1 on an idle machine.
    double progress = 1;
};

class CpuWatch {
  public:
    // Looks at all threads of these processes. The first look is about no time.
    CpuLook look(const std::vector<pid_t>& processes);

  private:
    using Clock = std::chrono::steady_clock;

    struct Thread {
        std::chrono::nanoseconds used{0};
        std::chrono::nanoseconds waited{0};
        std::uint64_t sleeps = 0;  // how often it has given up its CPU by itself
    };

    static Thread read(pid_t process, pid_t thread);
    static void add(CpuLook& seen, const Thread& before, const Thread& now, char state);

    std::map<pid_t, Thread> threads_;
    Clock::time_point last_{};
};

// Computes for a while: which part of the time did it have a CPU? For a server whose processes
// can't be looked at, because the test has not started them.
[[nodiscard]] double share_of_a_cpu();

}  // namespace ground::test
