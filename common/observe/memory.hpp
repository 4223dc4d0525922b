// memory.hpp -- what an observed server writes into shared memory, and its watcher reads.
//
// A table says where the server is now. It has an entry (Place) for each conversation, thread and
// worker. A ring says what has happened: it has an Event for each change. Writers never wait for
// readers. If a reader is too slow, it loses events, and counts them. With a gate (Control) the
// watcher can slow the server down or stop it, for as long as it renews its lease.
//
// All of this lies in one sealed memfd that the server and its children share with the watcher.
// Everything is atomic and lock-free, so a process that dies at any moment leaves nothing locked.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ground::observe {

enum class Kind : std::uint8_t {
    nobody,        // the entry is free
    conversation,  // of a client; its index in the table: its descriptor's number, or higher
    thread,        // of the server, without a conversation: main, a loop, a pool's thread
    worker,        // a process, or a thread, of the pool
};

enum class State : std::uint8_t {
    gone,      // has ended (only in events; an entry in the table is free then)
    runs,      // has a CPU, or would use one if it got it
    computes,  // runs fib(n)
    ready,     // waits for its turn: in a scheduler's queue, or its result is there
    accepts,   // waits for a new client
    receives,  // waits for bytes
    sends,     // waits for room
    awaits,    // waits for a result from the pool
    locked,    // waits for a lock (02b: the GIL)
    selects,   // a scheduler waits for any of its sockets
    idles,     // a worker or a pool's thread without work
    sleeps,    // waits for time to pass
    held,      // stopped at the gate
};

// What a conversation, thread or worker that is held will do next. The last five are about
// something that threads share: an Atomic or a Mutex (common/wait/shared.hpp).
enum class Deed : std::uint8_t {
    passes,  // comes to this line
    accepts,
    receives,
    sends,
    computes,
    submits,  // hands a number to the pool
    awaits,   // waits for a result
    selects,
    takes_gil,
    reads,
    writes,
    changes,  // reads and writes in one step
    locks,
    unlocks,
};

// State, line and time of an entry, in one word, so that a reader never sees half of it.
struct Where {
    State state = State::gone;
    std::uint8_t file = 0;    // index into Memory::files; 0: not known
    std::uint16_t line = 0;   // of that file
    std::uint64_t since = 0;  // microseconds of CLOCK_MONOTONIC

    // The word has room for 50.9 days of microseconds. On a machine that runs for longer, the time
    // in the word begins again at 0. So unpacked() must be told roughly what time it is.
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
    std::atomic<std::uint32_t> id;   // never used twice in the life of the server; 0: free
    std::atomic<Kind> kind;
    std::atomic<Deed> next;           // while it is held: what it is about to do
    std::atomic<std::uint16_t> peer;  // of a conversation: the client's port
    std::atomic<std::uint32_t> pid;   // process and thread that ran it last
    std::atomic<std::uint32_t> tid;
    std::atomic<std::uint32_t> n;  // what is computed, or waited for
    // Of a worker or thread: the conversation that it works for. Of a conversation: the worker that
    // it waits for. In state `locked`: the holder of the lock, if that is known. 0: none.
    std::atomic<std::uint32_t> for_id;
    std::atomic<std::uint32_t> requests;  // answered so far
    std::atomic<std::uint32_t> granted;   // the gate: the last step that the watcher has allowed
    std::atomic<std::uint32_t> taken;     // the gate: the last step that was used up
    std::atomic<std::uint32_t> owner;     // of a worker: the process that owns its pool
    std::atomic<std::uint32_t> pin;       // only for the server: see Calls in seams.hpp
    // About the last shared thing that it came to. `object` says which thing (a number made from
    // its address). `value` is what it will write, and `found` is what it has read last: the lower
    // half of each.
    std::atomic<std::uint32_t> object;
    std::atomic<std::uint32_t> value;
    std::atomic<std::uint32_t> found;
};
static_assert(sizeof(Place) == 64);

// A change of state. A new line in the same state is no event: only the table has it.
struct Event {
    // The event's number plus 1, written last. While the event is being written, its bit
    // `unfinished` is set.
    static constexpr std::uint64_t unfinished = std::uint64_t{1} << 63U;
    std::atomic<std::uint64_t> sequence;
    std::atomic<std::uint64_t> where;  // a Where; its time is the event's
    std::atomic<std::uint32_t> id;     // of the entry
    std::atomic<std::uint32_t> tid;    // of the thread that ran it
    // As in the entry. In a conversation's first event, the port of its client. In state `runs`,
    // the number that it has just submitted to the pool, or 0.
    std::atomic<std::uint32_t> n;
    std::atomic<std::uint32_t> for_id;
};
static_assert(sizeof(Event) == 32);

enum class Pace : std::uint32_t { free, slow, paused };

// Written by the watcher, except `taken` and `stopped`.
struct Control {
    std::atomic<Pace> pace;
    std::atomic<std::uint32_t> step;  // slow: microseconds that each step takes
    // The pace holds until this time (CLOCK_MONOTONIC, microseconds). Afterwards all run freely.
    std::atomic<std::uint64_t> lease;
    std::atomic<std::uint32_t> granted;  // paused: how many steps any entry may take ...
    std::atomic<std::uint32_t> taken;    // ... and how many are used up (a pause uses up the rest)
    // Counts the changes of the members above, and granted steps. It is a futex(2): threads that
    // are held wait for it, at most until the lease ends.
    std::atomic<std::uint32_t> changed;
    std::atomic<std::uint32_t> stopped;  // the server ends: nothing is held from now on
};
inline constexpr std::uint64_t lease_time = 2'000'000;  // renew it at least twice as often

inline constexpr std::size_t most_conversations =
    16'384;  // descriptors beyond that are served, but not shown
inline constexpr std::size_t most_others =
    1'024;  // threads and workers, after the conversations in the table
inline constexpr std::size_t most_events = 1 << 16;
inline constexpr std::size_t most_files = 16;

struct Memory {
    static constexpr std::uint64_t right_magic = 0x31'44'4e'55'4f'52'47'00;
    std::uint64_t magic;
    std::atomic<std::uint32_t> server;  // its process; 0: not started yet
    std::atomic<std::uint32_t> ids;     // given out so far
    Control control;
    // Paths below the source folder, for example "stages/05_futures.cpp". [0] is empty.
    std::array<std::array<char, 64>, most_files> files;
    std::array<std::atomic<std::uint8_t>, most_files>
        file_is;  // 0: free, 1: being written, 2: written
    // How many events there were. The next goes to ring[written % most_events].
    alignas(64) std::atomic<std::uint64_t> written;
    std::array<Place, most_conversations + most_others> places;
    std::array<Event, most_events> ring;
};

}  // namespace ground::observe
