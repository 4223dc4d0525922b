// greenlet.hpp -- a function with a stack of its own, so that it can pause in the middle of any
// call. Names and rules are those of Python's greenlet (github.com/python-greenlet), on which
// gevent is built.
//
//     Greenlet twice([](std::any n) -> std::any {
//         for (;;) {
//             n = Greenlet::current().parent()->switch_to(2 * std::any_cast<int>(n));
//         }
//     });
//     twice.switch_to(1);  // 2
//     twice.switch_to(4);  // 8
//
// A greenlet belongs to the thread that has made it. Only that thread may switch to it, throw into
// it or destroy it, because the compiler may keep the address of a thread_local across a switch.
#pragma once

#include "common/wait/sanitizers.hpp"
#include "common/wait/stack.hpp"

#include <any>
#include <boost/context/detail/fcontext.hpp>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

namespace ground {

// The exception that unwinds a paused greenlet. It is no std::exception, so that code which handles
// those does not catch it. A catch (...) in a greenlet must rethrow it or end the greenlet.
struct GreenletExit {};

class Greenlet {
  public:
    using Value = std::any;

    // The body does not run before the first switch_to(). If it takes an argument, that is the
    // value of this switch_to(). When the body returns, the parent resumes with what it returned
    // (or nothing). When it throws, the call in which the parent waits throws the exception. If
    // GreenletExit ends the body, the parent gets nothing. This constructor throws what
    // Stack::make() throws.
    template <typename Body>
    requires(!std::same_as<std::remove_cvref_t<Body>, Greenlet>) explicit Greenlet(
        Body body, Greenlet& parent = current());

    Greenlet(const Greenlet&) = delete;
    Greenlet& operator=(const Greenlet&) = delete;

    // Unwinds the greenlet if it is paused: throws GreenletExit where it waits, and drops any other
    // exception that comes out of it. From then on it can't pause: each attempt throws GreenletExit
    // again. Its children become children of its parent. The greenlet itself must not call this.
    ~Greenlet();

    // Pauses the caller and runs this greenlet. Returns when another greenlet switches to the
    // caller, with the value that was passed. If an exception was thrown into the caller, this call
    // throws it. If this greenlet is dead, its nearest living ancestor runs. Throws
    // std::logic_error on the wrong thread.
    [[gnu::always_inline]] Value switch_to(Value value = {});

    // As switch_to(), but in this greenlet the call that waits throws the error. A greenlet that
    // has not begun is dead afterwards, and its parent gets the exception.
    Value throw_into(std::exception_ptr error);

    [[nodiscard]] static Greenlet& current() noexcept
    {
        if (thread_.running == nullptr) [[unlikely]] {
            begin_thread();
        }
        return *thread_.running;
    }

    // The greenlet that resumes when this one ends. A thread's main greenlet has none: nullptr.
    [[nodiscard]] Greenlet* parent() const noexcept { return parent_; }

    // Whether its body has been called.
    [[nodiscard]] bool begun() const noexcept { return state_ != State::fresh; }

    // Whether its body has returned or thrown.
    [[nodiscard]] bool dead() const noexcept { return state_ == State::dead; }

    // How many bytes of its stack are in memory. A dead greenlet has no stack.
    [[nodiscard]] std::size_t stack_touched() const { return stack_ ? stack_.touched() : 0; }

    // For the handler of SIGSEGV: whether this is the guard page of the running greenlet.
    [[nodiscard]] static bool on_guard_page(const void* address) noexcept
    {
        return thread_.running != nullptr && thread_.running->stack_.guards(address);
    }

  private:
    enum class State { fresh, alive, dead };

    // What goes from one stack to another. It lies on the sender's stack, and so does what it
    // points at.
    struct Message {
        Greenlet* from;
        Value* value;
        std::exception_ptr* error;  // nullptr: none
    };

    // The C++ runtime keeps this for each thread, but we need it for each stack: the exceptions
    // whose handlers are running, and the number of exceptions that are not caught yet. (The
    // Itanium C++ ABI, 2.2.2; the type is opaque, its two members are not.)
    struct ExceptionsInFlight {
        void* caught;
        unsigned uncaught;
    };

    // What a switch needs to know of its thread. To get an address costs a function call, and no
    // address changes while the thread lives. So each is asked for once. (Greenlets do not change
    // threads, so the compiler may keep the address of this across a switch.)
    struct OfThread {
        Greenlet* running;  // nullptr: there are no greenlets yet
        ExceptionsInFlight* in_flight;
        int* error_number;
    };
    static inline constinit thread_local OfThread thread_{};

    // The body, on the top of the stack that it will run on.
    struct AnyBody {
        virtual ~AnyBody() = default;
        virtual Value run(Value first) = 0;
    };
    template <typename Body>
    struct BodyOf final : AnyBody {
        explicit BodyOf(Body&& b) : body(std::move(b)) {}
        Value run(Value first) override;
        Body body;
    };

    Greenlet() noexcept;  // a thread's own stack
    static Greenlet& main() noexcept;
    static void begin_thread() noexcept;

    [[nodiscard]] void* place_for_body(std::size_t size, std::size_t alignment);
    void begin(AnyBody* body, Greenlet& parent);
    Value deliver(Value value, std::exception_ptr error);
    static Value jump(Greenlet& from, Greenlet& to, Value& value, std::exception_ptr* error);
    static Value receive(Greenlet& self, boost::context::detail::transfer_t arrived);
    static Value receive_all(const Message& sent);
    struct Entry;
    void end() noexcept;
    void adopt(Greenlet& child) noexcept;
    void leave_parent() noexcept;

    void* context_ = nullptr;  // where it resumes
    Stack stack_;
    AnyBody* body_ = nullptr;
    State state_ = State::fresh;
    bool unwinding_ = false;
    Greenlet* main_;  // the main greenlet of its thread
    Greenlet* parent_ = nullptr;
    Greenlet* first_child_ = nullptr;  // a list, linked in both directions
    Greenlet* next_sibling_ = nullptr;
    Greenlet* previous_sibling_ = nullptr;
    [[no_unique_address]] sanitizers::StackInfo info_;
};

template <typename Body>
requires(!std::same_as<std::remove_cvref_t<Body>, Greenlet>) Greenlet::Greenlet(Body body,
                                                                                Greenlet& parent)
    : stack_(Stack::make()), main_(&main())
{
    void* const place = place_for_body(sizeof(BodyOf<Body>), alignof(BodyOf<Body>));
    begin(::new (place) BodyOf<Body>(std::move(body)), parent);
}

template <typename Body>
Greenlet::Value Greenlet::BodyOf<Body>::run(Value first)
{
    if constexpr (std::is_invocable_v<Body&, Value>) {
        if constexpr (std::is_void_v<std::invoke_result_t<Body&, Value>>) {
            std::invoke(body, std::move(first));
            return {};
        } else {
            return std::invoke(body, std::move(first));
        }
    } else if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
        std::invoke(body);
        return {};
    } else {
        return std::invoke(body);
    }
}

// The switch. jump_fcontext() saves the floating point mode and the registers that a called
// function must preserve, and changes the stack. The code before this call runs on one stack, the
// code after it on the other.
//
// It is compiled into its callers. If a function is called on one stack and returns on another, the
// processor predicts that return wrongly. That costs twice as much as jump_fcontext().
//
// (jump_fcontext() is not documented, but all of Boost.Context is built on it. The documented fiber
// allocates its own stacks, and every switch returns another fiber.)
[[gnu::always_inline]] inline Greenlet::Value Greenlet::jump(Greenlet& from, Greenlet& to,
                                                             Value& value,
                                                             std::exception_ptr* error)
{
    Message message{&from, &value, error};
    // Two loads, because the last switch wrote these with two stores. A single load of both would
    // have to wait until both stores are complete.
    void* const caught = thread_.in_flight->caught;
    const unsigned uncaught = thread_.in_flight->uncaught;
    const int error_number = *thread_.error_number;
    thread_.running = &to;
    from.info_.leave(to.info_, from.dead());
    const auto arrived = boost::context::detail::jump_fcontext(to.context_, &message);
    *thread_.error_number = error_number;
    thread_.in_flight->caught = caught;
    thread_.in_flight->uncaught = uncaught;
    return receive(from, arrived);
}

// Takes what the other side has sent, and destroys that side's stack if it is dead. Throws what has
// been thrown there.
[[gnu::always_inline]] inline Greenlet::Value Greenlet::receive(
    Greenlet& self, boost::context::detail::transfer_t arrived)
{
    const Message& sent = *static_cast<const Message*>(arrived.data);
    Greenlet& from = *sent.from;
    self.info_.arrive(from.info_);
    from.context_ = arrived.fctx;
    if (from.dead() || sent.error != nullptr) [[unlikely]] {
        return receive_all(sent);
    }
    return std::move(*sent.value);
}

inline Greenlet::Value Greenlet::switch_to(Value value)
{
    Greenlet& here = current();
    if (main_ == here.main_ && !here.unwinding_ && !dead() && this != &here) [[likely]] {
        return jump(here, *this, value, nullptr);
    }
    return deliver(std::move(value), nullptr);
}

}  // namespace ground
