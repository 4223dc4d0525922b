// seams.hpp -- how a server says where it is.
//
// The functions of common/ that every stage calls anyway begin with a word of these: a seam. So who
// watches a server sees, line by line, where each conversation is, and no stage's source has a line
// for it. A seam is also where the watcher can hold somebody up (the gate).
//
// While nobody watches, and that is decided when the server starts, a seam costs a load and a
// branch.
//
// Whose line is it? A socket's conversation is known by its descriptor; a future's by the one that
// was there when it was made; and so is that of Requests. What knows less (fib, submit, a lock)
// takes the last one that this thread was known to run.
#pragma once

#include "common/observe/memory.hpp"

#include <atomic>
#include <cstdint>
#include <string_view>
#include <variant>

namespace ground {

// A line of the caller's, as the default of a function's last parameter: Here here = Here::at().
// (clang 14 has no std::source_location.) Of a call over several lines GCC may take the last, clang
// the first.
struct Here {
    const char* file = nullptr;  // nullptr: as before
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

// Somebody, by what a seam knows of him. Can be kept: if he is gone by then, it means nobody.
struct Who {
    std::int32_t key = -1;  // a client's descriptor; below -2: an entry in the table
    std::uint32_t id = 0;   // of that entry
};
inline constexpr Who whoever_runs{-1};  // the last conversation that this thread ran, or itself
inline constexpr Who this_thread{-2};
[[nodiscard]] constexpr Who client(int fd) noexcept { return {fd}; }  // or whoever waits for it
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
void run_nobody() noexcept;
void want_room(int fd) noexcept;
Who last() noexcept;
Place* pin(Here here) noexcept;
void unpin(Place& place) noexcept;
void become_worker(std::uint32_t owner) noexcept;
void work_for(Who who) noexcept;
void rest() noexcept;
void forget(std::uint32_t pid) noexcept;
void forget_workers(std::uint32_t owner) noexcept;
void end_pauses() noexcept;
void hold(int change) noexcept;
}  // namespace detail

// Somebody does this for as long as it lives, and runs again afterwards: what a function begins
// with that may block, or that takes its time.
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

// The same of what comes in between, without a line of its own and without a stop: if it is so, and
// whoever runs goes on afterwards with what he was about.
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

// Somebody runs, and comes by here.
inline void passes(Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::pass(who, here, true);
    }
}

// As passes(), but can't be stopped here: another seam in the same line is about to do that.
inline void is_at(Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::pass(who, here, false);
    }
}

// Whoever runs can be stopped, wherever he is.
inline void may_stop() noexcept
{
    if (watched()) [[unlikely]] {
        detail::stop();
    }
}

// Somebody waits from now on, but not on a stack: who resumes him will say so. Who waits for the
// same already stays at the line that has said so first.
inline void waits(State state, Who who, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::wait(state, who, here);
    }
}

// What comes next on this thread is this conversation's.
inline void runs_now(Who who) noexcept
{
    if (watched()) [[unlikely]] {
        detail::run(who);
    }
}

// A scheduler waits for room with the sockets of this map, by descriptor.
template <typename Map>
void want_room(const Map& sockets) noexcept
{
    if (watched()) [[unlikely]] {
        for (const auto& [fd, value] : sockets) {
            detail::want_room(fd);
        }
    }
}

// What somebody has waited for is there: he waits for his turn now.
inline void is_ready(Who who) noexcept
{
    if (watched()) [[unlikely]] {
        detail::ready(who);
    }
}

// A conversation begins, and ends.
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

// These lines are on their way to the client.
inline void answers(Who who, std::string_view replies) noexcept
{
    if (watched()) [[unlikely]] {
        detail::answer(who, replies);
    }
}

// Whoever runs asks the pool for fib(n).
inline void submits(unsigned n, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::submit(n, here);
    }
}

// To be kept: the conversation that this thread runs, or nobody.
[[nodiscard]] inline Who whose() noexcept { return watched() ? detail::last() : whoever_runs; }

// Whoever has been running pauses: what comes next is somebody else.
inline void pauses() noexcept
{
    if (watched()) [[unlikely]] {
        detail::run_nobody();
    }
}

// A task says to its scheduler what it waits for: something that has a descriptor, or a future, or
// a variant of these. (Whether it wants to read or write, select() will be told.)
template <typename Wait>
void says_what_it_waits_for(const Wait& wait, Here here) noexcept;

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
void says_what_it_waits_for(const Wait& wait, Here here) noexcept
{
    if (watched()) [[unlikely]] {
        detail::say(wait, here);
    }
}

// A coroutine awaits another one: the conversation stays at this line for as long as that takes,
// whatever lines the other one comes by.
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

// A worker of this process's pool, itself a process or a thread, and whom it works for.
inline void becomes_worker(int process) noexcept
{
    if (watched()) [[unlikely]] {
        detail::become_worker(static_cast<std::uint32_t>(process));
    }
}
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

// A process has died, perhaps in the middle of something; or all workers of this process's pool.
// Async-signal-safe.
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

// The server comes to its end: nobody is held any more.
inline void stops() noexcept
{
    if (watched()) [[unlikely]] {
        detail::end_pauses();
    }
}

// This thread holds (1), or lets go of (-1), something that others need: meanwhile it is not held.
inline void holds_what_others_need(int change) noexcept
{
    if (watched()) [[unlikely]] {
        detail::hold(change);
    }
}

// If the environment says so (GROUND_WATCH is the descriptor of a Watcher's memory), the server is
// watched from now on. Call it once, before there are threads or children. Throws
// std::runtime_error if that is no such memory.
void attach();
void attach(int descriptor);

}  // namespace ground::observe
