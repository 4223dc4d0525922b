// memory.hpp -- what an observed server writes into shared memory, and who watches it reads.
//
// A table says where everybody is now: an entry (Place) for each conversation, thread and worker. A
// ring says what has happened since: an Event for each change. Writers never wait for readers: what
// a reader was too slow for is lost, and counted. A gate (Control) lets the watcher slow the server
// down or stop it, as long as it renews its lease.
//
// All of it lies in one sealed memfd that the server and its children share with the watcher.
// Everything is atomic and lock-free, so a process that dies at any moment leaves nothing locked.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ground::observe {

enum class Kind : std::uint8_t {
    nobody,        // the entry is free
    conversation,  // a client's; in the table at the number of its descriptor, or behind
    thread,        // of the server's own, with no conversation: main, a loop, a pool's thread
    worker,        // a process, or a thread, of the pool
};

enum class State : std::uint8_t {
    gone,      // has ended (only in events; an entry in the table is free then)
    runs,      // has the processor, or would have it
    computes,  // runs fib(n)
    ready,  // could go on and waits for its turn: in the queue of a scheduler, or for a result that
            // is there
    accepts,   // waits for a newcomer
    receives,  // waits for bytes
    sends,     // waits for room
    awaits,    // waits for a result of the pool
    locked,    // waits for a lock (02b: the GIL)
    selects,   // a scheduler that waits for any of its sockets
    idles,     // a worker or a pool's thread without work
    sleeps,    // waits for time to pass
    held,      // stopped at the gate
};

// Where somebody is, in one word, so that a reader never sees half of it.
struct Where {
    State state = State::gone;
    std::uint8_t file = 0;    // index into Memory::files; 0: not known
    std::uint16_t line = 0;   // of that file
    std::uint64_t since = 0;  // microseconds of CLOCK_MONOTONIC

    // The word has room for 50.9 days of them. A machine may run for longer: then the time begins
    // again at 0 in the word, and whoever unpacks it says what time it is about.
    static constexpr unsigned time_bits = 42;
    static constexpr std::uint64_t time_mask = (std::uint64_t{1} << time_bits) - 1;

    [[nodiscard]] constexpr std::uint64_t packed() const noexcept
    {
        return std::uint64_t{static_cast<std::uint8_t>(state)} << 58U |
               (std::uint64_t{file} & 0xf) << 54U | (std::uint64_t{line} & 0xfff) << time_bits |
               (since & time_mask);
    }
    [[nodiscard]] static constexpr Where unpacked(std::uint64_t word, std::uint64_t about) noexcept
    {
        const std::uint64_t before = (about - word) & time_mask;
        const bool is_later = before > time_mask / 2;  // written after the clock was read
        return {static_cast<State>(word >> 58U), static_cast<std::uint8_t>(word >> 54U & 0xf),
                static_cast<std::uint16_t>(word >> time_bits & 0xfff),
                about - before + (is_later ? time_mask + 1 : 0)};
    }
};

struct alignas(64) Place {
    std::atomic<std::uint64_t> now;  // a Where
    std::atomic<std::uint32_t>
        id;  // counts up over the life of the server: no two share one; 0: free
    std::atomic<Kind> kind;
    std::atomic<std::uint16_t> peer;  // a conversation's: its client's port
    std::atomic<std::uint32_t> pid;   // process and thread that were last seen to run it
    std::atomic<std::uint32_t> tid;
    std::atomic<std::uint32_t> n;  // what is computed, or waited for
    // A worker's or thread's: the conversation it works for. A conversation's: the worker it waits
    // for. 0: none.
    std::atomic<std::uint32_t> for_id;
    std::atomic<std::uint32_t> requests;  // answered so far
    std::atomic<std::uint32_t> granted;   // the gate: the step that the watcher has allowed last
    std::atomic<std::uint32_t> taken;     // (it alone writes), and the last that was used up
    std::atomic<std::uint32_t> owner;     // a worker's: the process whose pool it is of
    std::atomic<std::uint32_t> pin;       // the server's own: see seams.hpp
};
static_assert(sizeof(Place) == 64);

// A change of state. Of a new line in the same state there is none: that is for the table alone.
struct Event {
    // Its number plus 1, written last; with this bit set while it is being written.
    static constexpr std::uint64_t unfinished = std::uint64_t{1} << 63U;
    std::atomic<std::uint64_t> sequence;
    std::atomic<std::uint64_t> where;  // a Where; its time is the event's
    std::atomic<std::uint32_t> id;     // whose
    std::atomic<std::uint32_t> tid;    // who ran it
    // As the entry's. In a conversation's first event the port of its client; and where it `runs`
    // it is not 0 if it has just submitted that to the pool.
    std::atomic<std::uint32_t> n;
    std::atomic<std::uint32_t> for_id;
};
static_assert(sizeof(Event) == 32);

enum class Pace : std::uint32_t { free, slow, paused };

// Written by the watcher, but for what the server takes and for its stop.
struct Control {
    std::atomic<Pace> pace;
    std::atomic<std::uint32_t> step;  // slow: microseconds that each step takes
    // Until when (CLOCK_MONOTONIC, microseconds) pace counts: after it everybody is free.
    std::atomic<std::uint64_t> lease;
    std::atomic<std::uint32_t> granted;  // paused: steps that anybody may take, counted up ...
    std::atomic<std::uint32_t> taken;    // ... and that were used up, by the server or by a pause
    // Counted up by whoever changes one of the above, or grants somebody a step: a futex(2), at
    // which everybody who is held waits, until the lease ends at the latest.
    std::atomic<std::uint32_t> changed;
    std::atomic<std::uint32_t> stopped;  // the server comes to its end: nobody is held any more
};
inline constexpr std::uint64_t lease_time = 2'000'000;  // renew it at least twice as often

inline constexpr std::size_t most_conversations =
    16'384;  // descriptors beyond that are served, and not shown
inline constexpr std::size_t most_others =
    1'024;  // threads and workers, after the conversations in the table
inline constexpr std::size_t most_events = 1 << 16;
inline constexpr std::size_t most_files = 16;

struct Memory {
    static constexpr std::uint64_t right_magic = 0x31'44'4e'55'4f'52'47'00;
    std::uint64_t magic;
    std::atomic<std::uint32_t> server;  // its process; 0: not there yet
    std::atomic<std::uint32_t> ids;     // given out so far
    Control control;
    // Paths below the source folder: "stages/05_futures.cpp". [0] is empty.
    std::array<std::array<char, 64>, most_files> files;
    std::array<std::atomic<std::uint8_t>, most_files> file_is;  // 0: free, 1: taken, 2: there
    // Events so far: the next goes to ring[written % most_events].
    alignas(64) std::atomic<std::uint64_t> written;
    std::array<Place, most_conversations + most_others> places;
    std::array<Event, most_events> ring;
};

}  // namespace ground::observe
