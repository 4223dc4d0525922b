#include "common/wait/coroutine.hpp"

#include "common/wait/generator.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace ground;

namespace {

// Each object that is alive holds a copy, so use_count() counts them.
using Token = std::shared_ptr<int>;

Generator<int> count(int from, int to)
{
    for (int i = from; i < to; ++i) {
        co_yield i;
    }
}

Generator<int> note_the_start(bool& started)
{
    started = true;
    co_yield 1;
}

Generator<std::string> hold(Token token)
{
    co_yield "first";
    co_yield "second";
    *token = 1;
}

Generator<int> fail_after(int values)
{
    for (int i = 0; i < values; ++i) {
        co_yield i;
    }
    throw std::runtime_error("no more");
}

// Gives the sum of the values that were sent, until one is 0.
Generator<int, std::unique_ptr<int>> sum(Token token)
{
    int total = *token;
    for (;;) {
        const std::unique_ptr<int> more = co_yield total;
        if (*more == 0) {
            co_return;
        }
        total += *more;
    }
}

}  // namespace

TEST_CASE("generator: nothing runs before the first value is asked for")
{
    bool started = false;
    Generator<int> generator = note_the_start(started);
    CHECK_FALSE(started);
    CHECK(*generator.next() == 1);
    CHECK(started);
}

TEST_CASE("generator: next() gives each value and then nothing")
{
    Generator<int> generator = count(3, 5);
    CHECK(*generator.next() == 3);
    CHECK(*generator.next() == 4);
    CHECK(generator.next() == std::nullopt);
}

TEST_CASE("generator: an empty one gives nothing")
{
    Generator<int> generator = count(0, 0);
    CHECK(generator.next() == std::nullopt);
    for ([[maybe_unused]] const int value : count(0, 0)) {
        FAIL("there is none");
    }
}

TEST_CASE("generator: works in a range-based for")
{
    std::vector<int> values;
    for (const int value : count(0, 4)) {
        values.push_back(value);
    }
    CHECK(values == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("generator: an exception of the body comes out in place of the value")
{
    Generator<int> generator = fail_after(1);
    CHECK(*generator.next() == 0);
    CHECK_THROWS_WITH_AS(generator.next(), "no more", std::runtime_error);
    CHECK_THROWS_WITH_AS(static_cast<void>(fail_after(0).begin()), "no more", std::runtime_error);
    const auto loop = [] {
        for ([[maybe_unused]] const int value : fail_after(2)) {
        }
    };
    CHECK_THROWS_WITH_AS(loop(), "no more", std::runtime_error);
}

TEST_CASE("generator: the objects of the body live exactly as long as the generator or the body")
{
    const Token token = std::make_shared<int>(0);
    {
        Generator<std::string> never_started = hold(token);
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);
    {
        Generator<std::string> paused = hold(token);
        CHECK(*paused.next() == "first");
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);
    {
        Generator<std::string> to_its_end = hold(token);
        while (to_its_end.next() != std::nullopt) {
        }
    }
    CHECK(token.use_count() == 1);
    CHECK(*token == 1);
}

TEST_CASE("generator: co_yield returns the value that was sent, even if it is move-only")
{
    const Token token = std::make_shared<int>(1);
    {
        auto generator = sum(token);
        CHECK(*generator.next() == 1);
        CHECK(*generator.send(std::make_unique<int>(2)) == 3);
        CHECK(*generator.send(std::make_unique<int>(4)) == 7);
        CHECK(generator.send(std::make_unique<int>(0)) == std::nullopt);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("generator: it throws if no value was sent when it needs one")
{
    auto generator = sum(std::make_shared<int>(1));
    CHECK(*generator.next() == 1);
    CHECK(*generator.send(std::make_unique<int>(2)) == 3);
    CHECK_THROWS_AS(generator.next(), std::bad_optional_access);
}

TEST_CASE("generator: moving it moves the body")
{
    const Token token = std::make_shared<int>(0);
    {
        Generator<std::string> first = hold(token);
        CHECK(*first.next() == "first");
        Generator<std::string> second = std::move(first);
        CHECK(*second.next() == "second");
        CHECK(token.use_count() == 2);
        second = hold(token);
        CHECK(*second.next() == "first");
    }
    CHECK(token.use_count() == 1);
}

// ---------------------------------------------------------------------------------------------

namespace {

// These coroutines wait for a number, and the test is their scheduler.
template <typename T>
using Giving = Coroutine<int, T>;
using Task = Coroutine<int>;

Giving<int> give(int value) { co_return value; }

Giving<int> note_that_it_runs(bool& runs)
{
    runs = true;
    co_return 1;
}

Giving<std::string> give_after(int wait, std::string value)
{
    co_await wait;
    co_return value;
}

Giving<int> fail_after_waiting(int wait)
{
    co_await wait;
    throw std::runtime_error("no luck");
}

Giving<std::unique_ptr<int>> give_what_can_only_be_moved()
{
    auto value = std::make_unique<int>(7);
    co_return value;
}

Giving<int> sum_of_two()
{
    const int a = co_await give(1);
    const int b = co_await give(2);
    co_return a + b;
}

Giving<long> sum_in_a_loop(int rounds)
{
    long sum = 0;
    for (int i = 0; i < rounds; ++i) {
        sum += co_await give(1);
    }
    co_return sum;
}

Giving<int> depth(int levels)
{
    if (levels == 0) {
        co_return 0;
    }
    const int below = co_await depth(levels - 1);
    co_return below + 1;
}

Giving<int> depth_over_a_wait(int levels)
{
    if (levels == 0) {
        co_await 1;
        co_return 0;
    }
    const int below = co_await depth_over_a_wait(levels - 1);
    co_return below + 1;
}

template <typename T>
Task store(Giving<T> giving, T& result)
{
    result = co_await std::move(giving);
}

Task wait_for_both(int first, int second)
{
    co_await first;
    co_await second;
}

Task hold_over_a_wait(Token token)
{
    co_await 1;
    *token += 1;
}

Task hold_and_throw([[maybe_unused]] Token token)
{
    co_await 1;
    throw std::runtime_error("no luck");
}

Task hold_two_deep(Token token)
{
    co_await hold_over_a_wait(token);
    co_await 2;
    *token += 1;
}

Task catch_what_it_throws(Giving<int> giving, std::string& error)
{
    try {
        co_await std::move(giving);
    } catch (const std::runtime_error& problem) {
        error = problem.what();
    }
    co_await 2;
}

// Runs one that waits for nothing.
template <typename T>
T run(Giving<T> giving)
{
    T result{};
    REQUIRE(store(std::move(giving), result).next() == std::nullopt);
    return result;
}

}  // namespace

TEST_CASE("coroutine: nothing runs before it is awaited")
{
    bool runs = false;
    Giving<int> coroutine = note_that_it_runs(runs);
    int result = 0;
    Task outermost = store(std::move(coroutine), result);
    CHECK_FALSE(runs);
    CHECK(outermost.next() == std::nullopt);
    CHECK(runs);
    CHECK(result == 1);
}

TEST_CASE("coroutine: gives what it returns, even if it is move-only")
{
    CHECK(run(give(5)) == 5);
    CHECK(run(sum_of_two()) == 3);
    CHECK(*run(give_what_can_only_be_moved()) == 7);
}

TEST_CASE("coroutine: next() gives what it waits for, and then nothing")
{
    Task task = wait_for_both(3, 4);
    CHECK(*task.next() == 3);
    CHECK(*task.next() == 4);
    CHECK(task.next() == std::nullopt);
}

TEST_CASE("coroutine: the innermost of a chain waits, and all resume with it")
{
    std::string result;
    Task task = store(give_after(8, "done"), result);
    CHECK(*task.next() == 8);
    CHECK(result.empty());
    CHECK(task.next() == std::nullopt);
    CHECK(result == "done");
}

TEST_CASE("coroutine: its exception is thrown in the coroutine that awaits it")
{
    std::string error;
    Task task = catch_what_it_throws(fail_after_waiting(1), error);
    CHECK(*task.next() == 1);
    CHECK(error.empty());
    CHECK(*task.next() == 2);
    CHECK(error == "no luck");
    CHECK(task.next() == std::nullopt);
}

TEST_CASE("coroutine: an exception of the outermost one comes out of next()")
{
    int result = 0;
    Task task = store(fail_after_waiting(1), result);
    CHECK(*task.next() == 1);
    CHECK_THROWS_WITH_AS(task.next(), "no luck", std::runtime_error);
}

TEST_CASE("coroutine: its objects live exactly as long as it does")
{
    const Token token = std::make_shared<int>(0);
    {
        const Task never_started = hold_over_a_wait(token);
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);
    {
        Task task = hold_two_deep(token);
        CHECK(*task.next() == 1);
        const auto with_both = token.use_count();
        CHECK(*task.next() == 2);
        CHECK(token.use_count() < with_both);  // the inner one has gone
        CHECK(token.use_count() > 1);
        CHECK(task.next() == std::nullopt);
    }
    CHECK(*token == 2);
    CHECK(token.use_count() == 1);
}

TEST_CASE("coroutine: an outermost one that throws releases all that it holds")
{
    const Token token = std::make_shared<int>(0);
    {
        Task task = hold_and_throw(token);
        CHECK(*task.next() == 1);
        CHECK(token.use_count() > 1);
        CHECK_THROWS_WITH_AS(task.next(), "no luck", std::runtime_error);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("coroutine: a paused chain that is destroyed releases all that it holds")
{
    const Token token = std::make_shared<int>(0);
    {
        Task task = hold_two_deep(token);
        CHECK(*task.next() == 1);
        CHECK(token.use_count() > 2);
    }
    CHECK(token.use_count() == 1);
    CHECK(*token == 0);
}

TEST_CASE("coroutine: moving a paused chain does not disturb it")
{
    const Token token = std::make_shared<int>(0);
    {
        Task first = hold_two_deep(token);
        CHECK(*first.next() == 1);
        Task second = std::move(first);
        CHECK(*second.next() == 2);
        Task other = wait_for_both(5, 6);
        CHECK(*other.next() == 5);
        std::swap(second, other);
        CHECK(*second.next() == 6);
        CHECK(other.next() == std::nullopt);
        CHECK(*token == 2);
    }
    CHECK(token.use_count() == 1);
}

TEST_CASE("coroutine: a million calls, one after the other, need no more stack than one call")
{
    CHECK(run(sum_in_a_loop(1'000'000)) == 1'000'000);
}

TEST_CASE("coroutine: a chain of a hundred thousand needs no more stack than one")
{
    CHECK(run(depth(100'000)) == 100'000);
    int result = 0;
    Task task = store(depth_over_a_wait(100'000), result);
    CHECK(*task.next() == 1);
    CHECK(task.next() == std::nullopt);
    CHECK(result == 100'000);
}
