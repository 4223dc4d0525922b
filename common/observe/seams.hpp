// seams.hpp -- how a server says where it is.
//
// The functions of common/ that every stage calls anyway begin with one of the calls below: a seam.
// So a watcher sees, line by line, where each conversation is, and no stage needs a line for that.
// At a seam the watcher can also hold a conversation, a thread or a worker (the gate).
//
// A server that was started without a watcher pays a load and a branch for each seam.
//
// Which conversation is at a seam? The descriptor of a socket says whose it is. A future and a
// Requests remember the conversation that made them. Seams that know less (fib, submit, a lock)
// take the last conversation that this thread was known to run.
#pragma once

#include "common/observe/memory.hpp"

#include <atomic>
#include <cstdint>
#include <string_view>
#include <variant>

namespace ground {

// The caller's line, as the default of a function's last parameter: Here here = Here::at(). (clang
// 14 has no std::source_location.) If a call has several lines, GCC may take the last line, clang
// the first.
struct Here {
    const char* file = nullptr;  // nullptr: the line stays as it is
    unsigned line = 0;

    [[nodiscard]] static constexpr Here at(const char* file = __builtin_FILE(),
                                           unsigned line = __builtin_LINE()) noexcept
    {
        return {file, line};
    }
};

}  // namespace ground

namespace ground::observe {

using enum State;

// Written once, before there are threads.
inline constinit std::atomic<Memory*> memory{nullptr};

[[nodiscard]] inline bool watched() noexcept
{
    return memory.load(std::memory_order_relaxed) != nullptr;
}

// A conversation, thread or worker, by what a seam knows of it. You may keep a Who: when its
// conversation has ended, it refers to nothing.
struct Who {
    std::int32_t key = -1;  // a client's descriptor; below -2: an entry in the table
    std::uint32_t id = 0;   // of that entry
};
// The last conversation that this thread ran or, if there is none, this thread.
inline constexpr Who whoever_runs{-1};
inline constexpr Who this_thread{-2};
// The conversation of this descriptor or, if it has none (a listener, a poke), this thread.
[[nodiscard]] constexpr Who client(int fd) noexcept { return {fd}; }
[[nodiscard]] constexpr Who client(auto& socket) noexcept { return client(socket.descriptor()); }

namespace detail {
Place* enter(State state, Who who, Here here, unsigned n) noexcept;
void leave(Place& place, State before) noexcept;
Place* enter_meanwhile(State state, State& before) noexcept;
void pass(Who who, Here here, bool may_stop) noexcept;
void stop() noexcept;
void wait(State state, Who who, Here here) noexcept;
void ready(Who who) noexcept;
void submit(unsigned n, Here here) noexcept;
void open(int fd, Here here) noexcept;
void close(int fd) noexcept;
void answer(Who who, std::string_view text) noexcept;
void run(Who who) noexcept;
void run_none() noexcept;
void wait_is_for_send(int fd) noexcept;
Who last() noexcept;
Place* pin(Here here) noexcept;
void unpin(Place& place) noexcept;
void become_worker(std::uint32_t owner) noexcept;
void work_for(Who who) noexcept;
void rest() noexcept;
Place* far_worker() noexcept;
void far_worker_computes(Place& place, unsigned n, Who who) noexcept;
void far_worker_rests(Place& place) noexcept;
void far_worker_leaves(Place& place) noexcept;
void forget(std::uint32_t pid) noexcept;
void forget_workers(std::uint32_t owner) noexcept;
void end_pauses() noexcept;
void hold(int change) noexcept;
void share(Deed deed, const void* object, std::uint32_t value, Here here) noexcept;
void saw(std::uint32_t value) noexcept;
Place* wait_for_lock(std::uint32_t holder) noexcept;
std::uint32_t running() noexcept;
}  // namespace detail

// This state holds for as long as the Seam lives. Afterwards the state is `runs`. A function that
// may block or take long begins with one.
class Seam {
  public:
    Seam(State state, Who who, Here here, unsigned n = 0) noexcept
    {
        if (watched()) [[unlikely]] {
            place_ = detail::enter(state, who, here, n);
        }
    }
    ~Seam()
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::leave(*place_, State::runs);
        }
    }
    Seam(const Seam&) = delete;
    Seam& operator=(const Seam&) = delete;

  private:
    Place* place_ = nullptr;
};

// A state for a short time in between, if is_so. It has no line of its own and can't be held.
// Afterwards the state is as before.
class Meanwhile {
  public:
    explicit Meanwhile(State state, bool is_so) noexcept
    {
        if (watched() && is_so) [[unlikely]] {
            place_ = detail::enter_meanwhile(state, before_);
        }
    }
    ~Meanwhile()
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::leave(*place_, before_);
        }
    }
    Meanwhile(const Meanwhile&) = delete;
    Meanwhile& operator=(const Meanwhile&) = delete;

  private:
    Place* place_ = nullptr;
    State before_ = State::runs;
};

// `who` runs and has come to this line.
inline void passes(Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::pass(who, here, true);
    }
}

// As passes(), but without the gate, because another seam in the same line has the gate.
inline void is_at(Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::pass(who, here, false);
    }
}

// A gate for the conversation or thread that runs, at whatever line it is.
inline void may_stop() noexcept
{
    if (watched()) [[unlikely]] {
        detail::stop();
    }
}

// `who` waits from now on: it is parked, and not inside a call. The code that resumes it reports
// that. If `who` is in this state already, it stays at the line that reported the state first.
inline void waits(State state, Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::wait(state, who, here);
    }
}

// From now on this thread runs the conversation `who`.
inline void runs_now(Who who) noexcept
{
    if (watched()) [[unlikely]] {
        detail::run(who);
    }
}

// A scheduler waits for room to send at these sockets. The keys are descriptors.
template <typename Map>
void waits_are_for_send(const Map& sockets) noexcept
{
    if (watched()) [[unlikely]] {
        for (const auto& [fd, value] : sockets) {
            detail::wait_is_for_send(fd);
        }
    }
}

// What `who` has waited for is there. From now on `who` waits for its turn.
inline void is_ready(Who who) noexcept
{
    if (watched()) [[unlikely]] {
        detail::ready(who);
    }
}

// A conversation begins or ends.
inline void opens(int fd, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::open(fd, here);
    }
}
inline void closes(int fd) noexcept
{
    if (watched()) [[unlikely]] {
        detail::close(fd);
    }
}

// These replies are on their way to the client.
inline void answers(Who who, std::string_view replies) noexcept
{
    if (watched()) [[unlikely]] {
        detail::answer(who, replies);
    }
}

// The conversation that runs asks the pool for fib(n).
inline void submits(unsigned n, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::submit(n, here);
    }
}

// The conversation that this thread runs, or none. You may keep the result.
[[nodiscard]] inline Who whose() noexcept { return watched() ? detail::last() : whoever_runs; }

// The current conversation of this thread pauses. Then the thread runs none.
inline void pauses() noexcept
{
    if (watched()) [[unlikely]] {
        detail::run_none();
    }
}

// A task tells its scheduler what it waits for: something with a descriptor, or with a future, or a
// variant of these. (Only select() is told whether the task will read or write. Until then the task
// counts as `receives`.)
template <typename Wait>
void reports_wait(const Wait& wait, Here here) noexcept;

namespace detail {

template <typename What>
void say(const What& what, Here here) noexcept
{
    if constexpr (requires { what.future.waits(here); }) {
        what.future.waits(here);
    } else if constexpr (requires { client(what.fd); }) {
        wait(State::receives, client(what.fd), here);
    }
}

template <typename... Whats>
void say(const std::variant<Whats...>& what, Here here) noexcept
{
    std::visit([here](const auto& one) { say(one, here); }, what);
}

}  // namespace detail

template <typename Wait>
void reports_wait(const Wait& wait, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::say(wait, here);
    }
}

// A coroutine awaits another one. Until the other one returns, the conversation is shown at this
// line, whatever lines the other one comes to.
class Calls {
  public:
    explicit Calls(Here here) noexcept : place_(watched() ? detail::pin(here) : nullptr) {}
    void returns() noexcept
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::unpin(*place_);
        }
    }

  private:
    Place* place_;
};

// This process or thread is a worker of the pool that `process` owns.
inline void becomes_worker(int process) noexcept
{
    if (watched()) [[unlikely]] {
        detail::become_worker(static_cast<std::uint32_t>(process));
    }
}
// The conversation that this worker computes for, while the object lives.
class WorksFor {
  public:
    explicit WorksFor(Who who) noexcept
    {
        if (watched()) [[unlikely]] {
            detail::work_for(who);
        }
    }
    ~WorksFor()
    {
        if (watched()) [[unlikely]] {
            detail::rest();
        }
    }
    WorksFor(const WorksFor&) = delete;
    WorksFor& operator=(const WorksFor&) = delete;
};

// A worker that is another program, perhaps on another machine (10_worker). What it has told this
// server is entered here, by one thread at a time. The entry ends with the object. Nothing can hold
// it.
class FarWorker {
  public:
    FarWorker() noexcept : place_(watched() ? detail::far_worker() : nullptr) {}
    ~FarWorker()
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::far_worker_leaves(*place_);
        }
    }
    FarWorker(const FarWorker&) = delete;
    FarWorker& operator=(const FarWorker&) = delete;

    void computes(unsigned n, Who whose) noexcept
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::far_worker_computes(*place_, n, whose);
        }
    }
    void rests() noexcept
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::far_worker_rests(*place_);
        }
    }

  private:
    Place* place_;
};

// The process `pid` has died, perhaps in the middle of something. workers_have_died(): all workers
// of the pool that `process` owns have. Async-signal-safe.
inline void has_died(int pid) noexcept
{
    if (watched()) [[unlikely]] {
        detail::forget(static_cast<std::uint32_t>(pid));
    }
}
inline void workers_have_died(int process) noexcept
{
    if (watched()) [[unlikely]] {
        detail::forget_workers(static_cast<std::uint32_t>(process));
    }
}

// The server ends: nothing is held from now on.
inline void stops() noexcept
{
    if (watched()) [[unlikely]] {
        detail::end_pauses();
    }
}

// This thread takes (1) or releases (-1) a lock that other threads need. Between the two the gate
// does not hold this thread.
inline void holds_lock(int change) noexcept
{
    if (watched()) [[unlikely]] {
        detail::hold(change);
    }
}

// The conversation or thread that runs is about to do this with something that threads share. When
// this call returns, nothing of that is done yet, so another thread may do something first. `value`
// is the value that will be written.
inline void shares(Deed deed, const void* object, Here here, std::uint64_t value = 0) noexcept
{
    if (watched()) [[unlikely]] {
        detail::share(deed, object, static_cast<std::uint32_t>(value), here);
    }
}

// The value that has been read there.
inline void has_read(std::uint64_t value) noexcept
{
    if (watched()) [[unlikely]] {
        detail::saw(static_cast<std::uint32_t>(value));
    }
}

// While the object lives, this thread waits for a lock. `holder` is the entry of the thread that
// holds the lock (0: not known).
class WaitsForLock {
  public:
    explicit WaitsForLock(std::uint32_t holder) noexcept
    {
        if (watched()) [[unlikely]] {
            place_ = detail::wait_for_lock(holder);
        }
    }
    ~WaitsForLock()
    {
        if (place_ != nullptr) [[unlikely]] {
            detail::leave(*place_, State::runs);
        }
    }
    WaitsForLock(const WaitsForLock&) = delete;
    WaitsForLock& operator=(const WaitsForLock&) = delete;

  private:
    Place* place_ = nullptr;
};

// The entry of the conversation or thread that runs, by its number in the table; 0: not watched.
[[nodiscard]] inline std::uint32_t runs_as() noexcept { return watched() ? detail::running() : 0; }

// If GROUND_WATCH is in the environment, the server is watched from now on. Its value is the
// descriptor of a Watcher's memory. Call it once, before there are threads or children. Throws
// std::runtime_error if that is no such memory.
void attach();
void attach(int descriptor);

}  // namespace ground::observe
