// connection.hpp -- one connection of the load generator, and what it waits for.
#pragma once

#include "clients/load.hpp"
#include "common/descriptor.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace ground {

// A request that waits for its reply.
struct Pending {
    Clock::time_point since;  // what its latency counts from
    std::size_t share = 0;
};

struct Connection {
    Descriptor socket;  // closed once the connection is over
    bool connecting = false;
    bool answered = false;         // has had a reply
    std::vector<Pending> pending;  // a ring, as large as the pipeline is deep
    std::size_t oldest = 0;
    std::size_t outstanding = 0;
    std::string unsent;   // what the socket would not take yet
    std::string partial;  // the beginning of a reply whose end has not come yet

    [[nodiscard]] bool is_open() const noexcept { return socket.get() >= 0; }

    void push(Pending request) noexcept
    {
        pending[(oldest + outstanding++) % pending.size()] = request;
    }
    [[nodiscard]] Pending pop() noexcept
    {
        const Pending request = pending[oldest];
        oldest = (oldest + 1) % pending.size();
        --outstanding;
        return request;
    }
};

}  // namespace ground
