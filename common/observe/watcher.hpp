// watcher.hpp -- the watcher's side of the shared memory, for clients/board and for --trace.
//
// For one thread, except renew().
//
//     Watcher watcher;  // and then start the server, with GROUND_WATCH=<watcher.descriptor()>
//     watcher.pause();
//     watcher.step(watcher.look().front().id);
#pragma once

#include "common/base/descriptor.hpp"
#include "common/observe/memory.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ground::observe {

// The time of CLOCK_MONOTONIC in microseconds. All times in this file are such times.
[[nodiscard]] std::uint64_t now() noexcept;

// One entry of the table, as it was at one moment.
struct Seen {
    std::size_t index = 0;
    std::uint32_t id = 0;
    Kind kind = Kind::nobody;
    Where where;
    std::uint16_t peer = 0;
    std::uint32_t pid = 0;
    std::uint32_t tid = 0;
    std::uint32_t n = 0;
    std::uint32_t for_id = 0;
    std::uint32_t requests = 0;
    Deed next = Deed::passes;
    std::uint32_t object = 0;
    std::uint32_t value = 0;
    std::uint32_t found = 0;
};

struct Happened {
    std::uint64_t number = 0;
    Where where;
    std::uint32_t id = 0;
    std::uint32_t tid = 0;
    std::uint32_t n = 0;
    std::uint32_t for_id = 0;
};

class Watcher {
  public:
    Watcher();   // makes the memory; throws std::system_error
    ~Watcher();  // sets the pace to free
    Watcher(const Watcher&) = delete;
    Watcher& operator=(const Watcher&) = delete;

    // The memfd, not close-on-exec: the server is started with GROUND_WATCH=<this number> in its
    // environment.
    [[nodiscard]] int descriptor() const noexcept { return memory_file_.get(); }

    [[nodiscard]] std::uint32_t server() const noexcept;  // its process; 0: not started yet
    [[nodiscard]] std::string file(std::uint8_t index) const;
    [[nodiscard]] std::vector<Seen> look() const;  // all entries, in the order of the table
    // The same, but looks only at the first `most` places for conversations, and at the first
    // `most` of the other places.
    [[nodiscard]] std::vector<Seen> look(std::size_t most) const;

    // What has happened since the last call, at most this many events. Events that were overwritten
    // before are counted in lost().
    [[nodiscard]] std::vector<Happened> events(std::size_t most = most_events);
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    // How many events there have been, and the number of the next that events() returns. (Some
    // events in between may be unfinished, because their writers were stopped or killed.)
    [[nodiscard]] std::uint64_t happened() const noexcept;
    [[nodiscard]] std::uint64_t next() const noexcept { return next_; }

    // The gate. Each of these renews the lease. Call renew() at least every second, from any
    // thread, or choose a longer lease before. If the watcher dies, the server is held until the
    // lease is over.
    void set_lease(std::uint64_t microseconds) noexcept { lease_ = microseconds; }
    void go();
    void slow(std::uint32_t microseconds_per_step);
    void pause();
    void step();                  // the first entry that comes takes a step
    bool step(std::uint32_t id);  // this entry takes a step; false if it has gone
    bool step(const Seen& seen);  // the same, without a search
    void renew() noexcept;

  private:
    void set(Pace pace) noexcept;
    void look(std::size_t begin, std::size_t end, std::vector<Seen>& all) const;

    Descriptor memory_file_;
    Memory* memory_ = nullptr;
    std::uint64_t lease_ = lease_time;
    std::uint64_t next_ = 0;
    std::uint64_t lost_ = 0;
    std::uint64_t waits_for_ = 0;  // an unfinished event, and since when
    std::uint64_t waits_since_ = 0;
};

}  // namespace ground::observe
