#include "common/generator.hpp"
#include "common/task.hpp"

#include <doctest/doctest.h>

#include <coroutine>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using namespace ground;

namespace {

// Whoever holds a copy is alive.
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
    CHECK(generator.next() == nullptr);
}

TEST_CASE("generator: an empty one gives nothing")
{
    Generator<int> generator = count(0, 0);
    CHECK(generator.next() == nullptr);
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

TEST_CASE("generator: what the body throws comes out where the value would have")
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

TEST_CASE("generator: what the body holds lives exactly as long as the generator or the body")
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
        while (to_its_end.next() != nullptr) {
        }
    }
    CHECK(token.use_count() == 1);
    CHECK(*token == 1);
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

// Something to wait for: readiness driven by hand.
class Gate {
  public:
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiting) noexcept { waiting_ = waiting; }
    void await_resume() const noexcept {}

    [[nodiscard]] bool awaited() const { return waiting_ != nullptr; }
    void open() { std::exchange(waiting_, nullptr).resume(); }

  private:
    std::coroutine_handle<> waiting_;
};

// An awaiter that refers to a gate: hold the gate elsewhere.
struct GateOpen {
    explicit GateOpen(Gate& g) : gate(&g) {}
    bool await_ready() const noexcept { return gate->await_ready(); }
    void await_suspend(std::coroutine_handle<> waiting) const noexcept
    {
        gate->await_suspend(waiting);
    }
    void await_resume() const noexcept {}
    Gate* gate;
};

Task<int> give(int value) { co_return value; }

Task<int> note_that_it_runs(bool& runs)
{
    runs = true;
    co_return 1;
}

Task<std::string> give_after(Gate& gate, std::string value)
{
    co_await GateOpen(gate);
    co_return value;
}

Task<> fail_after(Gate& gate)
{
    co_await GateOpen(gate);
    throw std::runtime_error("no luck");
}

Task<std::unique_ptr<int>> give_what_can_only_be_moved()
{
    auto value = std::make_unique<int>(7);
    co_return value;
}

Task<int> sum_of_two()
{
    const int a = co_await give(1);
    const int b = co_await give(2);
    co_return a + b;
}

Task<long> sum_in_a_loop(int rounds)
{
    long sum = 0;
    for (int i = 0; i < rounds; ++i) {
        sum += co_await give(1);
    }
    co_return sum;
}

Task<int> depth(int levels)
{
    if (levels == 0) {
        co_return 0;
    }
    const int below = co_await depth(levels - 1);
    co_return below + 1;
}

Task<int> depth_over(Gate& gate, int levels)
{
    if (levels == 0) {
        co_await GateOpen(gate);
        co_return 0;
    }
    const int below = co_await depth_over(gate, levels - 1);
    co_return below + 1;
}

Task<> hold_over(Gate& gate, Token token)
{
    co_await GateOpen(gate);
    *token += 1;
}

Task<> hold_two_deep(Gate& gate, Token token) { co_await hold_over(gate, token); }

// Stores what the task gives, or what it throws.
template <typename T>
struct Result {
    std::unique_ptr<T> value;
    std::string error;
};

template <typename T>
Detached store(Task<T> task, Result<T>& result)
{
    try {
        result.value = std::make_unique<T>(co_await std::move(task));
    } catch (const std::exception& error) {
        result.error = error.what();
    }
}

Detached store_end(Task<> task, bool& ended, std::string& error)
{
    try {
        co_await std::move(task);
        ended = true;
    } catch (const std::exception& problem) {
        error = problem.what();
    }
}

// Runs a task that waits for nothing.
template <typename T>
T run(Task<T> task)
{
    Result<T> result;
    store(std::move(task), result).handle().resume();
    REQUIRE(result.value);
    return std::move(*result.value);
}

}  // namespace

TEST_CASE("task: nothing runs before it is awaited")
{
    bool runs = false;
    Task<int> task = note_that_it_runs(runs);
    CHECK_FALSE(runs);
    CHECK(run(std::move(task)) == 1);
    CHECK(runs);
}

TEST_CASE("task: gives what it returns, also what can only be moved")
{
    CHECK(run(give(5)) == 5);
    CHECK(run(sum_of_two()) == 3);
    CHECK(*run(give_what_can_only_be_moved()) == 7);
}

TEST_CASE("task: pauses with what it waits for, and goes on with it")
{
    Gate gate;
    Result<std::string> result;
    store(give_after(gate, "done"), result).handle().resume();
    CHECK(gate.awaited());
    CHECK_FALSE(result.value);
    gate.open();
    REQUIRE(result.value);
    CHECK(*result.value == "done");
}

TEST_CASE("task: throws into whoever awaits it")
{
    Gate gate;
    bool ended = false;
    std::string error;
    store_end(fail_after(gate), ended, error).handle().resume();
    CHECK(error.empty());
    gate.open();
    CHECK(error == "no luck");
    CHECK_FALSE(ended);
}

TEST_CASE("task: what it holds lives exactly as long as the task")
{
    Gate gate;
    const Token token = std::make_shared<int>(0);
    {
        const Task<> never_awaited = hold_over(gate, token);
        CHECK(token.use_count() == 2);
    }
    CHECK(token.use_count() == 1);

    bool ended = false;
    std::string error;
    store_end(hold_two_deep(gate, token), ended, error).handle().resume();
    CHECK(token.use_count() > 1);
    gate.open();
    CHECK(ended);
    CHECK(*token == 1);
    CHECK(token.use_count() == 1);
}

TEST_CASE("task: a paused chain that is destroyed gives back all that it holds")
{
    Gate gate;
    const Token token = std::make_shared<int>(0);
    bool ended = false;
    std::string error;
    const std::coroutine_handle<> chain =
        store_end(hold_two_deep(gate, token), ended, error).handle();
    chain.resume();
    CHECK(token.use_count() > 1);
    chain.destroy();
    CHECK(token.use_count() == 1);
    CHECK_FALSE(ended);
}

TEST_CASE("task: moving it moves the body")
{
    Task<int> first = give(1);
    Task<int> second = std::move(first);
    second = give(2);
    CHECK(run(std::move(second)) == 2);
}

TEST_CASE("task: a million awaited in a loop need no more stack than one")
{
    CHECK(run(sum_in_a_loop(1'000'000)) == 1'000'000);
}

TEST_CASE("task: a hundred thousand deep they need no more stack than one")
{
    CHECK(run(depth(100'000)) == 100'000);
    Gate gate;
    Result<int> result;
    store(depth_over(gate, 100'000), result).handle().resume();
    gate.open();
    REQUIRE(result.value);
    CHECK(*result.value == 100'000);
}
