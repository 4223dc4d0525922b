#include "common/wait/greenlet.hpp"

#include <cxxabi.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string_view>

namespace ground {

namespace {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

// Who runs, of this thread. (Greenlets do not change threads, so that the compiler may keep the
// address of this across a switch.)
constinit thread_local Greenlet* running = nullptr;

// What the C++ runtime keeps for each thread and means for each stack: the exceptions that have
// been caught and whose handlers have not yet been left, and the number of those still on their
// way. (The Itanium C++ ABI, 2.2.2; the type is opaque, its two members are not.)
class ExceptionsInFlight {
  public:
    ExceptionsInFlight() noexcept { std::memcpy(&words_, abi::__cxa_get_globals(), sizeof words_); }
    void restore() const noexcept { std::memcpy(abi::__cxa_get_globals(), &words_, sizeof words_); }
    static void clear() noexcept { std::memset(abi::__cxa_get_globals(), 0, sizeof(Words)); }

  private:
    struct Words {
        void* caught;
        unsigned uncaught;
    };
    Words words_;
};

bool is_exit(const std::exception_ptr& error)
try {
    std::rethrow_exception(error);
} catch (const GreenletExit&) {
    return true;
} catch (...) {
    return false;
}

// A guard page has been touched: that is the end, but one that says why. Everything else is left to
// who was asked before us.
class OverflowHandler {
  public:
    // Once in a process. (A sanitizer has a handler of its own, which says more.)
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
    // The handler can't run on a stack that is full: it needs one of its own, in each thread.
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
        if (running != nullptr && running->guards(info->si_addr)) {
            constexpr std::string_view line =
                "Stack overflow: a greenlet has 256 KiB; let it call less deep, or raise "
                "Stack::size (common/wait/stack.hpp)\n";
            static_assert(Stack::size == 256 * 1024);
            [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
        }
        ::sigaction(SIGSEGV, &before, nullptr);  // the instruction is tried again, to its end
        if (info->si_code <= 0) {                // no instruction: the signal was sent
            ::raise(SIGSEGV);                    // and arrives again once this has returned
        }
    }

    static inline struct sigaction before {
    };
    std::unique_ptr<std::byte[]> memory_;
};

}  // namespace

struct Greenlet::Entry {
    // The first function on a greenlet's stack. It never returns: nobody has called it.
    static void run(transfer_t arrived) noexcept
    {
        Greenlet& self = current();
        ExceptionsInFlight::clear();
        Message message = receive(self, arrived);
        self.state_ = State::alive;
        try {
            if (message.error) {
                std::rethrow_exception(std::exchange(message.error, nullptr));
            }
            message.value = self.body_->run(std::move(message.value));
        } catch (const GreenletExit&) {
            message.value.reset();
        } catch (...) {
            message.value.reset();
            message.error = std::current_exception();
        }
        std::exchange(self.body_, nullptr)->~AnyBody();
        self.state_ = State::dead;
        Greenlet* next = self.parent_;
        while (next->dead()) {
            next = next->parent_;
        }
        jump(self, *next, message);
    }

    // Takes over what the other side has sent, and sees to the other side itself.
    static Message receive(Greenlet& self, transfer_t arrived) noexcept
    {
        Message& sent = *static_cast<Message*>(arrived.data);
        Greenlet& from = *sent.from;
        self.info_.arrive(from.info_);
        Message message = std::move(sent);
        if (from.dead()) {
            from.end();  // and with it goes what sent pointed at
        } else {
            from.context_ = arrived.fctx;
        }
        return message;
    }
};

// The switch. All of it runs on one side or the other of jump_fcontext(), which saves the registers
// that a called function has to preserve, the floating point mode, and changes the stack.
//
// This and deliver() are compiled into their callers: every function that is returned from on
// another stack than it was called on is a return that the processor has predicted wrongly.
[[gnu::always_inline]] inline Greenlet::Message Greenlet::jump(Greenlet& from, Greenlet& to,
                                                               Message& message) noexcept
{
    message.from = &from;
    const ExceptionsInFlight in_flight;
    const int error_number = errno;
    running = &to;
    from.info_.leave(to.info_, from.dead());
    const transfer_t arrived = jump_fcontext(to.context_, &message);
    errno = error_number;
    in_flight.restore();
    return Entry::receive(from, arrived);
}

Greenlet::Greenlet() noexcept : state_(State::alive), main_(this) { info_.is_thread(); }

Greenlet& Greenlet::main() noexcept
{
    static thread_local Greenlet the_main;
    return the_main;
}

Greenlet& Greenlet::current() noexcept
{
    if (running == nullptr) {
        running = &main();
    }
    return *running;
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
        running = nullptr;
        return;
    }
    if (state_ == State::alive) {
        Greenlet& here = current();
        leave_parent();
        here.adopt(*this);
        unwinding_ = true;
        Message message{{}, std::make_exception_ptr(GreenletExit{})};
        jump(here, *this, message);
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

[[gnu::always_inline]] inline Greenlet::Value Greenlet::deliver(Message message)
{
    Greenlet& here = current();
    if (main_ != here.main_) {
        throw std::logic_error("a greenlet can only be switched to by the thread that has made it");
    }
    if (here.unwinding_) {
        throw GreenletExit{};
    }
    Greenlet* to = this;
    if (message.error && to->state_ == State::fresh) {
        std::exchange(to->body_, nullptr)->~AnyBody();
        to->state_ = State::dead;
        to->end();
    }
    if (to->dead()) {
        while (to->dead()) {
            to = to->parent_;
        }
        if (message.error && is_exit(message.error)) {
            message.error = nullptr;
        }
    }
    if (to != &here) {
        message = jump(here, *to, message);
    }
    if (message.error) {
        std::rethrow_exception(std::move(message.error));
    }
    return std::move(message.value);
}

Greenlet::Value Greenlet::switch_to(Value value) { return deliver({std::move(value), nullptr}); }

Greenlet::Value Greenlet::throw_into(std::exception_ptr error)
{
    return deliver({{}, std::move(error)});
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
