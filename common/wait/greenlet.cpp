#include "common/wait/greenlet.hpp"

#include <cxxabi.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string_view>

#if defined(GROUND_ASAN)
// AddressSanitizer reads this before main(). To notice a use after return, it can keep locals in
// memory of its own; newer compilers make that the default. The leak check looks into that memory
// for a thread, but not for paused greenlets. So the memory that these and main() hold would be
// reported as leaks.
extern "C" const char* __asan_default_options() { return "detect_stack_use_after_return=0"; }
#endif

namespace ground {

namespace {

using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

bool is_exit(const std::exception_ptr& error)
try {
    std::rethrow_exception(error);
} catch (const GreenletExit&) {
    return true;
} catch (...) {
    return false;
}

// Handles a touched guard page: the program ends, but says why. Everything else is left to the
// handler that was there before.
class OverflowHandler {
  public:
    // Once per process. (A sanitizer has a handler of its own, which says more.)
    static void install()
    {
        if constexpr (!sanitizers::present) {
            static const bool installed = [] {
                struct sigaction action {};
                action.sa_sigaction = handle;
                action.sa_flags = SA_SIGINFO | SA_ONSTACK;
                return ::sigaction(SIGSEGV, &action, &before) == 0;
            }();
            static thread_local const OverflowHandler stack_of_thread;
            static_cast<void>(installed);
            static_cast<void>(stack_of_thread);
        }
    }

    OverflowHandler(const OverflowHandler&) = delete;
    OverflowHandler& operator=(const OverflowHandler&) = delete;

  private:
    // The handler can't run on a full stack. It needs one of its own, in each thread.
    static constexpr std::size_t size = 16 * 1024;

    OverflowHandler()
    {
        stack_t existing{};
        ::sigaltstack(nullptr, &existing);
        if ((existing.ss_flags & SS_DISABLE) != 0) {
            memory_ = std::make_unique<std::byte[]>(size);
            const stack_t stack{memory_.get(), 0, size};
            ::sigaltstack(&stack, nullptr);
        }
    }
    ~OverflowHandler()
    {
        if (memory_) {
            const stack_t none{nullptr, SS_DISABLE, 0};
            ::sigaltstack(&none, nullptr);
        }
    }

    static void handle(int /*signal*/, siginfo_t* info, void* /*context*/)
    {
        if (Greenlet::on_guard_page(info->si_addr)) {
            constexpr std::string_view line =
                "Stack overflow: a greenlet has 256 KiB; let it call less deep, or raise "
                "Stack::size (common/wait/stack.hpp)\n";
            static_assert(Stack::size == 256 * 1024);
            [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
        }
        ::sigaction(SIGSEGV, &before, nullptr);  // the instruction runs again, into that handler
        if (info->si_code <= 0) {                // the signal was sent: there is no instruction
            ::raise(SIGSEGV);                    // arrives when this has returned
        }
    }

    static inline struct sigaction before {
    };
    std::unique_ptr<std::byte[]> memory_;
};

}  // namespace

struct Greenlet::Entry {
    // The first function on a greenlet's stack. It never returns, because it was never called.
    static void run(transfer_t arrived) noexcept
    {
        Greenlet& self = *thread_.running;
        *thread_.in_flight = {};
        Value value;
        std::exception_ptr error;
        try {
            value = receive(self, arrived);
            self.state_ = State::alive;
            value = self.body_->run(std::move(value));
        } catch (const GreenletExit&) {
            value.reset();
        } catch (...) {
            value.reset();
            error = std::current_exception();
        }
        std::exchange(self.body_, nullptr)->~AnyBody();
        self.state_ = State::dead;
        Greenlet* next = self.parent_;
        while (next->dead()) {
            next = next->parent_;
        }
        jump(self, *next, value, error ? &error : nullptr);
    }
};

Greenlet::Value Greenlet::receive_all(const Message& sent)
{
    Value value = std::move(*sent.value);
    std::exception_ptr error = sent.error == nullptr ? nullptr : std::move(*sent.error);
    if (sent.from->dead()) {
        sent.from->end();  // this also destroys sent and what it points at
    }
    if (error) {
        std::rethrow_exception(std::move(error));
    }
    return value;
}

Greenlet::Greenlet() noexcept : state_(State::alive), main_(this) { info_.is_thread(); }

Greenlet& Greenlet::main() noexcept
{
    static thread_local Greenlet the_main;
    return the_main;
}

void Greenlet::begin_thread() noexcept
{
    static_assert(sizeof(ExceptionsInFlight) == sizeof(void*) + alignof(void*));
    thread_ = {&main(), reinterpret_cast<ExceptionsInFlight*>(abi::__cxa_get_globals()), &errno};
}

void* Greenlet::place_for_body(std::size_t size, std::size_t alignment)
{
    const auto top = reinterpret_cast<std::uintptr_t>(stack_.top());
    const std::size_t distance = size + (top - size) % alignment;
    if (distance > Stack::size / 2) {
        throw std::length_error("a greenlet's body must fit on its stack");
    }
    return stack_.top() - distance;
}

void Greenlet::begin(AnyBody* body, Greenlet& parent)
{
    OverflowHandler::install();
    body_ = body;
    void* const top = body;
    const auto room = static_cast<std::size_t>(static_cast<std::byte*>(top) - stack_.bottom());
    context_ = make_fcontext(top, room, Entry::run);  // aligns downwards by itself
    info_.created(stack_.bottom(), Stack::size);
    parent.adopt(*this);
}

Greenlet::~Greenlet()
{
    if (this == main_) {
        info_.thread_ends();
        thread_.running = nullptr;
        return;
    }
    if (state_ == State::alive) {
        Greenlet& here = current();
        leave_parent();
        here.adopt(*this);
        unwinding_ = true;
        Value none;
        std::exception_ptr exit = std::make_exception_ptr(GreenletExit{});
        try {
            jump(here, *this, none, &exit);
        } catch (...) {
            // If it has thrown something else instead, that is dropped.
        }
    } else if (state_ == State::fresh) {
        std::exchange(body_, nullptr)->~AnyBody();
        state_ = State::dead;
        end();
    }
    while (first_child_ != nullptr) {
        Greenlet& child = *first_child_;
        child.leave_parent();
        parent_->adopt(child);
    }
    leave_parent();
}

Greenlet::Value Greenlet::throw_into(std::exception_ptr error)
{
    return deliver({}, std::move(error));
}

// The general case of switch_to() and throw_into().
Greenlet::Value Greenlet::deliver(Value value, std::exception_ptr error)
{
    Greenlet& here = current();
    if (main_ != here.main_) {
        throw std::logic_error("a greenlet can only be switched to by the thread that has made it");
    }
    if (here.unwinding_) {
        throw GreenletExit{};
    }
    Greenlet* to = this;
    if (error && to->state_ == State::fresh) {
        std::exchange(to->body_, nullptr)->~AnyBody();
        to->state_ = State::dead;
        to->end();
    }
    if (to->dead()) {
        while (to->dead()) {
            to = to->parent_;
        }
        if (error && is_exit(error)) {
            error = nullptr;
        }
    }
    if (to != &here) {
        return jump(here, *to, value, error ? &error : nullptr);
    }
    if (error) {
        std::rethrow_exception(std::move(error));
    }
    return value;
}

void Greenlet::end() noexcept
{
    info_.destroyed();
    stack_.reset();
}

void Greenlet::adopt(Greenlet& child) noexcept
{
    child.parent_ = this;
    child.next_sibling_ = first_child_;
    child.previous_sibling_ = nullptr;
    if (first_child_ != nullptr) {
        first_child_->previous_sibling_ = &child;
    }
    first_child_ = &child;
}

void Greenlet::leave_parent() noexcept
{
    (previous_sibling_ != nullptr ? previous_sibling_->next_sibling_ : parent_->first_child_) =
        next_sibling_;
    if (next_sibling_ != nullptr) {
        next_sibling_->previous_sibling_ = previous_sibling_;
    }
}

}  // namespace ground
