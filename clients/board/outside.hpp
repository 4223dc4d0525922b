// outside.hpp -- a server as the kernel sees it: its processes, and the connections that it has not
// accepted.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

namespace ground::board {

struct Body {
    unsigned processes = 0;  // itself and its descendants
    unsigned threads = 0;    // of all of them
    unsigned descriptors = 0;
    double cpu = 0;  // seconds used so far, by all processes that are there
};
[[nodiscard]] Body body_of(pid_t server);

struct Door {
    std::vector<std::uint16_t>
        waiting;  // clients' ports: connected by the kernel, and not accepted
    std::map<std::uint16_t, std::uint32_t>
        unread;  // bytes that have come and were not read, by client's port
};
[[nodiscard]] Door door_of(std::uint16_t port);

// Whether the first process descends from the second. (A stage can write any number of a process
// into the shared memory. So the board checks it.)
[[nodiscard]] bool is_below(pid_t pid, pid_t ancestor);

}  // namespace ground::board
