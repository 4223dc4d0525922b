// hub.hpp -- green threads: greenlets that a hub runs in turn, with gevent's names (gevent.org).
//
//     std::vector<green::Thread> threads{green::spawn(fetch, "this"), green::spawn(fetch, "that")};
//     green::joinall(threads);
//
// A hub belongs to a kernel thread and comes into being when it is first asked for; it is a
// greenlet like any other. Who has to wait, main() too, leaves word where it waits and switches to
// the hub, which runs whoever can go on, or sleeps in epoll. Others run only where one waits, so
// what is done between two waits needs no lock.
//
// Everything in common/green may be called by the green threads of one kernel thread, and by its
// main(), and by nobody else: a tool belongs to the kernel thread that it is first used on.
// Whatever is said to wait throws what kill() or a Timeout raises there.
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

// Thrown where main() waits when nobody is left who could ever wake it.
struct LoopExit : std::logic_error {
    LoopExit() : std::logic_error("all green threads wait for each other, for ever") {}
};

// The tools' side of the hub: who waits, who is woken, who is interrupted.
class Hub {
  public:
    using Clock = std::chrono::steady_clock;
    using Timers = std::multimap<Clock::time_point, std::function<void()>>;

    // One who can wait.
    struct Waiter {
        Greenlet* where = nullptr;  // it goes on there
        bool queued = false;        // stands in the ready queue
        // What is still to be thrown where it waits, and on whose behalf.
        std::deque<std::pair<const void*, std::exception_ptr>> raised;

        std::optional<Greenlet> greenlet;  // not of main()
        bool ended = false;
        std::exception_ptr error;
        std::list<Waiter*> joining;
        std::list<std::shared_ptr<Waiter>>::iterator place;  // among those who are alive
    };

    // That of the calling thread.
    [[nodiscard]] static Hub& current();

    Hub();
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;
    // Unwinds all who are still there.
    ~Hub();

    // Waits until the descriptor is ready. One may wait for reading and another one for writing; a
    // third gets a std::logic_error.
    void wait_for(int fd, Events event);

    // To be called before a descriptor that has been waited for is closed. Whoever still waits for
    // it gets a std::system_error with EBADF.
    void forget(int fd) noexcept;

    [[nodiscard]] Waiter& running() noexcept { return *running_; }

    // Waits until somebody calls wake() for who calls this, or raises something in it.
    void pause();

    // Lets it go on, when its turn comes. Never runs it at once.
    void wake(Waiter& who);

    // Lets it go on with an exception. It is thrown where who waits now, or next.
    void raise(Waiter& who, const void* on_behalf_of, std::exception_ptr error);

    // Calls f() at that time, in the hub: it must neither wait nor throw.
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
    std::deque<Waiter*> ready_;  // nullptr: no longer needs its turn
    Timers timers_;
    Selector<Socket> selector_;
    std::size_t at_sockets_ = 0;  // so many wait there
    std::list<std::shared_ptr<Waiter>> alive_;
    Greenlet greenlet_;  // the loop
};

// A green thread, to be waited for or ended. A handle: copies mean the same one, and it lives on
// without any.
class Thread {
  public:
    explicit Thread(std::shared_ptr<Hub::Waiter> waiter) noexcept : waiter_(std::move(waiter)) {}

    // Waits until it has ended, however.
    void join() const;

    // Throws why where it waits, or before it has begun, and waits for its end. Of who has ended
    // nothing is left to kill. A thread that kills itself throws at once.
    void kill(std::exception_ptr why = std::make_exception_ptr(GreenletExit{})) const;

    [[nodiscard]] bool dead() const noexcept { return waiter_->ended; }

    // What has ended it, if that was an exception other than GreenletExit. It has been reported.
    [[nodiscard]] std::exception_ptr error() const noexcept { return waiter_->error; }

  private:
    std::shared_ptr<Hub::Waiter> waiter_;
};

// Runs body(arguments...), copied or moved into the thread, when its turn comes. What it throws
// is reported in one line on stderr and ends this thread only. Throws std::system_error if there is
// no room for another stack.
template <typename Body, typename... Arguments>
Thread spawn(Body body, Arguments... arguments)
{
    // std::function wants to copy what it holds: so it holds a pointer.
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

// Waits for so long; of zero, until everybody else who can has run.
void sleep(std::chrono::nanoseconds time);

// Raises TimedOut where its thread waits, if so much time goes by before the end of its scope.
// Timeouts may be nested: each raises its own.
//
//     try {
//         const green::Timeout timeout(2s);
//         reply = recv(...);
//     } catch (const green::TimedOut&) ...     or green::within(), which tells whose it is
class Timeout;

// Like GreenletExit not a std::exception: those who handle errors do not mean this.
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

// Calls f() and returns true, or false if it was still waiting after that time.
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
