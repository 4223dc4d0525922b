// generator.hpp -- a function that can pause: C++23's std::generator, as far as we need it.
#pragma once

#include "common/observe/seams.hpp"

#include <concepts>
#include <coroutine>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace ground {

namespace generator_detail {

// Pauses the body at a co_yield. When the body resumes, the co_yield's value is what was sent.
template <typename Sent>
class Pause {
  public:
    explicit Pause(std::optional<Sent>& sent) noexcept : sent_(sent) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    Sent await_resume() const { return std::exchange(sent_, std::nullopt).value(); }

  private:
    std::optional<Sent>& sent_;
};

// Holds the sent value until the body resumes.
template <typename Sent>
struct Inbox {
    Pause<Sent> pause() noexcept { return Pause<Sent>(sent); }
    std::optional<Sent> sent;
};
template <>
struct Inbox<void> {
    std::suspend_always pause() noexcept { return {}; }
};

}  // namespace generator_detail

// The names are those of std::generator: begin(), end(), and an iterator that resumes the body when
// it is incremented. next() comes from Python. Lazy: nothing runs before the first value is asked
// for. Movable only. It owns the body's coroutine frame, so destroying a paused generator destroys
// what its body holds. begin(), ++, next() and send() throw what the body throws.
//
// A Generator<T, Sent> also receives values: its co_yield returns what send() was called with.
template <typename T, typename Sent = void>
class [[nodiscard]] Generator {
  public:
    class promise_type : generator_detail::Inbox<Sent> {
      public:
        Generator get_return_object() { return Generator(Handle::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        // The value lives in the coroutine frame for as long as the body is paused at its co_yield.
        auto yield_value(const T& value, Here here = Here::at()) noexcept
        {
            observe::reports_wait(value, here);
            value_ = std::addressof(value);
            return this->pause();
        }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { error_ = std::current_exception(); }
        void await_transform() = delete;  // a generator yields, it does not await

      private:
        friend class Generator;
        const T* value_ = nullptr;
        std::exception_ptr error_;
    };

    class iterator {
      public:
        using value_type = T;
        using difference_type = std::ptrdiff_t;

        const T& operator*() const noexcept { return *body_.promise().value_; }
        iterator& operator++()
        {
            resume(body_);
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const noexcept { return body_.done(); }

      private:
        friend class Generator;
        explicit iterator(std::coroutine_handle<promise_type> body) noexcept : body_(body) {}
        std::coroutine_handle<promise_type> body_;
    };

    Generator(Generator&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
    Generator& operator=(Generator&& other) noexcept
    {
        std::swap(body_, other.body_);
        return *this;
    }
    ~Generator()
    {
        if (body_) {
            body_.destroy();
        }
    }

    // Runs to the first co_yield. Call it once.
    [[nodiscard]] iterator begin()
    {
        resume(body_);
        return iterator(body_);
    }
    [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

    // Runs to the next co_yield and returns its value. Returns nothing if the body ends first.
    // Do not call it after the end.
    std::optional<T> next()
    {
        resume(body_);
        return body_.done() ? std::nullopt : std::optional<T>(*body_.promise().value_);
    }

    // Gives the body a value: the co_yield at which the body is paused returns it. Then runs the
    // body as next() does. Call next() first, because only a body at a co_yield can receive one.
    // (If next() resumes a co_yield
    // that needs a value, the co_yield throws std::bad_optional_access.)
    template <std::convertible_to<Sent> U>
    std::optional<T> send(U&& value)
    {
        body_.promise().sent = std::forward<U>(value);
        return next();
    }

  private:
    using Handle = std::coroutine_handle<promise_type>;
    explicit Generator(Handle body) noexcept : body_(body) {}

    static void resume(Handle body)
    {
        body.resume();
        observe::pauses();
        if (auto error = std::exchange(body.promise().error_, nullptr)) {
            std::rethrow_exception(std::move(error));
        }
    }

    Handle body_;
};

}  // namespace ground
