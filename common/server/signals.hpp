// signals.hpp -- how a server ends: on SIGINT (Ctrl-C) and SIGTERM, with status 0 and within 2 s.
//
// Call exit_on_signals() or make a StopOnSignals once, after the pool has been made and before
// other threads are started. Both also handle a lack of memory: the server says so in one line and
// ends with 1, and so do its workers. A server that still runs but can't accept clients, for
// example, would be worse.
#pragma once

#include <asio/io_context.hpp>

#include <signal.h>

#include <functional>
#include <memory>

namespace ground {

// Sets the function that is called before the process ends in one of these ways: a process pool
// must end its workers then. There is only one such function. It is called in a signal handler or
// when there is no memory, so it may use only what is async-signal-safe.
using CleanUp = void (*)() noexcept;
void clean_up_before_exit(CleanUp f) noexcept;

// Makes signals end the process at once, whatever it is doing. The kernel closes its descriptors.
// The workers of a process pool end before the server does.
void exit_on_signals();

// Makes a signal call stop(), so that main() can return. If the process is still there after 1.5 s,
// or at a second signal, it ends as with exit_on_signals().
class StopOnSignals {
  public:
    // stop() is called on a thread that runs the context.
    StopOnSignals(asio::io_context& context, std::function<void()> stop);
    // For several loops, or for none. stop() is called on the thread that waits for signals, so it
    // may only post to a loop or ring a bell.
    explicit StopOnSignals(std::function<void()> stop);
    // Afterwards that thread uses nothing that belongs to main().
    ~StopOnSignals();

    StopOnSignals(const StopOnSignals&) = delete;
    StopOnSignals& operator=(const StopOnSignals&) = delete;

  private:
    struct Stop;
    std::shared_ptr<Stop> stop_;
};

// For a server that is about to fork. The parent then waits for the children and passes SIGINT and
// SIGTERM on to them, as SIGTERM (see prefork.hpp). From here on these signals and SIGCHLD are
// blocked, so that none is lost before the parent waits.
class ParentSignals {
  public:
    ParentSignals() noexcept;

    // The signals that the parent waits for, for example with sigwait().
    [[nodiscard]] const sigset_t& awaited() const noexcept { return awaited_; }

    // Call it in the child, which then takes signals again. There the functions above take only
    // SIGTERM, and SIGINT is ignored. Otherwise the child would get two signals: Ctrl-C, which
    // reaches parent and children, and the SIGTERM that the parent passes on.
    void leave_to_parent() const noexcept;

  private:
    sigset_t awaited_;
    sigset_t before_;
};

// Threads that are started while this object lives take no signals. Signals are for the main
// thread, or for a thread that only waits for them.
class SignalsBlocked {
  public:
    SignalsBlocked() noexcept
    {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace ground
