#include "common/observe/seams.hpp"

#include <climits>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <linux/futex.h>
#include <stdexcept>
#include <string>
#include <utility>

namespace ground::observe {

namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

// What a thread knows of itself.
struct Self {
    Place* mine = nullptr;     // its own entry, if it needs one
    Place* current = nullptr;  // the conversation that it runs
    std::uint32_t pid = 0;     // 0: not asked yet
    std::uint32_t tid = 0;
    int holds = 0;  // how many things that others need
};
constinit thread_local Self self;

// The conversation of each descriptor in this process.
constinit std::array<std::atomic<Place*>, most_conversations> by_descriptor{};

// The entry of conversations and threads for which the table has no room.
constinit Place nowhere{};

Memory& shared() noexcept { return *memory.load(memory_order_relaxed); }

std::uint64_t nanoseconds() noexcept
{
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec);
}

// CLOCK_MONOTONIC in microseconds. Reading the clock takes about as long as the rest of a seam. The
// processor's counter takes a third of that. So the clock is read only if the last reading is too
// old; in between, the counter tells how much time has passed.
//
// A page fault or another thread may come between the two readings. (A child that was just forked
// has many page faults.) So the result may be late, but must never be early. Otherwise time would
// go back at the next reading of the clock.
#if defined(__x86_64__)
constexpr std::uint64_t trusted = 200'000;  // ticks: less than 0.2 ms
struct Reading {
    std::uint64_t ticks = 0;
    std::uint64_t time = 0;  // nanoseconds
};
Reading first_reading;

std::uint64_t now() noexcept
{
    constinit static thread_local Reading last;
    constinit static thread_local std::uint64_t per_tick = 0;  // nanoseconds, times 2^20
    const std::uint64_t ticks = __builtin_ia32_rdtsc();
    const std::uint64_t passed = ticks - last.ticks;
    if (passed < trusted && per_tick != 0) {
        return (last.time + (passed * per_tick >> 20U)) / 1'000;
    }
    last.time = nanoseconds();
    last.ticks = __builtin_ia32_rdtsc();           // after the clock: see above
    const std::uint64_t long_enough = 10'000'000;  // to know how fast the counter is
    const std::uint64_t since = last.time - first_reading.time;
    if (since >= long_enough && last.ticks > first_reading.ticks) {
        const auto ratio =
            static_cast<double>(since) / static_cast<double>(last.ticks - first_reading.ticks);
        constexpr double rather_late = 0.999;  // the clock itself may be slowed down a little
        per_tick = static_cast<std::uint64_t>(rather_late * ratio * (1U << 20U));
    }
    return last.time / 1'000;
}

void begin_to_count() noexcept
{
    first_reading.ticks = __builtin_ia32_rdtsc();
    first_reading.time = nanoseconds();  // after the counter, so that the counter seems slow
}
#else
std::uint64_t now() noexcept { return nanoseconds() / 1'000; }
void begin_to_count() noexcept {}
#endif

const Self& me() noexcept
{
    if (self.tid == 0) {
        self.pid = static_cast<std::uint32_t>(::getpid());
        self.tid = static_cast<std::uint32_t>(::gettid());
    }
    return self;
}

// --- Lines

// The path of a source file below the source folder, which is known from this file's path.
std::string_view below_source(std::string_view path) noexcept
{
    constexpr std::string_view here = __builtin_FILE();
    constexpr std::string_view name = "common/observe/seams.cpp";
    static_assert(here.ends_with(name));
    constexpr std::string_view root = here.substr(0, here.size() - name.size());
    if (path.starts_with(root)) {
        path.remove_prefix(root.size());
    }
    constexpr std::size_t longest = sizeof(Memory::files[0]) - 1;
    return path.substr(path.size() - std::min(path.size(), longest));
}

// The number of a file in the table that all processes share; 0 if that is full. There is no lock.
// A process that takes a row and dies leaves one row less.
std::uint64_t number_of(std::string_view path) noexcept
{
    const std::string_view name = below_source(path);
    for (std::size_t i = 1; i < most_files; ++i) {
        std::uint8_t is = 0;
        if (shared().file_is[i].compare_exchange_strong(is, 1, memory_order_acquire)) {
            std::copy(name.begin(), name.end(), shared().files[i].begin());
            shared().file_is[i].store(2, memory_order_release);
            return i;
        }
        if (is == 2 && name == shared().files[i].data()) {
            return i;
        }
    }
    return 0;
}

// The same, but cached by the address of the name. Each word has an address and a number.
std::uint64_t file_number(const char* path) noexcept
{
    static constinit std::array<std::atomic<std::uint64_t>, 2 * most_files> known{};
    const std::uint64_t address = reinterpret_cast<std::uintptr_t>(path);
    for (auto& entry : known) {
        std::uint64_t word = entry.load(memory_order_relaxed);
        if (word == 0) {
            const std::uint64_t mine = address << 4U | number_of(path);
            if (entry.compare_exchange_strong(word, mine, memory_order_relaxed)) {
                return mine & 0xf;
            }
        }
        if (word >> 4U == address) {
            return word & 0xf;
        }
    }
    return number_of(path);
}

// File and line as they stand in a Where: 16 bits.
constexpr unsigned since_bits = Where::time_bits;
constexpr unsigned state_bits = 58;

std::uint64_t line_in(std::uint64_t where) noexcept { return where >> since_bits & 0xffff; }

// The line that the entry is pinned to, or this line, or else its last one.
std::uint64_t line_of(const Place& place, Here here) noexcept
{
    if (const std::uint32_t pin = place.pin.load(memory_order_relaxed); pin != 0) {
        return pin;
    }
    if (here.file == nullptr) {
        return line_in(place.now.load(memory_order_relaxed));
    }
    return file_number(here.file) << 12U | (here.line & 0xfff);
}

State state_of(const Place& place) noexcept
{
    return static_cast<State>(place.now.load(memory_order_relaxed) >> state_bits);
}

std::uint64_t where(State state, std::uint64_t line) noexcept
{
    return std::uint64_t{static_cast<std::uint8_t>(state)} << state_bits | line << since_bits |
           (now() & Where::time_mask);
}

// --- What happens

// Takes a place in the ring for this event, unless another event is being written there. A writer
// may have been stopped for so long that the ring has come round meanwhile. Then this event is
// lost, because otherwise both would be mixed. If that writer was killed, its place is free again
// after some rounds.
bool take(Event& event, std::uint64_t number) noexcept
{
    constexpr std::uint64_t dead = 16 * most_events;
    std::uint64_t before = event.sequence.load(memory_order_relaxed);
    const std::uint64_t newest = before & ~Event::unfinished;
    if (newest > number || (before != newest && number - newest < dead) ||
        !event.sequence.compare_exchange_strong(before, (number + 1) | Event::unfinished,
                                                memory_order_relaxed)) {
        return false;
    }
    std::atomic_thread_fence(memory_order_release);
    return true;
}

void tell(const Place& place, std::uint64_t where, std::uint32_t n) noexcept
{
    const std::uint32_t id = place.id.load(memory_order_relaxed);
    if (id == 0) {
        return;
    }
    const std::uint64_t number = shared().written.fetch_add(1, memory_order_relaxed);
    auto& ring = shared().ring;
    Event& event = ring[number % most_events];
    __builtin_prefetch(&ring[(number + 8) % most_events], 1);
    if (!take(event, number)) {
        return;
    }
    event.where.store(where, memory_order_relaxed);
    event.id.store(id, memory_order_relaxed);
    const bool far = place.tid.load(memory_order_relaxed) == 0;  // no thread of this server
    event.tid.store(far ? 0 : me().tid, memory_order_relaxed);
    event.n.store(n, memory_order_relaxed);
    event.for_id.store(place.for_id.load(memory_order_relaxed), memory_order_relaxed);
    event.sequence.store(number + 1, memory_order_release);
}

// Changes state and line. Only for the thread that runs it.
void become(Place& place, State state, std::uint64_t line) noexcept
{
    const std::uint64_t before = place.now.load(memory_order_relaxed);
    if (static_cast<State>(before >> state_bits) == state) {
        if (line_in(before) != line) {
            place.now.store((before & ~(std::uint64_t{0xffff} << since_bits)) | line << since_bits,
                            memory_order_relaxed);
        }
        return;
    }
    const std::uint64_t word = where(state, line);
    place.now.store(word, memory_order_relaxed);
    const bool has_number = state == computes || state == awaits;
    tell(place, word, has_number ? place.n.load(memory_order_relaxed) : 0);
}

// --- Who

Place* take_place(std::size_t first, std::size_t end, Kind kind, State state,
                  std::uint64_t line) noexcept
{
    for (std::size_t i = first; i < end; ++i) {
        Place& place = shared().places[i];
        std::uint32_t nobody = 0;
        if (place.id.load(memory_order_relaxed) == 0 &&
            place.id.compare_exchange_strong(nobody, ~0U, memory_order_acquire)) {
            // A reader that sees one of these also sees that the last one has gone (as in tell()).
            std::atomic_thread_fence(memory_order_release);
            place.pid.store(me().pid, memory_order_relaxed);
            place.tid.store(me().tid, memory_order_relaxed);
            place.peer.store(0, memory_order_relaxed);
            place.n.store(0, memory_order_relaxed);
            place.for_id.store(0, memory_order_relaxed);
            place.requests.store(0, memory_order_relaxed);
            place.taken.store(place.granted.load(memory_order_relaxed), memory_order_relaxed);
            place.pin.store(0, memory_order_relaxed);
            place.now.store(where(state, line), memory_order_relaxed);
            place.kind.store(kind, memory_order_relaxed);
            place.id.store(shared().ids.fetch_add(1, memory_order_relaxed) + 1,
                           memory_order_release);
            return &place;
        }
    }
    return &nowhere;
}

void leave_place(Place& place) noexcept
{
    tell(place, where(gone, line_in(place.now.load(memory_order_relaxed))), 0);
    place.kind.store(Kind::nobody, memory_order_relaxed);
    place.id.store(0, memory_order_release);
}

// Releases this thread's entry when the thread ends. It is an object of its own, because a signal
// handler may be the first to use Self.
struct Leaver {
    bool armed = false;
    ~Leaver()
    {
        Place* const mine = std::exchange(self.mine, nullptr);
        if (mine != nullptr && mine != &nowhere) {
            leave_place(*mine);
        }
    }
};
thread_local Leaver leaver;

void take_own_place(Kind kind, State state) noexcept
{
    leaver.armed = true;  // constructs it
    self.mine = take_place(most_conversations, most_conversations + most_others, kind, state, 0);
}

Place& own() noexcept
{
    if (self.mine == nullptr) {
        take_own_place(Kind::thread, runs);
        tell(*self.mine, self.mine->now.load(memory_order_relaxed), 0);
    }
    return *self.mine;
}

// The conversation that this thread runs has ended.
void run_no_longer() noexcept
{
    self.current = nullptr;
    if (self.mine != nullptr) {
        self.mine->for_id.store(0, memory_order_relaxed);
    }
}

void switch_to(Place* conversation) noexcept
{
    if (self.current == conversation) {
        return;
    }
    // A conversation that still runs and has not reported a wait waits for a callback (in 04b).
    if (self.current != nullptr && state_of(*self.current) == runs) {
        become(*self.current, receives, line_of(*self.current, {}));
    }
    self.current = conversation;
    std::uint32_t id = 0;
    if (conversation != nullptr) {
        id = conversation->id.load(memory_order_relaxed);
        if (conversation->tid.load(memory_order_relaxed) != me().tid) {
            conversation->pid.store(self.pid, memory_order_relaxed);
            conversation->tid.store(self.tid, memory_order_relaxed);
        }
    }
    if (self.mine != nullptr) {
        self.mine->for_id.store(id, memory_order_relaxed);
    }
}

Who who_is(const Place& place) noexcept
{
    if (&place == &nowhere) {
        return this_thread;
    }
    return {static_cast<std::int32_t>(-3 - (&place - shared().places.data())),
            place.id.load(memory_order_relaxed)};
}

// The conversation that is meant, or nullptr if no conversation is meant.
Place* conversation(Who who) noexcept
{
    if (who.key < this_thread.key) {
        Place& place = shared().places[static_cast<std::size_t>(-3 - who.key)];
        return place.id.load(memory_order_relaxed) == who.id ? &place : &nowhere;
    }
    if (who.key >= 0) {
        const auto fd = static_cast<std::size_t>(who.key);
        return fd < by_descriptor.size() ? by_descriptor[fd].load(memory_order_relaxed) : &nowhere;
    }
    return who.key == whoever_runs.key ? self.current : nullptr;
}

// Finds the entry, which this thread runs from now on.
Place& find(Who who) noexcept
{
    Place* const place = conversation(who);
    switch_to(place);
    return place != nullptr ? *place : own();
}

// --- The gate

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) noexcept
{
    return ::syscall(SYS_futex, &word, operation, value, timeout, nullptr, 0);
}

// A new pause uses up the steps that are left of the last pause. So an atomic exchange, here and in
// Watcher::pause(), decides whether a step is taken or used up.
//
// Both counts only grow, but `granted` may be older here than `taken`: the two loads do not happen
// at once, and an ARM processor may do them in either order. So "not equal" is not enough.
bool is_left(std::uint32_t granted, std::uint32_t taken) noexcept
{
    return static_cast<std::int32_t>(granted - taken) > 0;  // they may begin again at 0
}

bool takes_a_step(Place& place) noexcept
{
    const std::uint32_t granted = place.granted.load(memory_order_relaxed);
    std::uint32_t last = place.taken.load(memory_order_relaxed);
    if (is_left(granted, last) &&
        place.taken.compare_exchange_strong(last, granted, memory_order_relaxed)) {
        return true;
    }
    Control& control = shared().control;
    std::uint32_t taken = control.taken.load(memory_order_relaxed);
    while (is_left(control.granted.load(memory_order_relaxed), taken)) {
        if (control.taken.compare_exchange_weak(taken, taken + 1, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

// Holds the caller until it may continue, or until the lease is no longer renewed.
void be_held(Place& place, std::uint64_t line, Deed next) noexcept
{
    Control& control = shared().control;
    const std::uint64_t begin = now();
    if (self.holds > 0 || control.stopped.load(memory_order_relaxed) != 0 ||
        begin >= control.lease.load(memory_order_relaxed)) {
        return;
    }
    place.next.store(next, memory_order_relaxed);
    become(place, held, line);
    for (;;) {
        const std::uint32_t turn = control.changed.load(memory_order_acquire);
        const Pace pace = control.pace.load(memory_order_relaxed);
        const std::uint64_t time = now();
        std::uint64_t until = control.lease.load(memory_order_relaxed);
        if (pace == Pace::slow) {
            until = std::min(until, begin + control.step.load(memory_order_relaxed));
        }
        if (pace == Pace::free || control.stopped.load(memory_order_relaxed) != 0 ||
            time >= until || (pace == Pace::paused && takes_a_step(place))) {
            return;
        }
        const std::uint64_t left = until - time;
        const timespec timeout{static_cast<time_t>(left / 1'000'000),
                               static_cast<long>(left % 1'000'000 * 1'000)};
        futex(control.changed, FUTEX_WAIT, turn, &timeout);
    }
}

// A pinned conversation has passed the gate already, at the line where it is pinned.
void gate(Place& place, Here here, Deed next) noexcept
{
    if (shared().control.pace.load(memory_order_relaxed) != Pace::free &&
        place.pin.load(memory_order_relaxed) == 0) [[unlikely]] {
        be_held(place, line_of(place, here), next);
    }
}

// What an entry that will be in this state is about to do.
constexpr Deed deed(State state) noexcept
{
    switch (state) {
        case accepts:
            return Deed::accepts;
        case receives:
            return Deed::receives;
        case sends:
            return Deed::sends;
        case computes:
            return Deed::computes;
        case awaits:
            return Deed::awaits;
        case selects:
            return Deed::selects;
        default:
            return Deed::passes;
    }
}

}  // namespace

// --- Seams

Place* detail::enter(State state, Who who, Here here, unsigned n) noexcept
{
    Place& place = find(who);
    if (state != idles) {
        gate(place, here, deed(state));
    }
    if (state == computes) {
        place.n.store(n, memory_order_relaxed);
    }
    become(place, state, line_of(place, here));
    return &place;
}

// A greenlet that was switched to inside the seam (06c) runs its conversation again.
void detail::leave(Place& place, State before) noexcept
{
    if (&place != self.current && &place != self.mine && place.id.load(memory_order_relaxed) != 0)
        [[unlikely]] {
        switch_to(&place);
    }
    become(place, before, line_of(place, {}));
}

Place* detail::enter_meanwhile(State state, State& before) noexcept
{
    Place& place = find(whoever_runs);
    before = state_of(place);
    become(place, state, line_of(place, {}));
    return &place;
}

void detail::pass(Who who, Here here, bool may_stop) noexcept
{
    Place& place = find(who);
    if (may_stop) {
        gate(place, here, Deed::passes);
    }
    if (place.n.load(memory_order_relaxed) != 0) {
        place.n.store(0, memory_order_relaxed);
    }
    become(place, runs, line_of(place, here));
}

void detail::stop() noexcept
{
    Place& place = find(whoever_runs);
    const State before = state_of(place);
    gate(place, {}, Deed::takes_gil);
    become(place, before, line_of(place, {}));
}

// A scheduler's thread that waits for a listener or a poke runs other conversations meanwhile.
void detail::wait(State state, Who who, Here here) noexcept
{
    Place& place = find(who);
    if (&place == self.mine && state == receives) {
        state = runs;
    } else if (state_of(place) == state) {
        switch_to(nullptr);
        return;
    }
    gate(place, here, deed(state));
    become(place, state, line_of(place, here));
    switch_to(nullptr);
    // The result may come just now. One side writes the state and then reads the result; the other
    // side writes the result and then reads the state. One of them must see what the other did.
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

void detail::ready(Who who) noexcept
{
    Place* const place = conversation(who);
    if (place == nullptr) {
        return;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::uint64_t before = place->now.load(memory_order_relaxed);
    const State state = static_cast<State>(before >> state_bits);
    if (state != awaits && state != receives && state != sends) {
        return;
    }
    const std::uint64_t word = where(State::ready, line_in(before));
    if (place->now.compare_exchange_strong(before, word, memory_order_relaxed)) {
        tell(*place, word, place->n.load(memory_order_relaxed));
        place->for_id.store(0, memory_order_relaxed);
    }
}

void detail::submit(unsigned n, Here here) noexcept
{
    Place& place = find(whoever_runs);
    gate(place, here, Deed::submits);
    place.n.store(n, memory_order_relaxed);
    const std::uint64_t word = where(runs, line_of(place, here));
    place.now.store(word, memory_order_relaxed);
    tell(place, word, n);
}

void detail::open(int fd, Here here) noexcept
{
    if (static_cast<std::size_t>(fd) >= by_descriptor.size()) {
        return;
    }
    sockaddr_in6 peer{};  // an IPv4 address has its port at the same place
    socklen_t size = sizeof peer;
    ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size);
    const std::uint16_t port = ntohs(peer.sin6_port);
    Place* const place = take_place(static_cast<std::size_t>(fd), most_conversations,
                                    Kind::conversation, State::ready, line_of(nowhere, here));
    by_descriptor[static_cast<std::size_t>(fd)].store(place, memory_order_relaxed);
    place->peer.store(port, memory_order_relaxed);
    tell(*place, place->now.load(memory_order_relaxed), port);
}

void detail::close(int fd) noexcept
{
    if (static_cast<std::size_t>(fd) >= by_descriptor.size()) {
        return;
    }
    Place* const place = by_descriptor[static_cast<std::size_t>(fd)].exchange(nullptr);
    if (place == nullptr) {
        return;
    }
    if (self.current == place) {
        run_no_longer();
    }
    if (place != &nowhere) {
        leave_place(*place);  // from here on another one may take it
    }
}

void detail::answer(Who who, std::string_view text) noexcept
{
    Place& place = find(who);
    const auto replies = static_cast<std::uint32_t>(std::count(text.begin(), text.end(), '\n'));
    place.requests.store(place.requests.load(memory_order_relaxed) + replies, memory_order_relaxed);
}

void detail::run(Who who) noexcept { find(who); }

void detail::wait_is_for_send(int fd) noexcept
{
    Place* const place = conversation(client(fd));
    if (place != nullptr && state_of(*place) == receives) {
        become(*place, sends, line_of(*place, {}));
    }
}

void detail::run_none() noexcept { switch_to(nullptr); }

Who detail::last() noexcept
{
    return self.current != nullptr ? who_is(*self.current) : whoever_runs;
}

Place* detail::pin(Here here) noexcept
{
    Place* const place = self.current;
    if (place == nullptr || place->pin.load(memory_order_relaxed) != 0) {
        return nullptr;
    }
    pass(whoever_runs, here, true);
    place->pin.store(static_cast<std::uint32_t>(line_of(*place, here)), memory_order_relaxed);
    return place;
}

void detail::unpin(Place& place) noexcept { place.pin.store(0, memory_order_relaxed); }

void detail::become_worker(std::uint32_t owner) noexcept
{
    take_own_place(Kind::worker, idles);
    self.mine->owner.store(owner, memory_order_relaxed);
    tell(*self.mine, self.mine->now.load(memory_order_relaxed), 0);
}

void detail::work_for(Who who) noexcept
{
    Place& worker = own();
    Place* const asks = who.key < this_thread.key ? conversation(who) : nullptr;
    worker.for_id.store(asks != nullptr ? asks->id.load(memory_order_relaxed) : 0,
                        memory_order_relaxed);
    if (asks != nullptr) {
        asks->for_id.store(worker.id.load(memory_order_relaxed), memory_order_relaxed);
    }
}

void detail::rest() noexcept
{
    Place& worker = own();
    worker.for_id.store(0, memory_order_relaxed);
    worker.n.store(0, memory_order_relaxed);
    become(worker, idles, line_of(worker, {}));
}

// It has no process or thread here. If the owner dies, the entry is forgotten with it.
Place* detail::far_worker() noexcept
{
    Place* const place =
        take_place(most_conversations, most_conversations + most_others, Kind::worker, idles, 0);
    place->owner.store(me().pid, memory_order_relaxed);
    place->pid.store(0, memory_order_relaxed);
    place->tid.store(0, memory_order_relaxed);
    tell(*place, place->now.load(memory_order_relaxed), 0);
    return place;
}

void detail::far_worker_computes(Place& place, unsigned n, Who who) noexcept
{
    Place* const asks = who.key < this_thread.key ? conversation(who) : nullptr;
    place.n.store(n, memory_order_relaxed);
    place.for_id.store(asks != nullptr ? asks->id.load(memory_order_relaxed) : 0,
                       memory_order_relaxed);
    if (asks != nullptr) {
        asks->for_id.store(place.id.load(memory_order_relaxed), memory_order_relaxed);
    }
    become(place, computes, 0);
}

void detail::far_worker_rests(Place& place) noexcept
{
    place.for_id.store(0, memory_order_relaxed);
    place.n.store(0, memory_order_relaxed);
    become(place, idles, 0);
}

void detail::far_worker_leaves(Place& place) noexcept
{
    if (&place != &nowhere) {
        leave_place(place);
    }
}

void detail::forget(std::uint32_t pid) noexcept
{
    for (Place& place : shared().places) {
        if (place.id.load(memory_order_acquire) != 0 &&
            place.pid.load(memory_order_relaxed) == pid) {
            leave_place(place);
        }
    }
    forget_workers(pid);
}

void detail::forget_workers(std::uint32_t owner) noexcept
{
    for (std::size_t i = most_conversations; i < shared().places.size(); ++i) {
        Place& place = shared().places[i];
        if (place.kind.load(memory_order_relaxed) == Kind::worker &&
            place.owner.load(memory_order_relaxed) == owner) {
            leave_place(place);
        }
    }
}

void detail::end_pauses() noexcept
{
    Control& control = shared().control;
    control.stopped.store(1, memory_order_relaxed);
    control.changed.fetch_add(1, memory_order_release);
    futex(control.changed, FUTEX_WAKE, INT_MAX, nullptr);
}

void detail::hold(int change) noexcept { self.holds += change; }

// The entry stays at the line of the share, also during the code that follows it in the same
// function.
void detail::share(Deed deed, const void* object, std::uint32_t value, Here here) noexcept
{
    Place& place = find(whoever_runs);
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    place.object.store(static_cast<std::uint32_t>(address ^ address >> 32U), memory_order_relaxed);
    place.value.store(value, memory_order_relaxed);
    gate(place, here, deed);
    become(place, runs, line_of(place, here));
}

void detail::saw(std::uint32_t value) noexcept
{
    find(whoever_runs).found.store(value, memory_order_relaxed);
}

Place* detail::wait_for_lock(std::uint32_t holder) noexcept
{
    Place& place = find(whoever_runs);
    place.for_id.store(holder, memory_order_relaxed);
    become(place, locked, line_of(place, {}));
    return &place;
}

std::uint32_t detail::running() noexcept
{
    return find(whoever_runs).id.load(memory_order_relaxed);
}

// --- The beginning

void attach(int descriptor)
{
    struct stat status {};
    if (::fstat(descriptor, &status) == -1 || status.st_size != sizeof(Memory)) {
        throw std::runtime_error("it is no watcher's memory");
    }
    void* const there =
        ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (there == MAP_FAILED) {
        throw std::runtime_error("it can't be mapped");
    }
    auto* const found = static_cast<Memory*>(there);
    if (found->magic != Memory::right_magic) {
        throw std::runtime_error("it is no watcher's memory");
    }
    begin_to_count();
    found->server.store(static_cast<std::uint32_t>(::getpid()));
    memory.store(found);
    // A forked child has one thread, which has no entry yet.
    ::pthread_atfork(nullptr, nullptr, [] { self = Self(); });
}

void attach()
{
    const char* const number = std::getenv("GROUND_WATCH");
    if (number == nullptr) {
        return;
    }
    const std::string_view text = number;
    int descriptor = -1;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), descriptor);
    if (problem != std::errc() || end != text.data() + text.size() || descriptor < 0) {
        throw std::runtime_error("it is no descriptor");
    }
    attach(descriptor);
    ::close(descriptor);
    ::unsetenv("GROUND_WATCH");
}

}  // namespace ground::observe
