// part.hpp -- which part of the work belongs to which of perf's threads.
//
// The work is dealt like cards. Connection k belongs to thread (k mod threads). Request k of an
// open loop, or of --requests, belongs to connection (k mod connections). So all threads together
// send what one thread would send, at the same times, and a thread with more connections sends
// more.
#pragma once

#include <cstdint>

namespace ground {

struct Part {
    unsigned number = 0;  // of this thread, from 0
    unsigned threads = 1;
    unsigned connections = 1;  // of all threads; each has at least one

    // How many of these things are dealt to this thread.
    [[nodiscard]] std::uint64_t of(std::uint64_t things) const noexcept
    {
        return (things + threads - 1 - number) / threads;
    }

    // How many of these requests this thread sends.
    [[nodiscard]] std::uint64_t of_requests(std::uint64_t requests) const noexcept
    {
        return requests / connections * of(connections) + of(requests % connections);
    }

    // Which request of all is the k-th of this thread. Both are counted from 0.
    [[nodiscard]] std::uint64_t request(std::uint64_t k) const noexcept
    {
        const std::uint64_t own = of(connections);
        return k / own * connections + number + k % own * threads;
    }
};

}  // namespace ground
