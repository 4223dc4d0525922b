// The queue without its processes: the test decides which worker dies or stands still, and where.
#include "common/compute/shared_queue.hpp"

#include "common/base/descriptor.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <new>
#include <semaphore>
#include <thread>

using namespace ground;

namespace {

struct Shared {
    SharedQueue queue;
    std::atomic<bool> rang{false};
    std::atomic<bool> ended{false};
};

struct Unmap {
    void operator()(Shared* shared) const { ::munmap(shared, sizeof(Shared)); }
};

std::unique_ptr<Shared, Unmap> make_shared_queue()
{
    void* const memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return std::unique_ptr<Shared, Unmap>(new (memory) Shared);
}

// What has come back, by slot: the result, or nothing if its worker has died. Each only once.
std::map<std::uint32_t, std::optional<Number>> collect(SharedQueue& queue)
{
    std::map<std::uint32_t, std::optional<Number>> done;
    queue.collect([&](std::uint32_t slot, std::optional<Number> result) {
        REQUIRE(done.emplace(slot, result).second);
    });
    return done;
}

void no_ring() {}

// Takes and completes whatever is there.
void work_off(Shared& shared, unsigned worker)
{
    while (const auto request = shared.queue.take(worker)) {
        shared.queue.complete(request->slot, worker, request->n, [&] { shared.rang = true; });
    }
}

// Worker number 0, which has made this many steps, and no more. False if it has ended.
class Stepped {
  public:
    Stepped(Shared& shared, unsigned steps) : pid_(::fork())
    {
        REQUIRE(pid_ != -1);
        if (pid_ == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            if (const auto request = shared.queue.take(0)) {
                shared.queue.complete(request->slot, 0, request->n, [&] { shared.rang = true; });
            }
            shared.ended = true;
            ::_exit(0);
        }
        int status = 0;
        REQUIRE(::waitpid(pid_, &status, 0) == pid_);
        for (; steps > 0 && !shared.ended; --steps) {
            REQUIRE(WIFSTOPPED(status));
            REQUIRE(::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0);
            REQUIRE(::waitpid(pid_, &status, 0) == pid_);
        }
    }
    ~Stepped() { kill(); }
    Stepped(const Stepped&) = delete;
    Stepped& operator=(const Stepped&) = delete;

    void kill()
    {
        if (pid_ != -1) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }

  private:
    pid_t pid_;
};

// After every single instruction, except that most of a sanitizer's instructions are its own.
constexpr unsigned next(unsigned steps)
{
    return steps + 1 + (ground::test::sanitized ? steps / 8 : 0);
}

}  // namespace

TEST_CASE("shared queue: wherever a worker is killed, each request is answered or fails, once")
{
    bool ended = false;
    for (unsigned steps = 1; !ended; steps = next(steps)) {
        CAPTURE(steps);
        const auto shared = make_shared_queue();
        for (std::uint32_t slot = 0; slot < 3; ++slot) {
            shared->queue.put(slot, slot);
        }
        REQUIRE(shared->queue.cancel(1));
        Stepped(*shared, steps).kill();
        ended = shared->ended;
        shared->queue.fail_requests_of(0);
        work_off(*shared, 1);
        auto done = collect(shared->queue);
        REQUIRE(done.size() == 3);
        REQUIRE((done[0] == std::nullopt || done[0] == 0U));
        REQUIRE(done[2] == 2U);
        REQUIRE(shared->queue.waiting() == 0);
        REQUIRE(collect(shared->queue).empty());
    }
}

TEST_CASE("shared queue: wherever a worker is stopped, the results of another still arrive")
{
    bool ended = false;
    for (unsigned steps = 1; !ended; steps = next(steps)) {
        CAPTURE(steps);
        const auto shared = make_shared_queue();
        shared->queue.put(0, 0);
        shared->queue.put(1, 1);
        const auto nap = shared->queue.fall_asleep();
        REQUIRE(nap);
        const Stepped standing(*shared, steps);
        work_off(*shared, 1);
        REQUIRE(shared->rang);
        ended = shared->ended;
        shared->queue.wake_up(*nap);
        REQUIRE(collect(shared->queue).contains(1));
    }
}

TEST_CASE(
    "shared queue: a worker that stood still while it notified does not keep the next one from "
    "notifying")
{
    const auto shared = make_shared_queue();
    shared->queue.put(0, 0);
    shared->queue.put(1, 1);
    const auto nap = shared->queue.fall_asleep();
    REQUIRE(nap);
    REQUIRE(shared->queue.take(0));
    shared->queue.complete(0, 0, 0, [&] {  // and here it stands still
        shared->queue.wake_up(*nap);
        CHECK(collect(shared->queue).size() == 1);
        CHECK(shared->queue.fall_asleep());
    });
    work_off(*shared, 1);
    CHECK(shared->rang);
}

TEST_CASE("shared queue: a result between the collector's last look and its sleep wakes it")
{
    const auto shared = make_shared_queue();
    constexpr unsigned rounds = 2000;
    std::counting_semaphore<> bell(0);
    std::atomic<unsigned> round = 0;
    std::thread worker([&] {
        for (unsigned i = 1; i <= rounds; ++i) {
            while (round < i) {
                std::this_thread::yield();
            }
            const auto request = shared->queue.take(0);
            for (unsigned pause = 0; pause < i % 64; ++pause) {
                static_cast<void>(shared->queue.head());
            }
            shared->queue.complete(request->slot, 0, 0, [&] { bell.release(); });
        }
    });
    bool lost = false;
    for (unsigned i = 1; i <= rounds; ++i) {
        shared->queue.put(0, i);
        round = i;
        while (collect(shared->queue).empty()) {
            if (const auto nap = shared->queue.fall_asleep()) {
                // If one is lost, do not wait for the others.
                lost = lost || !bell.try_acquire_for(ground::test::patience);
                shared->queue.wake_up(*nap);
            }
        }
    }
    worker.join();
    CHECK_FALSE(lost);
}

TEST_CASE("shared queue: an idle slot that is reported finished again is not completed again")
{
    const auto shared = make_shared_queue();
    shared->queue.finish(7);
    CHECK(collect(shared->queue).empty());
    shared->queue.put(7, 1);
    shared->queue.finish(7);
    CHECK(collect(shared->queue).empty());
    work_off(*shared, 0);
    CHECK(collect(shared->queue).size() == 1);
    shared->queue.finish(7);
    CHECK(collect(shared->queue).empty());
}

TEST_CASE("shared queue: a slot that was cancelled is not computed, and is free again")
{
    const auto shared = make_shared_queue();
    shared->queue.put(3, 1);
    CHECK(shared->queue.cancel(3));
    CHECK_FALSE(shared->queue.cancel(3));
    const auto request = shared->queue.take(0);
    REQUIRE(request);
    CHECK_FALSE(request->wanted);
    CHECK_FALSE(shared->queue.cancel(3));
    shared->queue.complete(3, 0, 0, no_ring);
    CHECK(collect(shared->queue).size() == 1);
}
