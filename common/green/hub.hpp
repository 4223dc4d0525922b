// hub.hpp -- green threads: greenlets that a hub runs in turn, with gevent's names (gevent.org).
//
//     std::vector<green::Thread> threads{green::spawn(fetch, "this"), green::spawn(fetch, "that")};
//     green::joinall(threads);
//
// A hub belongs to a kernel thread and is made on first use. It is a greenlet like any other. If
// a green thread or main() must wait, it stores what it waits for and switches to the hub. The hub
// runs the green threads that are ready, or sleeps in epoll. A green thread is interrupted only
// where it waits, so what it does between two waits needs no lock.
//
// An object of common/green belongs to the kernel thread that first uses it. Only green threads of
// this kernel thread, and main() if it runs there, may use the object. A function that waits throws
// what kill() or a Timeout raises there.
#pragma once

#include "common/wait/greenlet.hpp"
#include "common/wait/selector.hpp"

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace ground::green {

// Thrown where main() waits, when no green thread is left that could ever wake it.
struct LoopExit : std::logic_error {
    LoopExit() : std::logic_error("all green threads wait for each other, for ever") {}
};

// The hub as the tools see it: it makes green threads wait, wakes them and interrupts them.
class Hub {
  public:
    using Clock = std::chrono::steady_clock;
    using Timers = std::multimap<Clock::time_point, std::function<void()>>;

    // A green thread, or main().
    struct Waiter {
        Greenlet* where = nullptr;  // where it resumes
        bool queued = false;        // is in the ready queue
        // What is still to be thrown where it waits, and on whose behalf.
        std::deque<std::pair<const void*, std::exception_ptr>> raised;

        std::optional<Greenlet> greenlet;  // not of main()
        bool ended = false;
        std::exception_ptr error;
        std::list<Waiter*> joining;
        std::list<std::shared_ptr<Waiter>>::iterator place;  // in alive_
    };

    // The hub of the calling thread.
    [[nodiscard]] static Hub& current();

    Hub();
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;
    // Unwinds all green threads that are still alive.
    ~Hub();

    // Waits until the descriptor is ready. One green thread may wait for reading and one for
    // writing. Any other gets a std::logic_error.
    void wait_for(int fd, Events event);

    // Call it before you close a descriptor that was waited for. A green thread that still waits
    // for it gets a std::system_error with EBADF.
    void forget(int fd) noexcept;

    [[nodiscard]] Waiter& running() noexcept { return *running_; }

    // Waits until wake() is called for the caller, or something is raised in it.
    void pause();

    // Makes the waiter resume when its turn comes. Never runs it at once.
    void wake(Waiter& who);

    // Makes the waiter resume with an exception. It is thrown where the waiter waits now, or where
    // it waits next.
    void raise(Waiter& who, const void* on_behalf_of, std::exception_ptr error);

    // Calls f() at that time, in the hub. f() must neither wait nor throw.
    Timers::iterator call_at(Clock::time_point time, std::function<void()> f)
    {
        return timers_.emplace(time, std::move(f));
    }
    void cancel(Timers::iterator timer) { timers_.erase(timer); }

    std::shared_ptr<Waiter> spawn(std::function<void()> body);

  private:
    struct Socket {
        Waiter* reader = nullptr;
        Waiter* writer = nullptr;
    };

    void loop();
    void run(Waiter& who);
    void forget_wake(Waiter& who) noexcept;
    void select();
    void modify(int fd, const Socket& socket);
    [[nodiscard]] Waiter*& place_at(int fd, Events event);

    Waiter main_;
    Waiter* running_ = &main_;
    std::deque<Waiter*> ready_;  // nullptr: its turn is cancelled
    Timers timers_;
    Selector<Socket> selector_;
    std::size_t at_sockets_ = 0;  // how many wait for sockets
    std::list<std::shared_ptr<Waiter>> alive_;
    Greenlet greenlet_;  // the loop
};

// A handle by which to wait for a green thread, or to end it. Copies refer to the same thread. The
// thread runs to its end even if no handle is left.
class Thread {
  public:
    explicit Thread(std::shared_ptr<Hub::Waiter> waiter) noexcept : waiter_(std::move(waiter)) {}

    // Waits until the thread has ended, in whatever way.
    void join() const;

    // Throws `why` where the thread waits, or before its body begins. Then the caller waits until
    // the thread has ended. If the thread has ended before, nothing happens. A thread that kills
    // itself throws at once.
    void kill(std::exception_ptr why = std::make_exception_ptr(GreenletExit{})) const;

    [[nodiscard]] bool dead() const noexcept { return waiter_->ended; }

    // The exception that has ended the thread, unless that was GreenletExit. It has been reported.
    [[nodiscard]] std::exception_ptr error() const noexcept { return waiter_->error; }

  private:
    std::shared_ptr<Hub::Waiter> waiter_;
};

// Makes a green thread that runs body(arguments...) when its turn comes. The body and the arguments
// are copied or moved into it. If the body throws, this is reported in one line on stderr, and only
// this thread ends. Throws std::system_error if there is no room for another stack.
template <typename Body, typename... Arguments>
Thread spawn(Body body, Arguments... arguments)
{
    // A std::function must be able to copy what it holds, so it holds a pointer.
    auto call = [body = std::move(body), ... arguments = std::move(arguments)]() mutable {
        std::invoke(std::move(body), std::move(arguments)...);
    };
    auto shared = std::make_shared<decltype(call)>(std::move(call));
    return Thread(Hub::current().spawn([shared = std::move(shared)]() mutable {
        const auto own = std::move(shared);  // what it holds ends with the thread
        (*own)();
    }));
}

// Waits until all have ended.
inline void joinall(std::span<const Thread> threads)
{
    for (const Thread& thread : threads) {
        thread.join();
    }
}

// Waits for that long. With zero it waits until all ready threads have run.
void sleep(std::chrono::nanoseconds time);

// Raises TimedOut where its thread waits, if the time is over before the Timeout goes out of scope.
// Timeouts may be nested: each raises a TimedOut of its own.
//
//     try {
//         const green::Timeout timeout(2s);
//         reply = recv(...);
//     } catch (const green::TimedOut&) ...     or green::within(), which checks whose it is
class Timeout;

// Like GreenletExit, this is no std::exception, so that code which handles errors does not catch
// it.
struct TimedOut {
    const Timeout* timeout;  // whose time it was
};

class Timeout {
  public:
    explicit Timeout(std::chrono::nanoseconds time);
    ~Timeout();
    Timeout(const Timeout&) = delete;
    Timeout& operator=(const Timeout&) = delete;

  private:
    Hub& hub_ = Hub::current();
    Hub::Waiter& owner_ = hub_.running();
    std::optional<Hub::Timers::iterator> timer_;
};

// Calls f() and returns true. If f() takes longer than that, it is ended, and this returns false.
template <typename F>
[[nodiscard]] bool within(std::chrono::nanoseconds time, F f)
{
    const Timeout timeout(time);
    try {
        f();
        return true;
    } catch (const TimedOut& timed_out) {
        if (timed_out.timeout != &timeout) {
            throw;
        }
        return false;
    }
}

}  // namespace ground::green
