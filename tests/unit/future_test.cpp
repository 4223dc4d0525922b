#include "common/wait/future.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace ground;
using ground::test::eventually;
using ground::test::process_info;

TEST_CASE("future: is not done until its promise says so")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    CHECK_FALSE(future.done());
    promise.set_result(7);
    CHECK(future.done());
    CHECK(future.result() == 7);
    CHECK(future.result() == 7);  // again, it stays there
}

TEST_CASE("future: result() rethrows what the computation threw, each time")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    promise.set_exception(std::make_exception_ptr(std::runtime_error("no luck")));
    CHECK(future.done());
    CHECK_THROWS_WITH_AS(future.result(), "no luck", std::runtime_error);
    CHECK_THROWS_WITH_AS(future.result(), "no luck", std::runtime_error);
}

TEST_CASE("future: result() waits for another thread")
{
    Promise<std::string> promise;
    const Future<std::string> future = promise.future();
    std::thread other([promise = std::move(promise)]() mutable { promise.set_result("there"); });
    CHECK(future.result() == "there");
    other.join();
}

TEST_CASE("future: several threads may wait for one result")
{
    Promise<int> promise;
    std::atomic<int> sum = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&sum, future = promise.future()] { sum += future.result(); });
    }
    promise.set_result(10);
    for (std::thread& thread : threads) {
        thread.join();
    }
    CHECK(sum == 40);
}

TEST_CASE("future: a callback runs once, on the thread that completes the future")
{
    Promise<int> promise;
    int calls = 0;
    std::thread::id callback_thread;
    promise.future().add_done_callback([&](const Future<int>& future) {
        ++calls;
        callback_thread = std::this_thread::get_id();
        CHECK(future.done());
        CHECK(future.result() == 3);
    });
    CHECK(calls == 0);
    std::thread::id completing_thread;
    std::thread other([&, promise = std::move(promise)]() mutable {
        completing_thread = std::this_thread::get_id();
        promise.set_result(3);
    });
    other.join();
    CHECK(calls == 1);
    CHECK(callback_thread == completing_thread);
}

TEST_CASE("future: a callback runs at once, on the caller's thread, if the future is done")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    promise.set_result(3);
    std::thread::id callback_thread;
    int calls = 0;
    future.add_done_callback([&](const Future<int>&) {
        ++calls;
        callback_thread = std::this_thread::get_id();
    });
    CHECK(calls == 1);
    CHECK(callback_thread == std::this_thread::get_id());
}

TEST_CASE("future: a callback runs after a failure, too")
{
    Promise<int> promise;
    bool failed = false;
    promise.future().add_done_callback([&](const Future<int>& future) {
        CHECK_THROWS_AS(future.result(), std::runtime_error);
        failed = true;
    });
    promise.set_exception(std::make_exception_ptr(std::runtime_error("no luck")));
    CHECK(failed);
}

TEST_CASE("future: callbacks run in the order in which they were added")
{
    Promise<int> promise;
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) {
        promise.future().add_done_callback([&order, i](const Future<int>&) { order.push_back(i); });
    }
    promise.set_result(0);
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
}

TEST_CASE("future: a callback may add another one, which runs at once")
{
    Promise<int> promise;
    int inner = 0;
    promise.future().add_done_callback([&](const Future<int>& future) {
        future.add_done_callback([&](const Future<int>&) { ++inner; });
        CHECK(inner == 1);
    });
    promise.set_result(0);
    CHECK(inner == 1);
}

TEST_CASE("future: a callback may be move-only, and is destroyed once it has run")
{
    const auto alive = std::make_shared<int>(5);
    Promise<int> promise;
    const Future<int> future = promise.future();
    int seen = 0;
    future.add_done_callback([&seen, mine = std::make_unique<std::shared_ptr<int>>(alive)](
                                 const Future<int>&) { seen = **mine; });
    CHECK(alive.use_count() == 2);
    promise.set_result(0);
    CHECK(seen == 5);
    CHECK(alive.use_count() == 1);
}

TEST_CASE("future: a promise that is destroyed unfulfilled breaks its future")
{
    bool called = false;
    const Future<int> future = [&] {
        Promise<int> promise;
        promise.future().add_done_callback([&](const Future<int>&) { called = true; });
        return promise.future();
    }();
    CHECK(called);
    CHECK(future.done());
    CHECK_THROWS_AS(future.result(), std::future_error);
}

TEST_CASE("future: a promise that was moved from breaks nothing")
{
    Promise<int> first;
    const Future<int> future = first.future();
    {
        Promise<int> second = std::move(first);
        second.set_result(1);
    }
    CHECK(future.result() == 1);
}

TEST_CASE("future: if adding callbacks races with the completion, each callback runs exactly once")
{
    for (int round = 0; round < 2000; ++round) {
        Promise<int> promise;
        const Future<int> future = promise.future();
        std::atomic<int> calls = 0;
        std::barrier start(2);
        const auto add = [&] {
            start.arrive_and_wait();
            for (int i = 0; i < 10; ++i) {
                future.add_done_callback([&calls](const Future<int>&) { ++calls; });
            }
        };
        const auto complete = [&] {
            start.arrive_and_wait();
            promise.set_result(round);
        };
        // The one that begins first usually wins, so they take turns.
        const bool completed_here = round % 2 == 0;
        std::thread other([&] { completed_here ? add() : complete(); });
        completed_here ? complete() : add();
        other.join();
        REQUIRE(calls == 10);
    }
}

TEST_CASE("future: nothing is left when both sides are destroyed")
{
    const auto alive = std::make_shared<int>(0);
    {
        Promise<std::shared_ptr<int>> promise;
        const Future<std::shared_ptr<int>> future = promise.future();
        promise.set_result(alive);
        CHECK(alive.use_count() == 2);
    }
    CHECK(alive.use_count() == 1);
}

namespace {

// Holds a promise until it is computed, as a pool does.
struct Owner {
    std::mutex mutex;
    int asked = 0;
    std::optional<Promise<int>> promise{Promise<int>([this] { return take_back(); })};
    Future<int> future = promise->future();

    std::optional<Promise<int>> take_back()
    {
        const std::lock_guard lock(mutex);
        ++asked;
        return std::exchange(promise, std::nullopt);
    }
};

}  // namespace

TEST_CASE(
    "future: if it is cancelled before it is begun, it is done, and result() throws Cancelled")
{
    Owner owner;
    CHECK(owner.future.cancel());
    CHECK(owner.future.done());
    CHECK_THROWS_WITH_AS(owner.future.result(), "cancelled before it was computed", Cancelled);
    CHECK_FALSE(owner.promise);
}

TEST_CASE("future: a second cancel() returns true, too, and does not ask the owner again")
{
    Owner owner;
    CHECK(owner.future.cancel());
    CHECK(owner.future.cancel());
    CHECK(owner.asked == 1);
}

TEST_CASE("future: a computation that has begun can't be cancelled, and completes")
{
    Owner owner;
    std::optional<Promise<int>> begun = owner.take_back();
    CHECK_FALSE(owner.future.cancel());
    CHECK_FALSE(owner.future.done());
    begun->set_result(7);
    CHECK(owner.future.result() == 7);
}

TEST_CASE(
    "future: one that is done can't be cancelled, and does not ask its owner, which may be gone")
{
    Owner owner;
    owner.promise->set_result(7);
    CHECK_FALSE(owner.future.cancel());
    CHECK(owner.asked == 0);
    CHECK(owner.future.result() == 7);
}

TEST_CASE("future: without an owner to ask it can't be cancelled")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    CHECK_FALSE(future.cancel());
    CHECK_FALSE(future.done());
    promise.set_result(7);
    CHECK_FALSE(future.cancel());
}

TEST_CASE("future: cancel() runs the callbacks, once, on its thread and before it returns")
{
    Owner owner;
    std::vector<std::thread::id> threads;
    owner.future.add_done_callback([&](const Future<int>& future) {
        CHECK_THROWS_AS(future.result(), Cancelled);
        CHECK(future.cancel());  // no lock is held
        threads.push_back(std::this_thread::get_id());
    });
    CHECK(owner.future.cancel());
    CHECK(threads == std::vector{std::this_thread::get_id()});
}

TEST_CASE("future: cancel() wakes the threads that wait for the result")
{
    Owner owner;
    std::thread waiter([&] { CHECK_THROWS_AS(owner.future.result(), Cancelled); });
    CHECK(owner.future.cancel());
    waiter.join();
}

TEST_CASE("future: a callback that is added while the future completes runs once")
{
    std::latch locked(1);
    std::atomic<pid_t> adder_id = 0;
    std::optional<Promise<int>> promise;
    promise.emplace([&] {
        // The future is locked. A thread that adds a callback has to wait, and may look only then
        // whether it is done.
        locked.count_down();
        eventually("a thread waits to add a callback", [&] {
            const auto thread = process_info(adder_id);
            return thread && thread->state == 'S';
        });
        return std::exchange(promise, std::nullopt);
    });
    const Future<int> future = promise->future();
    std::atomic<int> calls = 0;
    std::jthread adder([&] {
        locked.wait();
        adder_id = ::gettid();
        future.add_done_callback([&](const auto&) { ++calls; });
    });
    CHECK(future.cancel());
    adder.join();
    CHECK(calls == 1);
}

TEST_CASE("future: if it is given up before it is begun, it is done, and its owner has lost it")
{
    Owner owner;
    owner.future.give_up("no longer needed");
    CHECK(owner.future.done());
    CHECK_THROWS_WITH_AS(owner.future.result(), "no longer needed", Cancelled);
    CHECK_FALSE(owner.promise);
    owner.future.give_up("a second reason");
    CHECK_THROWS_WITH_AS(owner.future.result(), "no longer needed", Cancelled);
    CHECK(owner.asked == 1);
}

TEST_CASE(
    "future: if it is given up while it is computed, it is done at once, and its result is dropped")
{
    Owner owner;
    std::optional<Promise<int>> begun = owner.take_back();
    int calls = 0;
    owner.future.add_done_callback([&](const auto&) { ++calls; });
    std::thread waiter([&] { CHECK_THROWS_AS(owner.future.result(), Cancelled); });
    owner.future.give_up("no longer needed");
    waiter.join();
    CHECK(calls == 1);
    SUBCASE("computed") { begun->set_result(7); }
    SUBCASE("failed") { begun->set_exception(std::make_exception_ptr(std::runtime_error("x"))); }
    SUBCASE("broken") { begun.reset(); }
    CHECK(calls == 1);
    CHECK_THROWS_WITH_AS(owner.future.result(), "no longer needed", Cancelled);
}

TEST_CASE(
    "future: one that is done can't be given up, and does not ask its owner, which may be gone")
{
    Owner owner;
    owner.promise->set_result(7);
    owner.future.give_up("no longer needed");
    CHECK(owner.asked == 0);
    CHECK(owner.future.result() == 7);
}

TEST_CASE("future: without an owner to ask it can still be given up")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    future.give_up("no longer needed");
    CHECK_THROWS_AS(future.result(), Cancelled);
    promise.set_result(7);
    CHECK_THROWS_AS(future.result(), Cancelled);
}

TEST_CASE(
    "future: if give_up() races with the completion, one of them wins, and callbacks run once")
{
    for (int round = 0; round < 500; ++round) {
        std::optional<Promise<int>> promise(std::in_place);
        std::optional<Future<int>> future = promise->future();
        std::atomic<int> calls = 0;
        future->add_done_callback([&](const auto&) { ++calls; });
        std::barrier start(2);
        std::thread computer([&] {
            start.arrive_and_wait();
            promise->set_result(7);
        });
        start.arrive_and_wait();
        future->give_up("no longer needed");
        try {
            const int result = future->result();
            REQUIRE(result == 7);
        } catch (const Cancelled&) {
            // It was too late.
        }
        future.reset();  // the promise may hold the last reference to it
        computer.join();
        REQUIRE(calls == 1);
    }
}

TEST_CASE("future: wait_for() returns when it is done, or when the time is over")
{
    Promise<int> promise;
    const Future<int> future = promise.future();
    CHECK_FALSE(future.wait_for(std::chrono::milliseconds(1)));
    std::thread other([&] { promise.set_result(3); });
    CHECK(future.wait_for(std::chrono::minutes(1)));
    CHECK(future.wait_for(std::chrono::minutes(1)));  // one that has waited lets the next pass
    other.join();
}

TEST_CASE("future: if cancel() races with the completion, one of them wins, and callbacks run once")
{
    for (int round = 0; round < 500; ++round) {
        Owner owner;
        std::atomic<int> calls = 0;
        owner.future.add_done_callback([&](const auto&) { ++calls; });
        std::barrier start(2);
        std::thread computer([&] {
            start.arrive_and_wait();
            if (auto promise = owner.take_back()) {
                promise->set_result(7);
            }
        });
        start.arrive_and_wait();
        const bool cancelled = owner.future.cancel();
        computer.join();
        REQUIRE(calls == 1);
        REQUIRE(owner.future.done());
        if (cancelled) {
            REQUIRE_THROWS_AS(owner.future.result(), Cancelled);
        } else {
            REQUIRE(owner.future.result() == 7);
        }
    }
}
