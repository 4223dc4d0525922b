// sleepers.hpp -- whether all threads of a server sleep.
//
// After a step, explore must know when the server has done all that it does because of the step. It
// has when each of its threads sleeps in the kernel: at the gate, or in a call that waits. A thread
// that has been woken no longer sleeps, even if it has not run yet. So nothing else is needed: no
// guess how long a thread takes, and no seam where it wakes.
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ground::explore {

class Sleepers {
  public:
    // The process and all that descend from it, those of later included.
    explicit Sleepers(pid_t server) : server_(server) {}

    // Whether there was a moment during this call at which all threads slept.
    [[nodiscard]] bool all_asleep();

    [[nodiscard]] const std::vector<pid_t>& processes() const noexcept { return processes_; }
    // A thread that did not sleep when all_asleep() has returned false; 0: there was none. And for
    // how long it has had a CPU, in nanoseconds.
    [[nodiscard]] pid_t awake() const noexcept { return awake_; }
    [[nodiscard]] std::uint64_t cpu_time_of_awake() const;

  private:
    struct Thread {
        Descriptor state;    // /proc/PID/task/TID/stat
        Descriptor turns;    // .../schedstat
        std::string before;  // what `turns` has said
        bool listed = true;
    };
    void list();
    void list(pid_t process);
    [[nodiscard]] static bool sleeps(const Thread& thread);

    const pid_t server_;
    std::vector<pid_t> processes_;
    std::map<pid_t, Thread> threads_;
    pid_t awake_ = 0;
};

}  // namespace ground::explore
