#include "common/wait/greenlet.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <any>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using ground::Greenlet;
using ground::GreenletExit;
using Value = Greenlet::Value;
using Trace = std::vector<std::string>;

namespace {

struct Mark {
    Mark(Trace& t, std::string w) : trace(t), what(std::move(w)) {}
    ~Mark() { trace.push_back(what); }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    Trace& trace;
    std::string what;
};

// Switches to the parent.
Value up(Value value = {}) { return Greenlet::current().parent()->switch_to(std::move(value)); }

int as_int(const Value& value) { return std::any_cast<int>(value); }

// Uses this many kilobytes of stack. Each call reads its caller's stack frame when it returns, so
// no compiler can make a loop of it.
[[gnu::noinline]] int deep(unsigned kilobytes,  // NOLINT(misc-no-recursion)
                           const volatile char* caller = nullptr)
{
    volatile char frame[1024];
    frame[0] = static_cast<char>(kilobytes);
    frame[1023] = static_cast<char>(kilobytes);
    const int below = kilobytes == 0 ? 0 : deep(kilobytes - 1, frame);
    return below + (caller == nullptr || frame[0] != *caller ? 1 : 0);
}

// Holds the only pointer to this memory, on the stack of its caller. (Many pieces, because copies
// of the last addresses may be left in registers and on the stack.)
struct Holder {
    std::array<std::unique_ptr<int>, 100> memory;
    Holder()
    {
        for (auto& one : memory) {
            one = std::make_unique<int>();
        }
        look_at_it();
    }
    ~Holder() { look_at_it(); }
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    // The compiler must not see that it is never read. (In a function with assembler
    // AddressSanitizer leaves locals where they are, so this is a function of its own.)
    [[gnu::noinline]] void look_at_it() { asm volatile("" : : "r"(this) : "memory"); }
};

// Ends the program with an error if the memory of a paused greenlet, or of main(), is taken for a
// leak.
[[maybe_unused]] void check_for_leaks()
{
#if defined(GROUND_ASAN)
    const Holder on_main;
    Greenlet paused([] {
        const Holder on_paused;
        up();
    });
    paused.switch_to();
    Greenlet checking([] {
        int leaks = 0;
        std::thread([&] { leaks = __lsan_do_recoverable_leak_check(); }).join();
        ::_exit(leaks == 0 ? 0 : 1);
    });
    checking.switch_to();
#endif
}

// doctest handles SIGSEGV itself. So this program runs once more and ends before it reaches
// doctest. The environment says how.
constexpr const char* ending = "GREENLET_TEST_ENDING";
[[maybe_unused]] const bool no_ending = [] {
    if (const char* const value = ::getenv(ending)) {
        const std::string_view how = value;
        const auto overflow = [] {
            Greenlet greenlet([] { deep(10'000); });
            greenlet.switch_to();
        };
        if (how == "overflow") {
            overflow();
        } else if (how == "overflow in another thread") {
            Greenlet greenlet([] {});
            std::thread(overflow).join();
        } else if (how == "sent") {
            Greenlet greenlet([] {});
            greenlet.switch_to();
            ::kill(::getpid(), SIGSEGV);
        } else if (how == "leak check") {
            check_for_leaks();
        }
        ::_exit(0);
    }
    return true;
}();

ground::test::Outcome end_by(const std::string& how)
{
    return ground::test::run(
        {.command = {"/proc/self/exe"},
         // A sanitizer's message about it must not reach its log, where it would be a finding.
         .environment = {std::string(ending) + "=" + how, "ASAN_OPTIONS=", "TSAN_OPTIONS="}});
}

// Splits the mapping at this address into as many as the kernel allows, and joins a few again.
void leave_no_room_for_mappings()
{
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    constexpr std::size_t pages = 4'000'000;  // only reserved
    void* const all = ::mmap(nullptr, pages * page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    std::size_t split = 1;
    const auto protect = [&](std::size_t number, int how) {
        return ::mprotect(static_cast<char*>(all) + number * page, page, how) == 0;
    };
    while (split < pages && protect(split, PROT_READ)) {
        split += 2;
    }
    for (int i = 0; i < 20; ++i) {
        split -= 2;
        protect(split, PROT_NONE);
    }
}

std::exception_ptr error(const char* what)
{
    return std::make_exception_ptr(std::runtime_error(what));
}

}  // namespace

TEST_CASE(
    "greenlet: two that switch to each other run in turn, and one that is left paused stays paused")
{
    // The first example of greenlet's documentation: 12, 56, 34, and never 78.
    Trace trace;
    std::optional<Greenlet> second;
    Greenlet first([&] {
        trace.push_back("12");
        second->switch_to();
        trace.push_back("34");
    });
    second.emplace([&] {
        trace.push_back("56");
        first.switch_to();
        trace.push_back("78");
    });
    first.switch_to();
    CHECK(trace == Trace{"12", "56", "34"});
    CHECK(first.dead());
    CHECK_FALSE(second->dead());
}

TEST_CASE("greenlet: nothing runs before the first switch, which passes the argument")
{
    int got = 0;
    Greenlet greenlet([&](const Value& first) { got = as_int(first); });
    CHECK(got == 0);
    CHECK_FALSE(greenlet.dead());
    greenlet.switch_to(7);
    CHECK(got == 7);
    CHECK(greenlet.dead());
}

TEST_CASE("greenlet: a switch passes a value, and returns the value that comes back")
{
    Greenlet twice([](Value n) -> Value {
        for (int i = 0; i < 2; ++i) {
            n = up(2 * as_int(n));
        }
        return std::string("the end");
    });
    CHECK(as_int(twice.switch_to(1)) == 2);
    CHECK(as_int(twice.switch_to(4)) == 8);
    CHECK(std::any_cast<std::string>(twice.switch_to(0)) == "the end");
    CHECK(twice.dead());
}

TEST_CASE("greenlet: when it ends its parent runs, whichever one switched to it last")
{
    // gr1 switches to gr2, which returns to main: as in the notes.
    Greenlet second([]() -> Value { return 2; });
    Greenlet first([&]() -> Value {
        second.switch_to();
        return 1;
    });
    CHECK(as_int(first.switch_to()) == 2);
    CHECK_FALSE(first.dead());
    CHECK(as_int(first.switch_to()) == 1);
}

TEST_CASE("greenlet: its parent is the one that created it, or the one that was named")
{
    Greenlet& main = Greenlet::current();
    CHECK(main.parent() == nullptr);
    std::unique_ptr<Greenlet> inner;
    Greenlet outer([&] {
        inner = std::make_unique<Greenlet>([] {});
        up();
    });
    outer.switch_to();
    CHECK(outer.parent() == &main);
    CHECK(inner->parent() == &outer);
    const Greenlet named([] {}, outer);
    CHECK(named.parent() == &outer);
}

TEST_CASE("greenlet: if its parent is dead, the next living ancestor is its parent")
{
    std::unique_ptr<Greenlet> inner;
    Greenlet outer([&] { inner = std::make_unique<Greenlet>([]() -> Value { return 3; }); });
    outer.switch_to();
    CHECK(outer.dead());
    CHECK(as_int(inner->switch_to()) == 3);
}

TEST_CASE("greenlet: when a parent is destroyed, its own parent gets its children")
{
    std::vector<std::unique_ptr<Greenlet>> children;
    auto outer = std::make_unique<Greenlet>([&] {
        for (int i = 0; i < 3; ++i) {
            children.push_back(std::make_unique<Greenlet>([i]() -> Value { return i; }));
        }
        up();
    });
    outer->switch_to();
    children.erase(children.begin() + 1);
    outer.reset();
    CHECK(children[0]->parent() == &Greenlet::current());
    CHECK(as_int(children[0]->switch_to()) == 0);
    CHECK(as_int(children[1]->switch_to()) == 2);
}

TEST_CASE("greenlet: its parent catches what it throws, where the parent waits")
{
    Greenlet greenlet([] { throw std::runtime_error("from below"); });
    CHECK_THROWS_WITH_AS(greenlet.switch_to(), "from below", std::runtime_error);
    CHECK(greenlet.dead());
}

TEST_CASE("greenlet: throw_into throws where it waits, and it may go on")
{
    Trace trace;
    Greenlet greenlet([&]() -> Value {
        try {
            up();
        } catch (const std::runtime_error& e) {
            trace.push_back(e.what());
        }
        return 5;
    });
    greenlet.switch_to();
    CHECK(as_int(greenlet.throw_into(error("wake up"))) == 5);
    CHECK(trace == Trace{"wake up"});
}

TEST_CASE("greenlet: throw_into ends one that has not begun, and its parent gets the exception")
{
    bool begun = false;
    const auto held = std::make_shared<int>(1);
    Greenlet greenlet([&begun, held] { begun = true; });
    CHECK_THROWS_WITH(greenlet.throw_into(error("too early")), "too early");
    CHECK(greenlet.dead());
    CHECK_FALSE(begun);
    CHECK(held.use_count() == 1);
}

TEST_CASE("greenlet: GreenletExit ends it quietly")
{
    Greenlet greenlet([]() -> Value {
        up();
        return 1;
    });
    greenlet.switch_to();
    CHECK_FALSE(greenlet.throw_into(std::make_exception_ptr(GreenletExit{})).has_value());
    CHECK(greenlet.dead());
    CHECK_NOTHROW(greenlet.throw_into(std::make_exception_ptr(GreenletExit{})));
}

TEST_CASE("greenlet: a switch to a dead one is a switch to its parent")
{
    Greenlet greenlet([] {});
    greenlet.switch_to();
    CHECK(as_int(greenlet.switch_to(9)) == 9);
    CHECK_THROWS_WITH(greenlet.throw_into(error("no greenlet")), "no greenlet");
}

TEST_CASE("greenlet: one that is dropped while paused unwinds its stack, from the inside out")
{
    Trace trace;
    {
        Greenlet greenlet([&] {
            const Mark outer(trace, "outer");
            [&] {
                const Mark inner(trace, "inner");
                up();
                trace.push_back("never");
            }();
        });
        greenlet.switch_to();
        CHECK(trace.empty());
    }
    CHECK(trace == Trace{"inner", "outer"});
}

TEST_CASE("greenlet: one that is dropped before it has begun releases what its body holds")
{
    const auto held = std::make_shared<int>(1);
    {
        const Greenlet greenlet([held] {});
        CHECK(held.use_count() == 2);
    }
    CHECK(held.use_count() == 1);
}

TEST_CASE("greenlet: one that is being unwound can't pause")
{
    Trace trace;
    {
        Greenlet greenlet([&] {
            try {
                up();
            } catch (const GreenletExit&) {
                trace.push_back("asked to end");
                try {
                    up();
                } catch (const GreenletExit&) {
                    trace.push_back("asked again");
                }
            }
            up();
            trace.push_back("never");
        });
        greenlet.switch_to();
    }
    CHECK(trace == Trace{"asked to end", "asked again"});
}

TEST_CASE("greenlet: an exception in flight belongs to the stack that handles it")
{
    const auto caught_and_rethrown = [](const char* what) {
        return [what]() -> Value {
            try {
                throw std::runtime_error(what);
            } catch (...) {
                up();
                try {
                    throw;  // whose?
                } catch (const std::runtime_error& e) {
                    return std::string(e.what());
                }
            }
            return {};
        };
    };
    Greenlet one(caught_and_rethrown("one"));
    Greenlet two(caught_and_rethrown("two"));
    one.switch_to();
    two.switch_to();
    CHECK_FALSE(std::current_exception());
    CHECK(std::any_cast<std::string>(one.switch_to()) == "one");
    CHECK(std::any_cast<std::string>(two.switch_to()) == "two");
}

TEST_CASE("greenlet: a new one does not see the exceptions of the one that starts it")
{
    bool none = false;
    int uncaught = -1;
    struct Starter {
        Greenlet& greenlet;
        ~Starter()
        {
            greenlet.switch_to();
            CHECK(std::uncaught_exceptions() == 1);
        }
    };
    Greenlet greenlet([&] {
        uncaught = std::uncaught_exceptions();
        none = !std::current_exception();
    });
    try {
        const Starter starter{greenlet};
        throw std::runtime_error("on its way");
    } catch (const std::runtime_error&) {
        CHECK(std::uncaught_exceptions() == 0);
    }
    CHECK(none);
    CHECK(uncaught == 0);
}

TEST_CASE("greenlet: each has an errno of its own")
{
    Greenlet greenlet([] {
        errno = EAGAIN;
        up();
        CHECK(errno == EAGAIN);
        errno = EPIPE;
    });
    errno = EINTR;
    greenlet.switch_to();
    CHECK(errno == EINTR);
    greenlet.switch_to();
    CHECK(errno == EINTR);
    std::thread([] {
        Greenlet another([] { errno = EPIPE; });
        errno = EAGAIN;
        another.switch_to();
        CHECK(errno == EAGAIN);
    }).join();
    CHECK(errno == EINTR);
}

TEST_CASE("greenlet: a thread_local belongs to the thread, on every stack")
{
    static thread_local int counter = 0;
    const auto count = [] {
        for (int i = 0; i < 3; ++i) {
            ++counter;
            up();
        }
    };
    const auto both = [&] {
        Greenlet one(count);
        Greenlet two(count);
        for (int i = 0; i < 3; ++i) {
            one.switch_to();
            two.switch_to();
        }
        CHECK(counter == 6);
    };
    both();
    std::thread(both).join();
}

TEST_CASE("greenlet: another thread may not switch to it")
{
    Greenlet greenlet([] {});
    std::thread([&] {
        CHECK_THROWS_AS(greenlet.switch_to(), std::logic_error);
        CHECK_THROWS_AS(greenlet.throw_into(error("no")), std::logic_error);
    }).join();
    greenlet.switch_to();
    CHECK(greenlet.dead());
}

TEST_CASE("greenlet: it can pause in the middle of calls that know nothing of it")
{
    std::vector<int> numbers{3, 1, 2};
    int comparisons = 0;
    Greenlet sorting([&] {
        std::sort(numbers.begin(), numbers.end(), [&](int a, int b) {
            ++comparisons;
            up();
            return a < b;
        });
    });
    int switches = 0;
    while (!sorting.dead()) {
        sorting.switch_to();
        ++switches;
    }
    CHECK(numbers == std::vector<int>{1, 2, 3});
    CHECK(switches == comparisons + 1);
}

TEST_CASE("greenlet: only the used part of a stack takes memory" *
          doctest::skip(ground::sanitizers::present))
{
    Greenlet shallow([] { up(); });
    shallow.switch_to();
    CHECK(shallow.stack_touched() <= 8 * 1024);
    Greenlet deeper([] {
        deep(100);
        up();
    });
    deeper.switch_to();
    CHECK(deeper.stack_touched() >= 100 * 1024);
    CHECK(deeper.stack_touched() < ground::Stack::size);
    deeper.switch_to();
    CHECK(deeper.stack_touched() == 0);
}

TEST_CASE(
    "greenlet: some stacks are kept for reuse, and the others are unmapped, as are those of a "
    "thread that ends" *
    doctest::skip(ground::sanitizers::present))
{
    const auto mappings = [] {
        std::ifstream maps("/proc/self/maps");
        return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
    };
    const auto use_stacks = [] {
        std::vector<std::unique_ptr<Greenlet>> greenlets;
        for (int i = 0; i < 300; ++i) {
            greenlets.push_back(std::make_unique<Greenlet>([] {}));
        }
    };
    std::thread([] { Greenlet([] {}).switch_to(); }).join();
    const auto before = mappings();
    for (int i = 0; i < 4; ++i) {
        std::thread(use_stacks).join();
    }
    CHECK(mappings() < before + 20);
    use_stacks();
    CHECK(mappings() < before + 2 * 64 + 20);
}

TEST_CASE("greenlet: ten thousand can be paused at a time, and each can go on")
{
    std::vector<std::unique_ptr<Greenlet>> greenlets;
    const int number = ground::sanitizers::present ? 500 : 10'000;
    for (int i = 0; i < number; ++i) {
        greenlets.push_back(std::make_unique<Greenlet>([i]() -> Value {
            up();
            return i;
        }));
        greenlets.back()->switch_to();
    }
    int sum = 0;
    for (const auto& greenlet : greenlets) {
        sum += as_int(greenlet->switch_to());
    }
    CHECK(sum == number * (number - 1) / 2);
}

TEST_CASE(
    "greenlet: when there is no room for stacks, creation says so, and no stack lacks its guard" *
    doctest::skip(ground::sanitizers::present))
{
    // In a process of its own, because the list of mappings is full afterwards.
    const pid_t child = ::fork();
    if (child == 0) {
        leave_no_room_for_mappings();
        std::vector<std::unique_ptr<Greenlet>> greenlets;
        try {
            while (greenlets.size() < 200) {
                greenlets.push_back(std::make_unique<Greenlet>([] {}));
            }
            ::_exit(3);  // without guards they are one mapping
        } catch (const std::system_error& e) {
            ::_exit(e.code().value() == ENOMEM ? 0 : 1);
        } catch (...) {
            ::_exit(2);
        }
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("greenlet: too deep calls hit the guard page, and a message says why the program ends")
{
    for (const char* const where : {"overflow", "overflow in another thread"}) {
        CAPTURE(where);
        const auto ended = end_by(where);
        CAPTURE(ended.err);
        if (ground::sanitizers::present) {
            CHECK(ended.status != 0);
        } else {
            CHECK(ended.status == -SIGSEGV);
            CHECK(ended.err.starts_with("Stack overflow: a greenlet has 256 KiB; "));
            CHECK(ended.err.find('\n') == ended.err.size() - 1);
        }
    }
}

TEST_CASE(
    "greenlet: a SIGSEGV that was sent ends the program at once, without a message about stacks" *
    doctest::skip(ground::sanitizers::present))
{
    const auto ended = end_by("sent");
    CHECK(ended.status == -SIGSEGV);
    CHECK(ended.err == "");
}

TEST_CASE("greenlet: objects on a paused stack do not count as a leak" *
          doctest::skip(!ground::sanitizers::present))
{
    const auto ended = end_by("leak check");
    CAPTURE(ended.err);
    CHECK(ended.status == 0);
}
