// coroutine.hpp -- a generator that can call other generators: Python's coroutine.
#pragma once

#include "common/observe/seams.hpp"

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace ground {

template <typename Wait, typename T>
class Coroutine;

namespace coroutine_detail {

// What the coroutines of a chain share. (Each of them awaits the next one.) The outermost coroutine
// contains it.
template <typename Wait>
struct Chain {
    std::coroutine_handle<> innermost;  // the only one of them that can be resumed
    const Wait* wait = nullptr;         // what that one waits for
};

template <typename Wait>
class PromiseBase {
  public:
    std::suspend_always initial_suspend() noexcept { return {}; }

    // When a coroutine ends, its caller resumes. If it has no caller, next() returns. Because the
    // handle of the caller is returned, the caller resumes by a jump (symmetric transfer), and a
    // loop of calls needs no stack.
    struct Return {
        bool await_ready() noexcept { return false; }
        template <typename Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept
        {
            PromiseBase& promise = ended.promise();
            if (!promise.caller_) {
                return std::noop_coroutine();
            }
            promise.chain_->innermost = promise.caller_;
            return promise.caller_;
        }
        void await_resume() noexcept {}
    };
    Return final_suspend() noexcept { return {}; }

    // co_await of a Wait pauses the whole chain. The operand lives in the coroutine frame
    // meanwhile.
    std::suspend_always await_transform(const Wait& wait, Here here = Here::at()) noexcept
    {
        observe::reports_wait(wait, here);
        chain_->wait = &wait;
        return {};
    }

    // co_await of another coroutine calls it.
    template <typename U>
    class Call {
      public:
        Call(Coroutine<Wait, U>&& callee, Here here) noexcept
            : callee_(std::move(callee)), seam_(here)
        {
        }
        bool await_ready() noexcept { return false; }
        template <typename Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> caller) noexcept
        {
            PromiseBase& promise = callee_.body_.promise();
            promise.caller_ = caller;
            promise.chain_ = static_cast<PromiseBase&>(caller.promise()).chain_;
            promise.chain_->innermost = callee_.body_;
            return callee_.body_;
        }
        U await_resume()
        {
            seam_.returns();
            return callee_.body_.promise().result();
        }

      private:
        Coroutine<Wait, U> callee_;
        observe::Calls seam_;
    };
    template <typename U>
    Call<U> await_transform(Coroutine<Wait, U>&& callee, Here here = Here::at()) noexcept
    {
        return Call<U>(std::move(callee), here);
    }

  protected:
    PromiseBase() = default;
    ~PromiseBase() = default;
    PromiseBase(const PromiseBase&) = delete;
    PromiseBase& operator=(const PromiseBase&) = delete;

  private:
    template <typename, typename>
    friend class ground::Coroutine;

    Chain<Wait> own_chain_;  // used by the outermost coroutine
    Chain<Wait>* chain_ = &own_chain_;
    std::coroutine_handle<> caller_;
};

template <typename Wait, typename T>
class Promise final : public PromiseBase<Wait> {
  public:
    Coroutine<Wait, T> get_return_object() noexcept;
    void return_value(T value) { outcome_.template emplace<1>(std::move(value)); }
    void unhandled_exception() noexcept { outcome_.template emplace<2>(std::current_exception()); }
    T result()
    {
        if (auto* error = std::get_if<2>(&outcome_)) {
            std::rethrow_exception(std::move(*error));
        }
        return std::get<1>(std::move(outcome_));
    }

  private:
    std::variant<std::monostate, T, std::exception_ptr> outcome_;
};

template <typename Wait>
class Promise<Wait, void> final : public PromiseBase<Wait> {
  public:
    Coroutine<Wait, void> get_return_object() noexcept;
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

}  // namespace coroutine_detail

// A coroutine can await two things. If it awaits another coroutine, it gets a T. If it awaits a
// Wait, this goes to the caller of next(), as a generator's values do. (next() runs the outermost
// coroutine of the chain.) So a scheduler runs a chain of coroutines exactly as it runs a
// generator.
//
// Lazy: nothing runs before next(), or before it is awaited. Movable only. It owns the coroutine
// frame, so destroying the outermost coroutine of a chain destroys what all of them hold. Not
// thread-safe, but a paused chain may be handed from one thread to another.
template <typename Wait, typename T = void>
class [[nodiscard]] Coroutine {
  public:
    using promise_type = coroutine_detail::Promise<Wait, T>;

    Coroutine(Coroutine&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
    Coroutine& operator=(Coroutine&& other) noexcept
    {
        std::swap(body_, other.body_);
        return *this;
    }
    ~Coroutine()
    {
        if (body_) {
            body_.destroy();
        }
    }

    // Runs the chain to the next Wait that is awaited, and returns this Wait. Returns nothing if
    // this coroutine, the outermost one, has ended. Throws what it has thrown. Do not call it after
    // the end.
    std::optional<Wait> next() requires std::is_void_v<T>
    {
        auto& promise = body_.promise();
        promise.own_chain_.innermost.resume();
        observe::pauses();
        if (body_.done()) {
            promise.result();
            return std::nullopt;
        }
        return *promise.own_chain_.wait;
    }

  private:
    template <typename>
    friend class coroutine_detail::PromiseBase;
    friend promise_type;

    using Handle = std::coroutine_handle<promise_type>;
    explicit Coroutine(Handle body) noexcept : body_(body)
    {
        body_.promise().own_chain_.innermost = body_;
    }

    Handle body_;
};

template <typename Wait, typename T>
Coroutine<Wait, T> coroutine_detail::Promise<Wait, T>::get_return_object() noexcept
{
    return Coroutine<Wait, T>(std::coroutine_handle<Promise>::from_promise(*this));
}

template <typename Wait>
Coroutine<Wait, void> coroutine_detail::Promise<Wait, void>::get_return_object() noexcept
{
    return Coroutine<Wait, void>(std::coroutine_handle<Promise>::from_promise(*this));
}

}  // namespace ground
