// signals.hpp -- how a server ends: on SIGINT (Ctrl-C) and SIGTERM, with status 0 and within 2 s.
//
// Call one of these once, after the pool has been made and before other threads are. Both also see
// to it that a server that gets no more memory says so in one line and ends with 1, its workers
// too: one that has lost the means to accept clients, say, and seems to run would be worse than
// none.
#pragma once

#include <asio/io_context.hpp>

#include <signal.h>

#include <functional>

namespace ground {

// Sets the function that is called before the process ends in one of these ways. A process pool has
// to end its workers then. There is one such function, and it is called in a signal handler, or
// when there is no memory: it may use only what is async-signal-safe.
using CleanUp = void (*)() noexcept;
void clean_up_before_exit(CleanUp f) noexcept;

// Ends the process at once, whatever it is doing: the kernel closes what it held, and the workers
// of a process pool are gone before it is.
void exit_on_signals();

// Calls stop() on a thread that runs the context, so that run() may return of itself. If the
// process is still there after 1.5 s, or at a second signal, it is ended as above.
void stop_on_signals(asio::io_context& context, std::function<void()> stop);

// The same for several loops, or for none: calls stop() on the thread that waits for signals, so
// all that it may do is to post, or to ring.
void stop_on_signals(std::function<void()> stop);

// For a server that is about to fork, whose parent waits for its children and passes SIGINT and
// SIGTERM on to them, as SIGTERM (see family.hpp). From here on these and SIGCHLD are held back:
// what comes before the parent waits is not lost.
class ParentSignals {
  public:
    ParentSignals() noexcept;

    // What the parent waits for: with sigwait(), say.
    [[nodiscard]] const sigset_t& awaited() const noexcept { return awaited_; }

    // In the child: it takes signals again. But the functions above take SIGTERM only there, and
    // SIGINT is ignored. Ctrl-C reaches parent and children; with what the parent passes on it
    // would be a second signal.
    void leave_to_parent() const noexcept;

  private:
    sigset_t awaited_;
    sigset_t before_;
};

// Threads that are started while this lives take no signals: those are for the main thread, or for
// whom it has told to wait for them.
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
