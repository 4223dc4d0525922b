// gil.hpp -- a global interpreter lock, as CPython has had it since 3.2 (Python/ceval_gil.h).
//
// One lock for all threads. A thread that wants the lock waits for one switch interval. If the lock
// has not been released meanwhile, the thread sets the drop request. The holder of the lock checks
// for this request at every call of a function. It then releases the lock and waits until another
// thread has taken it. Without this wait, the holder would often take the lock back before the
// other thread has woken up.
//
// A thread that is about to block releases the lock first and takes it again afterwards. Meanwhile
// a thread that computes may have taken the lock. Then the first thread waits for a whole switch
// interval. This is the convoy effect. (A send() mostly returns before the other thread has woken
// up, and then costs no interval.)
#pragma once

#include "common/server/fib.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <utility>

namespace ground {

class Gil {
  public:
    // What the lock stores about a thread, like CPython's PyThreadState. Every thread that wants
    // the lock has such an object of its own, and no other thread calls its members.
    class Thread {
      public:
        explicit Thread(Gil& gil) noexcept : gil_(gil), id_(++gil.last_id_) {}
        Thread(const Thread&) = delete;
        Thread& operator=(const Thread&) = delete;

        // Waits for the lock. Returns false, without the lock, if a stop is requested first.
        bool take(const std::stop_token& stop = {});

        // Releases the lock. If the drop request was set, waits until another thread has the lock.
        void drop();

        // Call it now and then while computing, with the lock held.
        void drop_if_asked()
        {
            if (gil_.drop_request_.load(std::memory_order_relaxed)) {
                drop();
                take();
            }
        }

        // Computes f(n) as an interpreter does, with the lock held: at every call of a function it
        // checks whether another thread wants the lock.
        Number interpret(FibFunction f, unsigned n, Here here = Here::at())
        {
            const observe::Seam seam(observe::computes, observe::whoever_runs, here, n);
            return evaluate(f.plain(), n);
        }

        // Calls f() without the lock, as Python does with every call that may block.
        template <typename F>
        auto without_lock(F f)
        {
            drop();
            const Retake retake(*this);
            return f();
        }

      private:
        struct Retake {
            explicit Retake(Thread& t) noexcept : thread(t) {}
            ~Retake() { thread.take(); }
            Retake(const Retake&) = delete;
            Retake& operator=(const Retake&) = delete;
            Thread& thread;
        };

        Number evaluate(FibFunction::Plain f, unsigned n);

        Gil& gil_;
        const std::uint64_t id_;  // a number, because an address may be used again
    };

    // Holds the lock for as long as it lives, like a std::lock_guard.
    class Guard {
      public:
        explicit Guard(Thread& thread) : thread_(thread) { thread_.take(); }
        ~Guard() { thread_.drop(); }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;

      private:
        Thread& thread_;
    };

    explicit Gil(std::chrono::microseconds switch_interval) noexcept : interval_(switch_interval) {}
    Gil(const Gil&) = delete;
    Gil& operator=(const Gil&) = delete;

    // Whether another thread has requested the lock from its holder.
    [[nodiscard]] bool drop_requested() const noexcept { return drop_request_; }

  private:
    const std::chrono::microseconds interval_;
    std::atomic<std::uint64_t> last_id_{0};
    std::atomic<bool> drop_request_{false};

    std::mutex mutex_;                  // guards the next three
    std::condition_variable unlocked_;  // notified when locked_ has become false
    bool locked_ = false;
    std::uint64_t switch_number_ = 0;  // how often the lock has gone from one thread to another

    std::mutex switch_mutex_;           // guards the next two; if both are locked, mutex_ is first
    std::condition_variable switched_;  // notified when the lock has been taken
    std::uint64_t last_holder_ = 0;
};

}  // namespace ground
