// part.hpp -- which part of the work falls to one of perf's threads.
//
// The work is dealt like cards. Connection k is thread (k mod threads)'s, and request k of an open
// loop or of --requests is connection (k mod connections)'s. So all threads together send what one
// would have sent, at the times at which it would have been sent, and a thread that has more
// connections sends more.
#pragma once

#include <cstdint>

namespace ground {

struct Part {
    unsigned number = 0;  // of this thread, from 0
    unsigned threads = 1;
    unsigned connections = 1;  // of all threads, and at least one for each

    // How many of so many things that are dealt to the threads one by one.
    [[nodiscard]] std::uint64_t of(std::uint64_t things) const noexcept
    {
        return (things + threads - 1 - number) / threads;
    }

    // How many of so many requests.
    [[nodiscard]] std::uint64_t of_requests(std::uint64_t requests) const noexcept
    {
        return requests / connections * of(connections) + of(requests % connections);
    }

    // Which request of all is the k-th of this thread, both counted from 0.
    [[nodiscard]] std::uint64_t request(std::uint64_t k) const noexcept
    {
        const std::uint64_t own = of(connections);
        return k / own * connections + number + k % own * threads;
    }
};

}  // namespace ground
