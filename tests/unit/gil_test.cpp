#include "common/compute/gil.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace ground;
using namespace std::chrono_literals;

namespace {

// Never over in a test: a thread that still gets the lock has not asked for it.
constexpr auto forever = 1h;

// If the lock is wrong threads wait for ever, and there is no way to end them. So the whole program
// ends, and says why.
class Watchdog : public doctest::IReporter {
  public:
    explicit Watchdog(const doctest::ContextOptions& /*unused*/)
    {
        ::signal(SIGALRM, [](int) {
            constexpr std::string_view line =
                "gil: a thread waits for ever; this test has failed\n";
            [[maybe_unused]] const ssize_t size = ::write(STDERR_FILENO, line.data(), line.size());
            ::_exit(1);
        });
    }
    void test_case_start(const doctest::TestCaseData& /*unused*/) override
    {
        ::alarm(static_cast<unsigned>(ground::test::patience.count()));
    }
    void test_case_end(const doctest::CurrentTestCaseStats& /*unused*/) override { ::alarm(0); }

    void report_query(const doctest::QueryData& /*unused*/) override {}
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats& /*unused*/) override {}
    void test_case_reenter(const doctest::TestCaseData& /*unused*/) override {}
    void test_case_exception(const doctest::TestCaseException& /*unused*/) override {}
    void subcase_start(const doctest::SubcaseSignature& /*unused*/) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData& /*unused*/) override {}
    void log_message(const doctest::MessageData& /*unused*/) override {}
    void test_case_skipped(const doctest::TestCaseData& /*unused*/) override {}
};
REGISTER_LISTENER("watchdog", 1, Watchdog);

// Runs for as long as it takes. If that is for ever, the watchdog ends it.
void wait_for(const std::atomic<bool>& flag) { flag.wait(false); }

void raise(std::atomic<bool>& flag)
{
    flag = true;
    flag.notify_all();
}

}  // namespace

TEST_CASE("gil: one thread at a time has it")
{
    Gil gil(100us);
    int counter = 0;  // not atomic: ThreadSanitizer watches, and the sum would be wrong
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            Gil::Thread me(gil);
            const Gil::Guard guard(me);
            for (int k = 0; k < 20'000; ++k) {
                me.drop_if_asked();
                counter = counter + 1;
            }
        });
    }
    threads.clear();
    CHECK(counter == 80'000);
}

TEST_CASE("gil: a waiter makes a thread that never blocks release it")
{
    Gil gil(1ms);
    std::atomic<bool> taken = false;
    Gil::Thread me(gil);
    const Gil::Guard guard(me);
    std::jthread waiter([&] {
        Gil::Thread other(gil);
        const Gil::Guard other_guard(other);
        taken = true;
    });
    while (!taken) {
        me.drop_if_asked();  // the interpreter's loop
    }
    CHECK(taken);
}

TEST_CASE("gil: a thread that never looks at the drop request keeps it")
{
    Gil gil(100us);
    Gil::Thread me(gil);
    me.take();
    std::atomic<bool> taken = false;
    std::jthread waiter([&] {
        Gil::Thread other(gil);
        other.take();
        taken = true;
        other.drop();
    });
    while (!gil.drop_requested()) {
        std::this_thread::yield();
    }
    CHECK_FALSE(taken);
    me.drop();
    waiter.join();
    CHECK(taken);
}

TEST_CASE(
    "gil: a thread that gives it up on request does not get it back before another thread has had "
    "it")
{
    Gil gil(100us);
    for (int round = 0; round < 50; ++round) {
        Gil::Thread me(gil);
        me.take();
        bool taken = false;  // guarded by the lock that is tested
        std::jthread waiter([&] {
            Gil::Thread other(gil);
            other.take();
            taken = true;
            other.drop();
        });
        while (!gil.drop_requested()) {
            std::this_thread::yield();
        }
        me.drop_if_asked();
        REQUIRE(taken);
        me.drop();
    }
}

TEST_CASE(
    "gil: a thread that takes it has it for a whole interval, however long others have waited")
{
    constexpr auto interval = 100ms;
    Gil gil(interval);
    for (int round = 0; round < 3; ++round) {
        Gil::Thread me(gil);
        me.take();
        std::vector<std::jthread> waiters;
        std::atomic<int> announced = 0;
        std::atomic<int> holders = 0;
        std::chrono::steady_clock::time_point asked;  // guarded by the lock that is tested
        for (int i = 0; i < 2; ++i) {
            waiters.emplace_back([&] {
                Gil::Thread other(gil);
                ++announced;
                other.take();
                if (++holders == 1) {  // the first of them, while the other one waits
                    while (!gil.drop_requested()) {
                        std::this_thread::yield();
                    }
                    asked = std::chrono::steady_clock::now();
                }
                other.drop();
            });
        }
        while (announced < 2) {
            std::this_thread::yield();
        }
        // Somewhere in their interval. The place only affects how surely this finds a fault.
        std::this_thread::sleep_for(interval / 2);
        const auto dropped = std::chrono::steady_clock::now();
        me.drop();
        waiters.clear();
        REQUIRE(asked >= dropped + interval);
    }
}

TEST_CASE("gil: a thread that blocks releases it without being asked")
{
    Gil gil(forever);
    Gil::Thread me(gil);
    const Gil::Guard guard(me);
    std::atomic<bool> taken = false;
    std::jthread waiter([&] {
        Gil::Thread other(gil);
        const Gil::Guard other_guard(other);
        raise(taken);
    });
    const std::string result = me.without_lock([&] {
        wait_for(taken);
        return std::string("what the call returns");
    });
    CHECK(result == "what the call returns");
    CHECK_FALSE(gil.drop_requested());
}

TEST_CASE("gil: it is taken again when a call that runs without it throws")
{
    Gil gil(forever);
    Gil::Thread me(gil);
    {
        const Gil::Guard guard(me);
        CHECK_THROWS_AS(me.without_lock([]() -> int { throw 42; }), int);
        Gil::Thread other(gil);
        std::stop_source stopped;
        stopped.request_stop();
        CHECK_FALSE(other.take(stopped.get_token()));
    }
    CHECK(me.take());  // and released, once
    me.drop();
}

TEST_CASE("gil: a waiter that gives up withdraws its drop request")
{
    Gil gil(100us);
    Gil::Thread me(gil);
    me.take();
    std::atomic<bool> has_taken = false;
    std::jthread waiter([&](const std::stop_token& stop) {
        Gil::Thread other(gil);
        has_taken = other.take(stop);
    });
    while (!gil.drop_requested()) {
        std::this_thread::yield();
    }
    waiter.request_stop();
    waiter.join();
    CHECK_FALSE(has_taken);
    CHECK_FALSE(gil.drop_requested());
    me.drop();  // with a forgotten request it would wait for ever for a thread that takes the lock
    CHECK(me.take());
    me.drop();
}
