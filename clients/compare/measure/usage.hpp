// usage.hpp -- what a server uses of the machine: all of its processes together.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace ground {

struct Usage {
    // Since it was started, in nanoseconds as the kernel's clocks have it; and of processes that
    // have ended, which a server with one for each client has many of, in ticks.
    double cpu_s = 0;
    std::uint64_t memory = 0;  // bytes; what processes share counts once
    // Of the memory, heaps and stacks. The other pages come from files, and a page of a library
    // counts the less the more programs use it: no measure for what a connection costs.
    std::uint64_t anonymous = 0;
    unsigned processes = 0;
    unsigned threads = 0;
    unsigned sockets = 0;  // what two processes share counts twice
};

// Of the process and all of its descendants that are alive. CPU time comes from the clock that the
// kernel keeps for each process: it counts threads that have ended, too.
[[nodiscard]] Usage usage_of(pid_t server);

// CPU time of all programs on all CPUs, in ticks of the kernel's, since the machine was started.
struct CpuTicks {
    std::uint64_t busy = 0;
    std::uint64_t all = 0;
};
[[nodiscard]] CpuTicks cpu_ticks();

}  // namespace ground
