// greenlet.hpp -- a function with a stack of its own, so that it can pause in the middle of any
// call: greenlet, which gevent stands on (github.com/python-greenlet), with its names and rules.
//
//     Greenlet twice([](std::any n) -> std::any {
//         for (;;) {
//             n = Greenlet::current().parent()->switch_to(2 * std::any_cast<int>(n));
//         }
//     });
//     twice.switch_to(1);  // 2
//     twice.switch_to(4);  // 8
//
// A greenlet belongs to the thread that has made it, and only that thread may switch to it, throw
// into it or destroy it: the compiler may keep the address of a thread_local across a switch.
#pragma once

#include "common/wait/sanitizers.hpp"
#include "common/wait/stack.hpp"

#include <any>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

namespace ground {

// What a paused greenlet is unwound with. Not a std::exception, so that who handles those does not
// take it for one. Who catches (...) in a greenlet either passes it on or comes to an end.
struct GreenletExit {};

class Greenlet {
  public:
    using Value = std::any;

    // Nothing of body runs before the first switch_to(), whose value it is called with, if it takes
    // one. When it returns, the parent goes on, with what it returned (or nothing); when it throws,
    // the parent goes on with the exception, thrown out of the call in which it waits. A body that
    // ends by GreenletExit has returned nothing. Throws what Stack::make() throws.
    template <typename Body>
    requires(!std::same_as<std::remove_cvref_t<Body>, Greenlet>) explicit Greenlet(
        Body body, Greenlet& parent = current());

    Greenlet(const Greenlet&) = delete;
    Greenlet& operator=(const Greenlet&) = delete;

    // If it is paused, it is unwound: GreenletExit is thrown where it waits, and what else may come
    // out of it is dropped. From then on it can't pause: each attempt throws GreenletExit again.
    // Its children become those of its parent. Not to be called by the greenlet itself.
    ~Greenlet();

    // Pauses who calls and runs this one. Returns when somebody switches to who called: with the
    // value that was passed then; or throws what was thrown into it. Of a greenlet that is dead the
    // nearest living ancestor is meant. Throws std::logic_error on the wrong thread.
    Value switch_to(Value value = {});

    // As switch_to(), but there the call that waits throws. One that has not begun is dead then,
    // and its parent gets the exception.
    Value throw_into(std::exception_ptr error);

    [[nodiscard]] static Greenlet& current() noexcept;

    // Where control goes at the end. A thread's main greenlet has none: nullptr.
    [[nodiscard]] Greenlet* parent() const noexcept { return parent_; }

    // Whether its body has been called.
    [[nodiscard]] bool begun() const noexcept { return state_ != State::fresh; }

    // Whether its body has returned or thrown.
    [[nodiscard]] bool dead() const noexcept { return state_ == State::dead; }

    // How many bytes of its stack are memory; a dead one has none.
    [[nodiscard]] std::size_t stack_touched() const { return stack_ ? stack_.touched() : 0; }

    // For the handler of SIGSEGV.
    [[nodiscard]] bool guards(const void* address) const noexcept { return stack_.guards(address); }

  private:
    enum class State { fresh, alive, dead };

    // What goes from one stack to another. It stands on that of the sender.
    struct Message {
        Value value;
        std::exception_ptr error;
        Greenlet* from = nullptr;
    };

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

    [[nodiscard]] void* place_for_body(std::size_t size, std::size_t alignment);
    void begin(AnyBody* body, Greenlet& parent);
    Value deliver(Message message);
    static Message jump(Greenlet& from, Greenlet& to, Message& message) noexcept;
    struct Entry;
    void end() noexcept;
    void adopt(Greenlet& child) noexcept;
    void leave_parent() noexcept;

    void* context_ = nullptr;  // where it goes on
    Stack stack_;
    AnyBody* body_ = nullptr;
    State state_ = State::fresh;
    bool unwinding_ = false;
    Greenlet* main_;  // that of its thread
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

}  // namespace ground
