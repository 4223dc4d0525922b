// usage.hpp -- what a server uses of the machine: all of its processes together.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>

namespace ground {

struct Usage {
    std::map<pid_t, double> cpu_s;  // by process, since it was started
    std::uint64_t memory = 0;       // bytes; what processes share counts once
    // Of the memory, heaps and stacks. The other pages come from files, and a page of a library
    // counts the less the more programs use it: no measure for what a connection costs.
    std::uint64_t anonymous = 0;
    unsigned threads = 0;
    unsigned sockets = 0;  // open in the process itself, not in its descendants

    [[nodiscard]] std::size_t processes() const noexcept { return cpu_s.size(); }
};

// Of the process and all of its descendants that are alive. CPU time comes from the clock that the
// kernel keeps for each process: it counts nanoseconds, and threads that have ended, too.
[[nodiscard]] Usage usage_of(pid_t server);

// CPU seconds between the two. What a process used that ended in between is lost.
[[nodiscard]] double cpu_between(const Usage& before, const Usage& after);

// CPU time of all programs on all CPUs, in ticks of the kernel's, since the machine was started.
struct CpuTicks {
    std::uint64_t busy = 0;
    std::uint64_t all = 0;
};
[[nodiscard]] CpuTicks cpu_ticks();

}  // namespace ground
