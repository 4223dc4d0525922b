// generator.hpp -- a function that can pause: C++23's std::generator, as far as we need it.
#pragma once

#include <coroutine>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace ground {

// The names are those of std::generator: begin(), end(), and an iterator that resumes the body when
// it is incremented. next() comes from Python. Lazy: nothing runs before the first value is asked
// for. Movable only; owns the body's frame, so destroying a generator that is paused destroys what
// its body holds. What the body throws, begin(), ++ and next() throw.
template <typename T>
class [[nodiscard]] Generator {
  public:
    class promise_type {
      public:
        Generator get_return_object() { return Generator(Handle::from_promise(*this)); }
        std::suspend_always initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        // The value lives in the body's frame for as long as the body is paused at its co_yield.
        std::suspend_always yield_value(const T& value) noexcept
        {
            value_ = std::addressof(value);
            return {};
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

    // Runs to the next co_yield and returns its value, or nothing if the body has ended instead.
    // Not to be called after the end.
    std::optional<T> next()
    {
        resume(body_);
        return body_.done() ? std::nullopt : std::optional<T>(*body_.promise().value_);
    }

  private:
    using Handle = std::coroutine_handle<promise_type>;
    explicit Generator(Handle body) noexcept : body_(body) {}

    static void resume(Handle body)
    {
        body.resume();
        if (auto error = std::exchange(body.promise().error_, nullptr)) {
            std::rethrow_exception(std::move(error));
        }
    }

    Handle body_;
};

}  // namespace ground
