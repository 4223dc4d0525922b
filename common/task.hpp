// task.hpp -- a coroutine that other coroutines can wait for: Python's `await`, or `yield from`.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace ground {

template <typename T>
class Task;

namespace task_detail {

class PromiseBase {
  public:
    std::suspend_always initial_suspend() noexcept { return {}; }

    // At its end a task goes on with whoever waits for it, by symmetric transfer: the one jumps to
    // the other, so that a chain of any length needs no more stack than a single task.
    struct Final {
        bool await_ready() noexcept { return false; }
        template <typename Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept
        {
            return ended.promise().waiting_;
        }
        void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }

  private:
    template <typename>
    friend class ground::Task;
    std::coroutine_handle<> waiting_;
};

template <typename T>
class Promise final : public PromiseBase {
  public:
    Task<T> get_return_object() noexcept;
    void return_value(T value) { outcome_ = std::move(value); }
    void unhandled_exception() noexcept { outcome_ = std::current_exception(); }
    T result()
    {
        if (auto* error = std::get_if<std::exception_ptr>(&outcome_)) {
            std::rethrow_exception(std::move(*error));
        }
        return std::get<T>(std::move(outcome_));
    }

  private:
    std::variant<std::monostate, T, std::exception_ptr> outcome_;
};

template <>
class Promise<void> final : public PromiseBase {
  public:
    Task<void> get_return_object() noexcept;
    void return_void() noexcept {}
    void unhandled_exception() noexcept { error_ = std::current_exception(); }
    void result()
    {
        if (error_) {
            std::rethrow_exception(std::move(error_));
        }
    }

  private:
    std::exception_ptr error_;
};

}  // namespace task_detail

// Lazy: it runs when it is awaited, once, and on the thread that awaits it or resumes what it waits
// for. Movable only; owns the coroutine's frame, so destroying a task that is waiting destroys what
// it holds. Awaiting it returns what the coroutine returns and throws what it throws.
template <typename T = void>
class [[nodiscard]] Task {
  public:
    using promise_type = task_detail::Promise<T>;

    Task(Task&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
    Task& operator=(Task&& other) noexcept
    {
        std::swap(body_, other.body_);
        return *this;
    }
    ~Task()
    {
        if (body_) {
            body_.destroy();
        }
    }

    auto operator co_await() && noexcept { return Awaiter(body_); }

  private:
    friend promise_type;
    using Handle = std::coroutine_handle<promise_type>;
    explicit Task(Handle body) noexcept : body_(body) {}

    class [[nodiscard]] Awaiter {
      public:
        explicit Awaiter(Handle body) noexcept : body_(body) {}
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) const noexcept
        {
            body_.promise().waiting_ = waiting;
            return body_;
        }
        T await_resume() const { return body_.promise().result(); }

      private:
        Handle body_;
    };

    Handle body_;
};

template <typename T>
Task<T> task_detail::Promise<T>::get_return_object() noexcept
{
    return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}

inline Task<void> task_detail::Promise<void>::get_return_object() noexcept
{
    return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

// Where a chain of tasks begins: a coroutine that nobody waits for. It starts paused, belongs to
// whoever holds handle() and, once it is resumed for the first time, to itself: its frame is
// freed at its end. Nobody is there for its exceptions, so one that leaves it ends the program.
class [[nodiscard]] Detached {
  public:
    struct promise_type {
        Detached get_return_object() noexcept
        {
            return Detached(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };

    [[nodiscard]] std::coroutine_handle<> handle() const noexcept { return handle_; }

  private:
    explicit Detached(std::coroutine_handle<> handle) noexcept : handle_(handle) {}
    std::coroutine_handle<> handle_;
};

}  // namespace ground
