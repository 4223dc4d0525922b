// Pools are tested in a program of their own: ProcessPool must be made while there are no threads.
#include "common/base/descriptor.hpp"
#include "common/compute/process_pool.hpp"
#include "common/compute/thread_pool.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace ground;
using ground::test::Deadline;
using ground::test::descendants_of;
using ground::test::eventually;
using ground::test::process_info;
using std::chrono::milliseconds;

namespace {

constexpr unsigned endless = 50;

Options with(PoolKind pool, unsigned workers)
{
    Options options;
    options.pool = pool;
    options.workers = workers;
    options.rules.fib = fib;
    return options;
}

// The children's children: the workers, because the forker is our only child.
std::vector<pid_t> workers_of_this_process()
{
    std::vector<pid_t> workers;
    for (const auto& process : descendants_of(::getpid())) {
        if (process.parent != ::getpid()) {
            workers.push_back(process.pid);
        }
    }
    return workers;
}

pid_t forker_of_this_process()
{
    for (const auto& process : descendants_of(::getpid())) {
        if (process.parent == ::getpid()) {
            return process.pid;
        }
    }
    return -1;
}

pid_t wait_for_busy_worker()
{
    pid_t busy = -1;
    eventually("a worker computes", [&] {
        for (const pid_t worker : workers_of_this_process()) {
            const auto info = process_info(worker);
            if (info && info->cpu >= milliseconds(50)) {
                busy = worker;
            }
        }
        return busy != -1;
    });
    return busy;
}

bool is_in_state(pid_t pid, char state)
{
    const auto info = process_info(pid);
    return info && info->state == state;
}

void stop(pid_t pid)
{
    REQUIRE(::kill(pid, SIGSTOP) == 0);
    eventually("it stands still", [pid] { return is_in_state(pid, 'T'); });
}

// Besides stdin, stdout and stderr. The path by which we can open it, too.
std::string only_descriptor_of(pid_t pid)
{
    std::vector<std::string> paths;
    eventually("it has closed all that it does not need", [&] {
        paths.clear();
        for (int fd = 3; fd < 100; ++fd) {
            const std::string path = fmt::format("/proc/{}/fd/{}", pid, fd);
            if (::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
                paths.push_back(path);
            }
        }
        return paths.size() == 1;
    });
    return paths.front();
}

void fill(const std::string& pipe)
{
    const Descriptor end(check(::open(pipe.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), "open"));
    const std::vector<char> bytes(4096);
    while (::write(end.get(), bytes.data(), bytes.size()) > 0) {
    }
    while (::write(end.get(), bytes.data(), 1) > 0) {
    }
}

// What the workers do, as seen from here. It is in shared memory, so they may be processes or
// threads.
struct Observed {
    std::array<std::atomic<unsigned>, 100> computed{};
    sem_t begun;
    sem_t may_end;
};
Observed* observed = nullptr;

constexpr unsigned gated = 99;  // is not computed: it is begun, and held until it may end

Number observed_fib(unsigned n)
{
    ++observed->computed[n];
    if (n == gated) {
        ::sem_post(&observed->begun);
        while (::sem_wait(&observed->may_end) == -1) {
        }
    }
    return n;
}

// A pool whose computing can be observed. Make a new one for each test.
struct ObservedPool {
    ObservedPool(PoolKind kind, unsigned workers)
    {
        void* const memory = ::mmap(nullptr, sizeof(Observed), PROT_READ | PROT_WRITE,
                                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        observed = new (memory) Observed;
        REQUIRE(::sem_init(&observed->begun, 1, 0) == 0);
        REQUIRE(::sem_init(&observed->may_end, 1, 0) == 0);
        Options options = with(kind, workers);
        options.rules.fib = observed_fib;
        pool = make_pool(options);
    }
    ~ObservedPool()
    {
        for (int i = 0; i < 1000; ++i) {
            ::sem_post(&observed->may_end);
        }
        pool.reset();
        ::munmap(observed, sizeof(Observed));
    }
    ObservedPool(const ObservedPool&) = delete;
    ObservedPool& operator=(const ObservedPool&) = delete;

    // Occupies a worker until it is released.
    Future<Number> occupy() const
    {
        Future<Number> future = pool->submit(gated);
        eventually("it is begun", [] { return ::sem_trywait(&observed->begun) == 0; });
        return future;
    }
    static void let_go() { ::sem_post(&observed->may_end); }

    Pool* operator->() const { return pool.get(); }

    std::unique_ptr<Pool> pool;
};

void check_nothing_is_left()
{
    CHECK(descendants_of(::getpid()).empty());
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no zombie either
}

}  // namespace

TEST_CASE("every pool: the results are right, with more requests at a time than workers or slots")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads, PoolKind::inline_}) {
        CAPTURE(static_cast<int>(kind));
        const auto pool = make_pool(with(kind, 2));
        std::vector<Future<Number>> futures;
        for (unsigned i = 0; i < 5000; ++i) {
            futures.push_back(pool->submit(i % 20));
        }
        for (unsigned i = 0; i < 5000; ++i) {
            REQUIRE(futures[i].result() == fib_fast(i % 20));
        }
    }
    check_nothing_is_left();
}

TEST_CASE("every pool: many threads may submit at once")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads, PoolKind::inline_}) {
        CAPTURE(static_cast<int>(kind));
        const auto pool = make_pool(with(kind, 3));
        std::atomic<unsigned> wrong = 0;
        std::vector<std::thread> clients;
        for (unsigned c = 0; c < 8; ++c) {
            clients.emplace_back([&] {
                for (unsigned i = 0; i < 500; ++i) {
                    if (pool->submit(i % 20).result() != fib_fast(i % 20)) {
                        ++wrong;
                    }
                }
            });
        }
        for (std::thread& client : clients) {
            client.join();
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("every pool except inline: submit() does not wait for a worker")
{
    const auto pool = make_pool(with(PoolKind::processes, 1));
    std::vector<Future<Number>> futures;
    for (int i = 0; i < 3000; ++i) {
        futures.push_back(pool->submit(endless));
    }
    CHECK_FALSE(futures.front().done());
    CHECK_FALSE(futures.back().done());
}

TEST_CASE("every pool except inline: the callback runs on a thread of the pool")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        const auto pool = make_pool(with(kind, 1));
        std::promise<std::thread::id> called;
        // A number that is not there before the callback is added.
        pool->submit(32).add_done_callback(
            [&](const Future<Number>&) { called.set_value(std::this_thread::get_id()); });
        CHECK(called.get_future().get() != std::this_thread::get_id());
    }
}

TEST_CASE("every pool: a future may outlive its pool")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads, PoolKind::inline_}) {
        CAPTURE(static_cast<int>(kind));
        auto pool = make_pool(with(kind, 1));
        const Future<Number> future = pool->submit(10);
        CHECK(future.result() == 55);
        pool.reset();
        CHECK(future.result() == 55);
    }
}

TEST_CASE(
    "every pool except inline: a request that is cancelled before it is begun is never computed")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        const ObservedPool pool(kind, 1);
        const Future<Number> under_way = pool.occupy();
        std::vector<Future<Number>> kept;
        std::vector<Future<Number>> cancelled;
        for (int i = 0; i < 1500; ++i) {  // more than there are slots: also some that wait
            cancelled.push_back(pool->submit(1));
            kept.push_back(pool->submit(2));
        }
        CHECK(pool->waiting() == 3000);
        for (const Future<Number>& future : cancelled) {
            REQUIRE(future.cancel());
            REQUIRE(future.done());
        }
        CHECK(pool->waiting() == 1500);
        ObservedPool::let_go();
        CHECK(under_way.result() == gated);
        for (const Future<Number>& future : kept) {
            REQUIRE(future.result() == 2);
        }
        CHECK_THROWS_AS(cancelled.front().result(), Cancelled);
        CHECK_THROWS_AS(cancelled.back().result(), Cancelled);
        CHECK(observed->computed[1] == 0);
        CHECK(observed->computed[2] == 1500);
        CHECK(pool->waiting() == 0);
    }
}

TEST_CASE("every pool: a request that is being computed or is done can't be cancelled")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        const ObservedPool pool(kind, 1);
        const Future<Number> under_way = pool.occupy();
        CHECK_FALSE(under_way.cancel());
        CHECK_FALSE(under_way.done());
        ObservedPool::let_go();
        CHECK(under_way.result() == gated);
        CHECK_FALSE(under_way.cancel());
        CHECK(under_way.result() == gated);
    }
    const auto pool = make_pool(with(PoolKind::inline_, 1));
    CHECK_FALSE(pool->submit(10).cancel());
}

TEST_CASE("every pool except inline: each cancelled request makes room for another")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        const ObservedPool pool(kind, 2);
        for (int round = 0; round < 5; ++round) {
            const Future<Number> one_under_way = pool.occupy();
            const Future<Number> other_under_way = pool.occupy();
            for (int i = 0; i < 3000; ++i) {
                REQUIRE(pool->submit(1).cancel());
            }
            CHECK(pool->waiting() == 0);
            const Future<Number> behind_them = pool->submit(2);
            CHECK(pool->waiting() == 1);
            ObservedPool::let_go();
            CHECK(behind_them.result() == 2);
            ObservedPool::let_go();
            CHECK(one_under_way.result() == other_under_way.result());
        }
        CHECK(observed->computed[1] == 0);
    }
}

TEST_CASE(
    "every pool except inline: if cancelling races with computing, each request is either "
    "cancelled or computed")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        const ObservedPool pool(kind, 2);
        std::atomic<unsigned> calls = 0;
        unsigned cancelled = 0;
        constexpr unsigned rounds = 5000;
        for (unsigned i = 0; i < rounds; ++i) {
            const Future<Number> future = pool->submit(1);
            future.add_done_callback([&](const auto&) { ++calls; });
            for (unsigned pause = 0; pause < i % 50; ++pause) {
                static_cast<void>(pool->waiting());
            }
            if (future.cancel()) {
                ++cancelled;
                REQUIRE_THROWS_AS(future.result(), Cancelled);
            } else {
                REQUIRE(future.result() == 1);
            }
        }
        eventually("all callbacks have run", [&] { return calls == rounds; });
        CHECK(observed->computed[1] == rounds - cancelled);
    }
}

TEST_CASE("every pool except inline: cancelling may race with the end of the pool")
{
    for (const PoolKind kind : {PoolKind::processes, PoolKind::threads}) {
        CAPTURE(static_cast<int>(kind));
        for (int round = 0; round < 5; ++round) {
            std::vector<Future<Number>> futures;
            std::atomic<unsigned> calls = 0;
            std::thread canceller;
            {
                const auto pool = make_pool(with(kind, 1));
                for (int i = 0; i < 2000; ++i) {
                    futures.push_back(pool->submit(20));
                    futures.back().add_done_callback([&](const auto&) { ++calls; });
                }
                canceller = std::thread([&futures] {
                    for (auto future = futures.rbegin(); future != futures.rend(); ++future) {
                        future->cancel();
                    }
                });
            }
            canceller.join();
            CHECK(calls == 2000);
        }
    }
}

TEST_CASE("process pool: has a forker and as many workers as it was asked for")
{
    for (const unsigned workers : {1U, 2U, 5U}) {
        const ProcessPool pool(workers, fib);
        eventually("all are there", [&] { return workers_of_this_process().size() == workers; });
        CHECK(descendants_of(::getpid()).size() == workers + 1);
    }
    check_nothing_is_left();
}

TEST_CASE("process pool: workers of a server that runs only when a CPU is idle do so as well")
{
    const sched_param no_priority{};
    REQUIRE(::sched_setscheduler(0, SCHED_IDLE, &no_priority) == 0);
    ProcessPool pool(2, fib);
    CHECK(pool.submit(10).result() == 55);
    eventually("both are there", [] { return workers_of_this_process().size() == 2; });
    for (const pid_t worker : workers_of_this_process()) {
        CHECK(::sched_getscheduler(worker) == SCHED_IDLE);
    }
    static_cast<void>(::sched_setscheduler(0, SCHED_OTHER, &no_priority));  // as far as allowed
}

TEST_CASE("process pool: its destructor ends the computing, and breaks the promises")
{
    std::vector<Future<Number>> futures;
    {
        ProcessPool pool(2, fib);
        for (int i = 0; i < 5; ++i) {
            futures.push_back(pool.submit(endless));
        }
        static_cast<void>(wait_for_busy_worker());
    }
    for (const Future<Number>& future : futures) {
        CHECK(future.done());
        CHECK_THROWS_AS(future.result(), std::future_error);
    }
    check_nothing_is_left();
}

TEST_CASE("process pool: a worker killed while it computes fails that request only")
{
    ProcessPool pool(2, fib);
    for (int round = 0; round < 3; ++round) {
        const Future<Number> big = pool.submit(endless);
        const pid_t busy = wait_for_busy_worker();
        std::vector<Future<Number>> small;
        for (unsigned i = 0; i < 100; ++i) {
            small.push_back(pool.submit(10));
        }
        REQUIRE(::kill(busy, SIGKILL) == 0);
        CHECK_THROWS_AS(big.result(), WorkerDied);
        for (const Future<Number>& future : small) {
            REQUIRE(future.result() == 55);
        }
        eventually("it is replaced", [] { return workers_of_this_process().size() == 2; });
    }
}

TEST_CASE("process pool: workers that are killed while idle fail no request")
{
    ProcessPool pool(2, fib);
    CHECK(pool.submit(10).result() == 55);
    for (int round = 0; round < 20; ++round) {
        for (const pid_t worker : workers_of_this_process()) {
            ::kill(worker, SIGKILL);
        }
        // Some of these are submitted before the pool has noticed.
        for (int i = 0; i < 10; ++i) {
            REQUIRE(pool.submit(10).result() == 55);
        }
    }
    eventually("they are replaced", [] { return workers_of_this_process().size() == 2; });
}

TEST_CASE("process pool: a forker that is killed is replaced, and its workers with it")
{
    ProcessPool pool(2, fib);
    for (int round = 0; round < 5; ++round) {
        const Future<Number> big = pool.submit(endless);
        static_cast<void>(wait_for_busy_worker());
        const pid_t forker = forker_of_this_process();
        REQUIRE(::kill(forker, SIGKILL) == 0);
        CHECK_THROWS_AS(big.result(), WorkerDied);
        CHECK(pool.submit(10).result() == 55);
        eventually("all are there again", [&] {
            return workers_of_this_process().size() == 2 && forker_of_this_process() != forker;
        });
        CHECK(descendants_of(::getpid()).size() == 3);
    }
}

TEST_CASE(
    "process pool: whichever process is killed under load, each request is answered or fails once")
{
    for (const bool forker_too : {false, true}) {
        CAPTURE(forker_too);
        ProcessPool pool(3, fib);
        std::atomic<bool> stop = false;
        std::atomic<unsigned> wrong = 0;
        std::atomic<unsigned> died = 0;
        std::atomic<unsigned> served = 0;
        std::vector<std::thread> clients;
        for (unsigned c = 0; c < 4; ++c) {
            clients.emplace_back([&] {
                while (!stop) {
                    std::vector<Future<Number>> futures;
                    for (unsigned n = 0; n < 20; ++n) {
                        futures.push_back(pool.submit(n));
                    }
                    futures[7].cancel();
                    for (unsigned n = 0; n < 20; ++n) {
                        try {
                            wrong += futures[n].result() == fib_fast(n) ? 0 : 1;
                            ++served;
                        } catch (const WorkerDied&) {
                            ++died;
                        } catch (const Cancelled&) {
                            wrong += n == 7 ? 0 : 1;
                        }
                    }
                }
            });
        }
        // In a round several processes have to run one after the other. If others leave them hardly
        // any CPU, a round takes a second, and there are fewer.
        const Deadline enough(std::chrono::seconds(5));
        unsigned killed = 0;
        for (unsigned round = 0; round < 60 && (round < 10 || enough.milliseconds() > 0); ++round) {
            const unsigned before = served;
            const auto workers = workers_of_this_process();
            if (forker_too && round % 10 == 5) {
                ::kill(forker_of_this_process(), SIGKILL);
                killed += 3;
            } else if (!workers.empty()) {
                ::kill(workers[round % workers.size()], SIGKILL);
                ++killed;
            }
            eventually("requests are served", [&] { return served >= before + 100; });
        }
        stop = true;
        for (std::thread& client : clients) {
            client.join();
        }
        CHECK(wrong == 0);
        CHECK(died <= killed);
        eventually("all are there again", [] { return workers_of_this_process().size() == 3; });
        CHECK(pool.submit(20).result() == 6765);
    }
    check_nothing_is_left();
}

TEST_CASE("process pool: a stopped worker, wherever it is, delays at most one request")
{
    constexpr unsigned workers = 3;
    ProcessPool pool(workers, fib);
    eventually("all are there", [] { return workers_of_this_process().size() == workers; });
    const auto all = workers_of_this_process();
    std::atomic<unsigned> done = 0;
    unsigned submitted = 0;
    const auto submit = [&](unsigned count) {
        for (unsigned i = 0; i < count; ++i, ++submitted) {
            pool.submit(1).add_done_callback([&](const auto&) { ++done; });
        }
    };
    for (unsigned round = 0; round < 200; ++round) {
        CAPTURE(round);
        const pid_t worker = all[round % workers];
        submit(1 + round % 4);
        REQUIRE(::kill(worker, SIGSTOP) == 0);  // asleep, just woken, computing or done
        submit(2);
        eventually("others get on with it", [&] { return done + 1 >= submitted; });
        REQUIRE(::kill(worker, SIGCONT) == 0);
        eventually("it gets on with it", [&] { return done == submitted; });
    }
}

TEST_CASE("process pool: a burst occupies all workers, although it wakes only one of them")
{
    constexpr unsigned workers = 4;
    const ObservedPool pool(PoolKind::processes, workers);
    std::vector<pid_t> all;
    eventually("all are there, and sleep", [&] {
        all = workers_of_this_process();
        return all.size() == workers && std::all_of(all.begin(), all.end(), [](pid_t worker) {
                   return is_in_state(worker, 'S');
               });
    });
    // Without the forker, which would wake the others sooner or later. The workers can't come
    // before the whole burst is there.
    stop(forker_of_this_process());
    std::for_each(all.begin(), all.end(), stop);
    for (unsigned i = 0; i < workers; ++i) {
        static_cast<void>(pool->submit(gated));
    }
    for (const pid_t worker : all) {
        REQUIRE(::kill(worker, SIGCONT) == 0);
    }
    for (unsigned i = 0; i < workers; ++i) {
        CAPTURE(i);
        eventually("one more is begun", [] { return ::sem_trywait(&observed->begun) == 0; });
    }
}

TEST_CASE("process pool: while no process can be started, no thread waits in submit()")
{
    ProcessPool pool(1, fib);
    CHECK(pool.submit(10).result() == 55);
    const pid_t forker = forker_of_this_process();
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{3, before.rlim_max};
    std::vector<Future<Number>> futures;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    REQUIRE(::kill(forker, SIGKILL) == 0);
    // It tries again ten times a second. A caller that had to wait for that each time would need
    // minutes.
    const ground::test::Deadline deadline;
    unsigned submitted = 0;
    for (; submitted < 3000 && deadline.milliseconds() > 0; ++submitted) {
        futures.push_back(pool.submit(submitted % 20));
        std::this_thread::sleep_for(milliseconds(1));  // others may have the lock
    }
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(submitted == 3000);
    unsigned died = 0;
    for (unsigned i = 0; i < submitted; ++i) {
        try {
            REQUIRE(futures[i].result() == fib_fast(i % 20));
        } catch (const WorkerDied&) {
            ++died;
        }
    }
    CHECK(died <= 1);
}

TEST_CASE("process pool: a stopped collector delays neither the forker nor the workers")
{
    const pid_t server = ::fork();
    REQUIRE(server != -1);
    if (server == 0) {
        const ProcessPool pool(2, fib);
        ::pause();
        ::_exit(EXIT_FAILURE);
    }
    pid_t forker = -1;
    std::vector<pid_t> workers;
    const auto look = [&] {
        workers.clear();
        for (const auto& process : descendants_of(server)) {
            if (process.parent == server) {
                forker = process.pid;
            } else {
                workers.push_back(process.pid);
            }
        }
        return workers.size() == 2;
    };
    eventually("all are there", look);
    // The collector stands still, and the pipe that wakes it is full.
    stop(server);
    fill(only_descriptor_of(workers[0]));
    const auto before = workers;
    REQUIRE(::kill(before[0], SIGKILL) == 0);
    CHECK_NOTHROW(eventually("the first is replaced", [&] { return look() && workers != before; }));
    REQUIRE(::kill(before[1], SIGKILL) == 0);
    CHECK_NOTHROW(eventually("the second is replaced", [&] {
        return look() && std::find(workers.begin(), workers.end(), before[1]) == workers.end();
    }));
    REQUIRE(::kill(forker, SIGKILL) == 0);
    REQUIRE(::kill(server, SIGKILL) == 0);
    REQUIRE(::waitpid(server, nullptr, 0) == server);
}

TEST_CASE("process pool: a stopped forker still ends with the pool")
{
    {
        ProcessPool pool(2, fib);
        CHECK(pool.submit(10).result() == 55);
        REQUIRE(::kill(forker_of_this_process(), SIGSTOP) == 0);
        CHECK(pool.submit(10).result() == 55);
    }
    check_nothing_is_left();
}

TEST_CASE("process pool: a stopped forker ends with a server that is killed")
{
    const pid_t server = ::fork();
    REQUIRE(server != -1);
    if (server == 0) {
        const ProcessPool pool(2, fib);
        ::pause();
        ::_exit(EXIT_FAILURE);
    }
    std::vector<ground::test::ProcessInfo> processes;
    eventually("all are there", [&] {
        processes = descendants_of(server);
        return processes.size() == 3;
    });
    for (const auto& process : processes) {
        if (process.parent == server) {
            REQUIRE(::kill(process.pid, SIGSTOP) == 0);
        }
    }
    REQUIRE(::kill(server, SIGKILL) == 0);
    REQUIRE(::waitpid(server, nullptr, 0) == server);
    eventually("none is left", [&] {
        return std::none_of(processes.begin(), processes.end(), [](const auto& process) {
            const auto now = process_info(process.pid);
            return now && now->started == process.started && now->state != 'Z';
        });
    });
}

TEST_CASE("process pool: workers are replaced even if the server inherits an ignored SIGCHLD")
{
    auto* const before = ::signal(SIGCHLD, SIG_IGN);
    {
        ProcessPool pool(1, fib);
        const Future<Number> big = pool.submit(endless);
        REQUIRE(::kill(wait_for_busy_worker(), SIGKILL) == 0);
        eventually("its request fails", [&] { return big.done(); });
        CHECK_THROWS_AS(big.result(), WorkerDied);
        CHECK(pool.submit(10).result() == 55);
    }
    ::signal(SIGCHLD, before);
    check_nothing_is_left();
}

TEST_CASE("thread pool: its destructor completes every future")
{
    std::vector<Future<Number>> futures;
    {
        ThreadPool pool(1, fib);
        for (int i = 0; i < 10; ++i) {
            futures.push_back(pool.submit(25));
        }
    }
    for (const Future<Number>& future : futures) {
        CHECK(future.done());
        try {
            const Number number = future.result();
            CHECK(number == 75025);
        } catch (const std::future_error&) {
            // It had not been begun.
        }
    }
}
