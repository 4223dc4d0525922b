// future.hpp -- a result that is still being computed, like Python's concurrent.futures.Future. You
// can wait for it, or ask to be called when it is there. std::future can't call you, so no event
// loop can wait for one.
#pragma once

#include "common/observe/seams.hpp"

#include <semaphore.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <variant>

namespace ground {

template <typename T>
class Promise;

// What result() throws if the future has been cancelled or given up.
class Cancelled : public std::runtime_error {
  public:
    explicit Cancelled(const char* why = "cancelled before it was computed")
        : std::runtime_error(why)
    {
    }
};

// The reader's side. Copies share one result. All members may be called from any thread.
template <typename T>
class [[nodiscard]] Future {
  public:
    // Whether result() would return, or throw, without waiting.
    [[nodiscard]] bool done() const noexcept
    {
        return state_->done.load(std::memory_order_acquire);
    }

    // Waits until it is done.
    void wait(Here here = Here::at()) const
    {
        const observe::Seam seam(done() ? observe::runs : observe::awaits, state_->whose, here);
        if (!done()) {
            // A turnstile: each thread that has passed lets the next one pass. (A condition
            // variable would cost one more system call. The thread that wakes locks the mutex
            // again, and glibc then assumes that other threads wait for it. So unlocking the mutex
            // calls the kernel.)
            while (::sem_wait(&state_->completed) == -1) {
            }
            ::sem_post(&state_->completed);
        }
    }

    // As wait(), but for no longer than this. Returns whether it is done.
    bool wait_for(std::chrono::nanoseconds time, Here here = Here::at()) const
    {
        const observe::Seam seam(done() ? observe::runs : observe::awaits, state_->whose, here);
        using std::chrono::steady_clock;
        const auto end = steady_clock::now() + time;
        const auto since = std::chrono::nanoseconds(end.time_since_epoch()).count();
        const timespec until{since / 1'000'000'000, since % 1'000'000'000};
        while (!done()) {
            if (::sem_clockwait(&state_->completed, CLOCK_MONOTONIC, &until) == 0) {
                ::sem_post(&state_->completed);
            } else if (errno == ETIMEDOUT) {
                return done();
            }
        }
        return true;
    }

    // Waits until it is done; returns the result or rethrows what the computation threw.
    T result(Here here = Here::at()) const
    {
        wait(here);
        if (const auto* error = std::get_if<std::exception_ptr>(&state_->outcome)) {
            std::rethrow_exception(*error);
        }
        return std::get<T>(state_->outcome);
    }

    // Takes the request back if no worker has begun to compute it. Then the future is done, its
    // callbacks run before this returns, and result() throws Cancelled. Returns whether it is
    // cancelled, by this call or an earlier one. A computation that has begun can't be stopped:
    // then this returns false.
    bool cancel() const
    {
        std::unique_lock lock(state_->mutex);
        if (!done() && state_->take_back) {
            if (std::optional<Promise<T>> promise = state_->take_back()) {
                state_->cancelled = true;
                promise->complete(std::make_exception_ptr(Cancelled()), std::move(lock));
                return true;
            }
        }
        return state_->cancelled;
    }

    // As cancel(), but afterwards the future is done in any case, and result() throws
    // Cancelled(why). A computation that has begun continues, and its result is dropped. Does
    // nothing if the future is done already.
    void give_up(const char* why) const
    {
        if (done()) {
            return;
        }
        std::unique_lock lock(state_->mutex);
        if (!done()) {
            std::optional<Promise<T>> promise;
            if (state_->take_back) {
                promise = state_->take_back();
            }
            if (!promise) {
                promise = Promise<T>(state_);  // a second one: the result of the first is dropped
            }
            state_->cancelled = true;
            promise->complete(std::make_exception_ptr(Cancelled(why)), std::move(lock));
        }
    }

    // Calls callback(future) exactly once: on the thread that completes the future, as soon as that
    // happens, or right here if it is done already. Callbacks run in the order in which they were
    // added. But one that is added after the completion runs at once, even if earlier ones have not
    // run yet, as in Python. The callback may be movable only. It must be quick, because the
    // completing thread has other work. It must not throw: that would end the program.
    template <typename Callback>
    void add_done_callback(Callback callback, Here here = Here::at()) const
    {
        waits(here);
        {
            const std::lock_guard lock(state_->mutex);
            if (!done()) {
                auto* end = &state_->callbacks;
                while (*end) {
                    end = &(*end)->next;
                }
                *end = std::make_unique<CallbackOf<Callback>>(std::move(callback));
                return;
            }
        }
        call(callback, *this);
    }

    // For the watcher (common/observe): tells it that the conversation waits, if the future is not
    // done.
    void waits(Here here) const noexcept
    {
        if (!done()) {
            observe::waits(observe::awaits, state_->whose, here);
            if (done()) {
                observe::is_ready(state_->whose);
            }
        }
    }

  private:
    friend class Promise<T>;

    // A list, and not a std::vector of std::function, because callbacks may be movable only.
    struct AnyCallback {
        virtual ~AnyCallback() = default;
        virtual void operator()(const Future& future) noexcept = 0;
        std::unique_ptr<AnyCallback> next;
    };

    template <typename Callback>
    struct CallbackOf final : AnyCallback {
        explicit CallbackOf(Callback c) : callback(std::move(c)) {}
        void operator()(const Future& future) noexcept override { callback(future); }
        Callback callback;
    };

    struct State {
        State() noexcept { ::sem_init(&completed, 0, 0); }
        ~State() { ::sem_destroy(&completed); }
        State(const State&) = delete;
        State& operator=(const State&) = delete;

        std::variant<std::monostate, T, std::exception_ptr> outcome;  // never changes once done
        std::atomic<bool> done{false};
        sem_t completed;
        const observe::Who whose = observe::whose();
        std::function<std::optional<Promise<T>>()> take_back;  // see Promise
        std::mutex mutex;  // guards the members below; held when `done` is set
        bool cancelled = false;
        std::unique_ptr<AnyCallback> callbacks;
    };

    explicit Future(std::shared_ptr<State> state) : state_(std::move(state)) {}

    template <typename Callback>
    static void call(Callback& callback, const Future& future) noexcept
    {
        callback(future);
    }

    std::shared_ptr<State> state_;
};

// The writer's side: completes the future, once. Movable only. If a promise is destroyed before
// that, its future fails with std::future_errc::broken_promise.
template <typename T>
class Promise {
  public:
    Promise() : state_(std::make_shared<typename Future<T>::State>()) {}

    // For a future that can be cancelled. take_back() returns this promise if no worker has begun
    // to compute its result, and nothing otherwise. It is called with the future locked, so it must
    // not call a member of any future, nor complete one. It is not called after the promise has
    // completed its future. So it may use the object that holds the promise (the pool).
    explicit Promise(std::function<std::optional<Promise>()> take_back) : Promise()
    {
        state_->take_back = std::move(take_back);
    }

    Promise(Promise&&) noexcept = default;
    Promise& operator=(Promise&& other) noexcept
    {
        std::swap(state_, other.state_);
        return *this;
    }
    ~Promise()
    {
        if (state_) {
            set_exception(
                std::make_exception_ptr(std::future_error(std::future_errc::broken_promise)));
        }
    }

    [[nodiscard]] Future<T> future() const { return Future<T>(state_); }

    // Both run the future's callbacks before they return, and leave the promise empty. If the
    // future has been given up, they run no callbacks and only leave the promise empty.
    void set_result(T result) { complete(std::move(result)); }
    void set_exception(std::exception_ptr error) { complete(std::move(error)); }

  private:
    friend class Future<T>;

    explicit Promise(std::shared_ptr<typename Future<T>::State> state) : state_(std::move(state)) {}

    template <typename Outcome>
    void complete(Outcome outcome)
    {
        complete(std::move(outcome), std::unique_lock(state_->mutex));
    }

    template <typename Outcome>
    void complete(Outcome outcome, std::unique_lock<std::mutex> lock)
    {
        const Future<T> future(std::exchange(state_, nullptr));
        if (future.done()) {
            lock.unlock();  // first, because the return may destroy the mutex
            return;
        }
        future.state_->outcome = std::move(outcome);
        future.state_->done.store(true, std::memory_order_release);
        observe::is_ready(future.state_->whose);
        auto callback = std::move(future.state_->callbacks);
        lock.unlock();
        ::sem_post(&future.state_->completed);
        // Outside the lock, because a callback may ask the future for its result.
        while (callback) {
            (*callback)(future);
            callback = std::move(callback->next);
        }
    }

    std::shared_ptr<typename Future<T>::State> state_;
};

}  // namespace ground
