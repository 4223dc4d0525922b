// usage.hpp -- how much a server uses of the machine: all of its processes together.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace ground {

struct Usage {
    // Since it was started, in nanoseconds by the kernel's clocks. For processes that have ended,
    // in ticks. A server with a process for each client has many of those.
    double cpu_s = 0;
    std::uint64_t memory = 0;  // bytes; memory that processes share counts once
    // The heaps and stacks among the memory. The other pages come from files, and a page of a
    // library counts less the more programs use it. So `memory` does not say what a connection
    // costs.
    std::uint64_t anonymous = 0;
    unsigned processes = 0;
    unsigned threads = 0;
    unsigned sockets = 0;  // a socket that two processes share counts twice
};

// Of the process and all of its descendants that are alive. CPU time comes from the clock that the
// kernel keeps for each process, which includes threads that have ended.
[[nodiscard]] Usage usage_of(pid_t server);

// CPU time of all programs on all CPUs, in ticks of the kernel's, since the machine was started.
struct CpuTicks {
    std::uint64_t busy = 0;
    std::uint64_t all = 0;
};
[[nodiscard]] CpuTicks cpu_ticks();

}  // namespace ground
