// connection.hpp -- one connection of the load generator, and what it waits for.
#pragma once

#include "clients/perf/load.hpp"
#include "common/base/descriptor.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace ground {

// A request that waits for its reply.
struct Pending {
    Clock::time_point since;  // latency counts from here: in an open loop, from when it was due
    Clock::time_point sent;
    std::size_t share = 0;
};

enum class Link {
    down,  // not begun yet or, with --reconnect, between two requests
    connecting,
    up,
    over,  // nothing more is sent here
};

struct Connection {
    Descriptor socket;
    Link link = Link::down;
    bool queued = false;           // is in the queue of those that have room
    bool asked = false;            // has sent a request
    bool answered = false;         // has had a reply
    std::vector<Pending> pending;  // a ring, as large as the pipeline is deep
    std::size_t oldest = 0;
    std::size_t outstanding = 0;
    std::string unsent;   // what the socket would not take yet
    std::string partial;  // the beginning of a reply that is not complete yet

    [[nodiscard]] std::size_t room() const noexcept { return pending.size() - outstanding; }

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
