#include "common/green/hub.hpp"
#include "common/green/socket.hpp"
#include "common/green/tools.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <malloc.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace green = ground::green;
using namespace std::chrono_literals;
using ground::Events;
using ground::GreenletExit;
using Trace = std::vector<std::string>;

namespace {

int calls_of_epoll_wait = 0;

}  // namespace

// The hub's, in this program.
extern "C" int epoll_wait(int epoll, epoll_event* events, int most, int milliseconds)
{
    ++calls_of_epoll_wait;
    return static_cast<int>(
        ::syscall(SYS_epoll_pwait, epoll, events, most, milliseconds, nullptr, 0));
}

namespace {

// Long enough never to be over in a test that passes.
constexpr auto forever = 1h;

// A pair of sockets that are connected with each other.
struct Pair {
    Pair()
    {
        std::array<int, 2> both{};
        ground::check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, both.data()),
                      "socketpair");
        one = ground::Descriptor(both[0]);
        other = ground::Descriptor(both[1]);
    }
    ~Pair()
    {
        green::Hub::current().forget(one.get());
        green::Hub::current().forget(other.get());
    }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;
    ground::Descriptor one;
    ground::Descriptor other;
};

// Until only time or a socket can wake a thread.
void let_others_run()
{
    for (int i = 0; i < 10; ++i) {
        green::sleep(0s);
    }
}

std::exception_ptr error(const char* what)
{
    return std::make_exception_ptr(std::runtime_error(what));
}

// Notes that its scope has ended.
struct Mark {
    Mark(Trace& t, std::string w) : trace(t), what(std::move(w)) {}
    ~Mark() { trace.push_back(what); }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    Trace& trace;
    std::string what;
};

// A program whose stderr can be looked at: this one, before it reaches doctest.
constexpr const char* reporting = "GREEN_TEST_REPORTING";
[[maybe_unused]] const bool no_report = [] {
    if (::getenv(reporting) != nullptr) {
        green::Event never;
        const green::Thread killed = green::spawn([&] { never.wait(); });
        const std::vector<green::Thread> threads{
            green::spawn([] { throw std::runtime_error("a test throws this"); }),
            green::spawn([] { throw 42; }), green::spawn([&] {
                const green::Timeout timeout(1ms);
                never.wait();
            }),
            green::spawn([&] { killed.kill(); })};
        green::joinall(threads);
        ::_exit(0);
    }
    return true;
}();

}  // namespace

TEST_CASE("green: spawned threads run in their order, when the thread that has spawned them waits")
{
    Trace trace;
    const auto note = [&trace](const std::string& what) { trace.push_back(what); };
    const std::vector<green::Thread> threads{green::spawn(note, "one"), green::spawn(note, "two")};
    trace.push_back("spawned");
    green::joinall(threads);
    CHECK(trace == Trace{"spawned", "one", "two"});
    CHECK(threads[0].dead());
    threads[0].join();  // returns at once
}

TEST_CASE("green: what a thread was given is destroyed with it, even if a handle is left")
{
    const auto held = std::make_shared<int>(1);
    const green::Thread thread = green::spawn([](const std::shared_ptr<int>&) {}, held);
    CHECK(held.use_count() == 2);
    thread.join();
    CHECK(held.use_count() == 1);
}

TEST_CASE("green: sleeping threads wake in the order of their times, and others run meanwhile")
{
    Trace trace;
    const auto sleep = [&trace](std::chrono::milliseconds time, const std::string& what) {
        green::sleep(time);
        trace.push_back(what);
    };
    const std::vector<green::Thread> threads{green::spawn(sleep, 30ms, "third"),
                                             green::spawn(sleep, 20ms, "second"),
                                             green::spawn(sleep, 0ms, "first")};
    green::joinall(threads);
    CHECK(trace == Trace{"first", "second", "third"});
}

TEST_CASE("green: an uncaught exception ends its own thread and no other")
{
    const green::Thread bad = green::spawn([] { throw std::runtime_error("a test throws this"); });
    bool good_has_run = false;
    const green::Thread good = green::spawn([&] { good_has_run = true; });
    bad.join();
    good.join();
    CHECK(good_has_run);
    CHECK_THROWS_WITH(std::rethrow_exception(bad.error()), "a test throws this");
    CHECK_FALSE(good.error());
}

TEST_CASE(
    "green: an exception that ends a thread is reported in one line, unless the thread was killed")
{
    const auto ended = ground::test::run(
        {.command = {"/proc/self/exe"}, .environment = {std::string(reporting) + "=1"}});
    CHECK(ended.status == 0);
    CHECK(ended.err ==
          "A green thread has ended: a test throws this\n"
          "A green thread has ended by an exception\n"
          "A green thread has ended: timed out\n");
}

TEST_CASE("green: main gets an exception when all threads wait for ever")
{
    green::Event never;
    const green::Thread stuck = green::spawn([&] { never.wait(); });
    CHECK_THROWS_AS(stuck.join(), green::LoopExit);
    CHECK_THROWS_AS(never.wait(), green::LoopExit);
    stuck.kill();
}

TEST_CASE("green: waits that are over do not keep main from noticing that all threads wait")
{
    green::Event never;
    const Pair pair;
    CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
    green::Hub::current().wait_for(pair.one.get(), Events::read);
    CHECK_THROWS_AS(never.wait(), green::LoopExit);
    const std::vector<green::Thread> killed{
        green::spawn([] { green::sleep(forever); }),
        green::spawn([&] { green::Hub::current().wait_for(pair.other.get(), Events::read); }),
        green::spawn([&] { static_cast<void>(green::within(forever, [&] { never.wait(); })); })};
    let_others_run();
    for (const green::Thread& thread : killed) {
        thread.kill();
    }
    CHECK_THROWS_AS(never.wait(), green::LoopExit);
}

TEST_CASE("green: threads that have ended leave no memory behind" *
          doctest::skip(ground::sanitizers::present))
{
    const auto spawn_many = [] {
        for (int i = 0; i < 5'000; ++i) {
            green::spawn([] {}).join();
        }
    };
    spawn_many();
    const auto before = ::mallinfo2().uordblks;
    spawn_many();
    CHECK(::mallinfo2().uordblks < before + 100'000);
}

TEST_CASE("green: a thread that only yields keeps no other thread waiting")
{
    bool stop = false;
    int turns = 0;
    const green::Thread busy = green::spawn([&] {
        for (; !stop && turns < 1'000'000; ++turns) {
            green::sleep(0s);
        }
    });
    const Pair pair;
    CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
    green::Hub::current().wait_for(pair.one.get(), Events::read);
    green::sleep(1ms);
    stop = true;
    busy.join();
    CHECK(turns < 1'000'000);
}

TEST_CASE(
    "green: each kernel thread has its own threads, and unwinds those that still wait, the "
    "youngest first")
{
    Trace trace;
    const green::Thread here = green::spawn([&] { trace.push_back("here"); });
    std::thread([&trace] {
        const auto wait = [&trace](const std::string& name) {
            const Mark mark(trace, name);
            green::sleep(forever);
        };
        green::spawn(wait, "older");
        green::spawn(wait, "younger");
        green::spawn([] { green::sleep(1ms); }).join();
        const Pair pair;
        CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
        green::Hub::current().wait_for(pair.one.get(), Events::read);
        trace.push_back("there");
    }).join();
    CHECK(trace == Trace{"there", "younger", "older"});
    here.join();
    CHECK(trace.back() == "here");
}

TEST_CASE("green: kill() throws where the thread waits, and returns when it has ended")
{
    Trace trace;
    green::Event event;
    const green::Thread victim = green::spawn([&] {
        try {
            event.wait();
        } catch (const GreenletExit&) {
            trace.push_back("killed");
            throw;
        }
    });
    let_others_run();
    victim.kill();
    CHECK(victim.dead());
    CHECK_FALSE(victim.error());
    CHECK(trace == Trace{"killed"});
    victim.kill();  // there is nothing left to kill
    event.set();
    let_others_run();
}

TEST_CASE("green: a thread may survive kill(), which still waits for its end")
{
    green::Event event;
    Trace trace;
    const green::Thread victim = green::spawn([&] {
        try {
            event.wait();
        } catch (const std::runtime_error& e) {
            trace.push_back(e.what());
        }
        event.wait();
        trace.push_back("the end");
    });
    let_others_run();
    const green::Thread killer = green::spawn([&] { victim.kill(error("a warning")); });
    let_others_run();
    CHECK(trace == Trace{"a warning"});
    CHECK_FALSE(killer.dead());
    event.set();
    killer.join();
    CHECK(trace == Trace{"a warning", "the end"});
}

TEST_CASE("green: a thread that is killed before its beginning never begins")
{
    bool begun = false;
    const auto held = std::make_shared<int>(1);
    const green::Thread victim = green::spawn([&begun, held] { begun = true; });
    victim.kill();
    CHECK(victim.dead());
    CHECK_FALSE(begun);
    CHECK(held.use_count() == 1);
}

TEST_CASE("green: a thread that ends by a kill while it waits for its turn is not run again")
{
    const green::Thread victim = green::spawn([] {
        try {
            green::sleep(forever);
        } catch (const std::runtime_error&) {
            green::sleep(0s);  // here the other one kills it
        }
    });
    let_others_run();
    const auto kill = [&](const char* why) { victim.kill(error(why)); };
    const green::Thread one = green::spawn(kill, "one");
    const green::Thread two = green::spawn(kill, "two");
    one.join();
    two.join();
    CHECK_THROWS_WITH(std::rethrow_exception(victim.error()), "two");
    let_others_run();
}

TEST_CASE("green: a thread that survives kill() waits again, for as long as it has to")
{
    Trace trace;
    green::Event event;
    const green::Thread victim = green::spawn([&] {
        for (const char* const what : {"first", "second"}) {
            try {
                green::sleep(what == std::string("first") ? forever : 0s);
            } catch (const std::runtime_error&) {
                trace.push_back(what);
            }
        }
        static_cast<void>(green::within(forever, [&] { green::sleep(1ms); }));
        trace.push_back("slept");
        event.wait();
        trace.push_back("woken");
    });
    let_others_run();
    const auto kill = [&] { victim.kill(error("a warning")); };
    const std::vector<green::Thread> killers{green::spawn(kill), green::spawn(kill)};
    let_others_run();
    CHECK(trace == Trace{"first", "second"});
    green::sleep(10ms);
    CHECK(trace == Trace{"first", "second", "slept"});
    event.set();
    green::joinall(killers);
    CHECK(trace.back() == "woken");
}

TEST_CASE(
    "green: a thread that is killed in a sleep, at a socket or in a join no longer waits there")
{
    const Pair pair;
    std::vector<green::Thread> threads{
        green::spawn([] { green::sleep(forever); }),
        green::spawn([&] { green::Hub::current().wait_for(pair.one.get(), Events::read); })};
    threads.push_back(green::spawn([&] { threads[0].join(); }));
    let_others_run();
    threads[2].kill();
    threads[0].kill();
    threads[1].kill();
    // The place at the socket is free again.
    const green::Thread next =
        green::spawn([&] { green::Hub::current().wait_for(pair.one.get(), Events::read); });
    CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
    next.join();
    CHECK_FALSE(next.error());
}

TEST_CASE(
    "green: one thread may wait to read a socket and one to write it, but no two for the same")
{
    const Pair pair;
    auto& hub = green::Hub::current();
    const green::Thread reader = green::spawn([&] { hub.wait_for(pair.one.get(), Events::read); });
    const green::Thread writer = green::spawn([&] { hub.wait_for(pair.one.get(), Events::write); });
    writer.join();
    CHECK_FALSE(reader.dead());
    CHECK_THROWS_AS(hub.wait_for(pair.one.get(), Events::read), std::logic_error);
    hub.forget(pair.one.get());
    reader.join();
    CHECK_THROWS_AS(std::rethrow_exception(reader.error()), std::system_error);
}

TEST_CASE("green: a thread that was woken by a socket and does not read costs no CPU time")
{
    const Pair pair;
    CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
    green::Hub::current().wait_for(pair.one.get(), Events::read);
    calls_of_epoll_wait = 0;
    green::sleep(50ms);
    CHECK(calls_of_epoll_wait < 10);
    green::Hub::current().wait_for(pair.one.get(), Events::read);  // it is still ready
}

TEST_CASE("green: waiting for what can't be waited for throws, and leaves nothing behind")
{
    // epoll knows no regular files. (Without memory it refuses anything, in the same way.)
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
    REQUIRE(file);
    const int fd = ::fileno(file.get());
    auto& hub = green::Hub::current();
    CHECK_THROWS_AS(hub.wait_for(fd, Events::read), std::system_error);
    CHECK_THROWS_AS(hub.wait_for(fd, Events::read), std::system_error);
    green::Event never;
    CHECK_THROWS_AS(never.wait(), green::LoopExit);  // no thread waits at a socket
    hub.forget(fd);
}

TEST_CASE("green: if two threads wait at one socket, one goes on waiting when the other is woken")
{
    const Pair pair;
    auto& hub = green::Hub::current();
    const green::Thread reader = green::spawn([&] { hub.wait_for(pair.one.get(), Events::read); });
    const green::Thread writer = green::spawn([&] { hub.wait_for(pair.one.get(), Events::write); });
    writer.join();
    CHECK_FALSE(reader.dead());
    CHECK(::send(pair.other.get(), "x", 1, 0) == 1);
    reader.join();
    CHECK_FALSE(reader.error());
}

TEST_CASE("green: a thread that waits to write is also woken when the socket is closed")
{
    const Pair pair;
    auto& hub = green::Hub::current();
    const std::string much(64 * 1024, 'x');
    while (::send(pair.one.get(), much.data(), much.size(), 0) > 0) {
    }
    const green::Thread writer = green::spawn([&] { hub.wait_for(pair.one.get(), Events::write); });
    let_others_run();
    CHECK_FALSE(writer.dead());
    hub.forget(pair.one.get());
    writer.join();
    CHECK_THROWS_AS(std::rethrow_exception(writer.error()), std::system_error);
}

TEST_CASE("green: a thread that is killed in a join is not woken by the end of the other")
{
    green::Event event;
    const green::Thread target = green::spawn([&] { event.wait(); });
    for (int i = 0; i < 10; ++i) {
        const green::Thread joining = green::spawn([&] { target.join(); });
        let_others_run();
        joining.kill();
    }
    event.set();
    target.join();
    let_others_run();
}

TEST_CASE("green: an event wakes all threads that wait, and a later one does not wait")
{
    green::Event event;
    int woken = 0;
    std::vector<green::Thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.push_back(green::spawn([&] {
            event.wait();
            ++woken;
        }));
    }
    let_others_run();
    CHECK(woken == 0);
    event.set();
    CHECK(woken == 0);  // not before it is their turn
    green::joinall(threads);
    CHECK(woken == 3);
    event.wait();
    event.clear();
    CHECK_FALSE(event.is_set());
}

TEST_CASE("green: an event that is cleared at once still wakes all threads that waited")
{
    green::Event event;
    int woken = 0;
    const auto wait = [&] {
        event.wait();
        ++woken;
    };
    const std::vector<green::Thread> threads{green::spawn(wait), green::spawn(wait)};
    let_others_run();
    event.set();
    event.clear();
    const green::Thread late = green::spawn(wait);
    let_others_run();
    CHECK(woken == 2);
    event.set();
    late.join();
}

TEST_CASE("green: a semaphore admits as many as it was given, first come, first served")
{
    green::Semaphore semaphore(2);
    green::Event go_on;
    int inside = 0;
    int most = 0;
    Trace order;
    std::vector<green::Thread> threads;
    for (const char* const name : {"a", "b", "c", "d", "e"}) {
        threads.push_back(green::spawn([&, name] {
            semaphore.acquire();
            order.push_back(name);
            most = std::max(most, ++inside);
            go_on.wait();
            green::sleep(0s);
            --inside;
            semaphore.release();
        }));
    }
    let_others_run();
    CHECK(inside == 2);
    go_on.set();
    green::joinall(threads);
    CHECK(most == 2);
    CHECK(order == Trace{"a", "b", "c", "d", "e"});
}

TEST_CASE("green: a thread that is killed just when it gets the semaphore passes it on")
{
    green::Semaphore semaphore(0);
    bool second_has_it = false;
    const green::Thread first = green::spawn([&] { semaphore.acquire(); });
    const green::Thread second = green::spawn([&] {
        semaphore.acquire();
        second_has_it = true;
    });
    let_others_run();
    semaphore.release();  // first is woken, but has not run
    first.kill();
    second.join();
    CHECK(second_has_it);
}

TEST_CASE(
    "green: a released semaphore is for the first that waits, not for one that comes before that "
    "runs")
{
    green::Semaphore semaphore(0);
    Trace trace;
    const auto take = [&](const std::string& name) {
        semaphore.acquire();
        trace.push_back(name);
    };
    std::vector<green::Thread> threads{green::spawn(take, "a"), green::spawn(take, "b")};
    let_others_run();
    semaphore.release();
    CHECK_FALSE(semaphore.try_acquire());
    threads.push_back(green::spawn(take, "c"));
    let_others_run();
    CHECK(trace == Trace{"a"});
    semaphore.release();
    semaphore.release();
    green::joinall(threads);
    CHECK(trace == Trace{"a", "b", "c"});
    semaphore.release();
    CHECK(semaphore.try_acquire());  // no thread waits: it is free
    CHECK_FALSE(semaphore.try_acquire());
}

TEST_CASE("green: a semaphore that was meant for a killed thread is free again")
{
    green::Semaphore semaphore(0);
    const green::Thread only = green::spawn([&] { semaphore.acquire(); });
    let_others_run();
    semaphore.release();
    only.kill();
    CHECK(semaphore.try_acquire());
    const green::Thread early = green::spawn([&] { semaphore.acquire(); });
    let_others_run();
    early.kill();
    semaphore.release();
    CHECK(semaphore.try_acquire());
}

TEST_CASE("green: a thread that takes a lock again and again does not keep others out")
{
    green::Lock lock;
    bool stop = false;
    Trace trace;
    const green::Thread greedy = green::spawn([&] {
        for (int i = 0; i < 100 && !stop; ++i) {
            const std::lock_guard guard(lock);
            trace.push_back("greedy");
            green::sleep(0s);
        }
    });
    const green::Thread other = green::spawn([&] {
        const std::lock_guard guard(lock);
        trace.push_back("other");
        stop = true;
    });
    greedy.join();
    other.join();
    CHECK(trace == Trace{"greedy", "other", "greedy"});
}

TEST_CASE("green: a lock works with std::lock_guard, across a wait")
{
    green::Lock lock;
    Trace trace;
    const auto work = [&](const std::string& who) {
        const std::lock_guard guard(lock);
        trace.push_back(who + " in");
        green::sleep(0s);
        trace.push_back(who + " out");
    };
    const std::vector<green::Thread> threads{green::spawn(work, "a"), green::spawn(work, "b")};
    green::joinall(threads);
    CHECK(trace == Trace{"a in", "a out", "b in", "b out"});
}

TEST_CASE("green: a queue keeps the order, and a thread that finds it empty waits")
{
    green::Queue<int> queue;
    std::vector<int> got;
    const green::Thread reader = green::spawn([&] {
        for (int i = 0; i < 3; ++i) {
            got.push_back(queue.get());
        }
    });
    let_others_run();
    CHECK(got.empty());
    CHECK_FALSE(queue.try_get());
    queue.put(1);
    queue.put(2);
    let_others_run();
    CHECK(got == std::vector{1, 2});
    queue.put(3);
    reader.join();
    CHECK(got == std::vector{1, 2, 3});
}

TEST_CASE(
    "green: an item is for the first thread that waits, or for the next if that one is killed")
{
    green::Queue<int> queue;
    Trace trace;
    const auto take = [&](const std::string& name) {
        trace.push_back(name + std::to_string(queue.get()));
    };
    const green::Thread a = green::spawn(take, "a");
    const green::Thread b = green::spawn(take, "b");
    let_others_run();
    queue.put(1);
    CHECK_FALSE(queue.try_get());
    CHECK(queue.empty());
    a.kill();
    b.join();
    CHECK(trace == Trace{"b1"});
    const green::Thread c = green::spawn(take, "c");
    let_others_run();
    queue.put(2);
    c.kill();
    CHECK(queue.size() == 1);
    CHECK(queue.try_get() == 2);
}

TEST_CASE("green: room in a queue is for the first thread that waits for it")
{
    green::Queue<int> queue(1);
    queue.put(1);
    const green::Thread writer = green::spawn([&] { queue.put(2); });
    let_others_run();
    CHECK(queue.get() == 1);
    CHECK_FALSE(queue.try_put(3));
    CHECK(queue.full());
    writer.join();
    CHECK(queue.try_get() == 2);
    CHECK(queue.try_put(3));
    CHECK_FALSE(queue.try_put(4));
}

TEST_CASE("green: a bounded queue never exceeds its bound, and a thread that finds it full waits")
{
    green::Queue<std::unique_ptr<int>> queue(2);
    int put = 0;
    const green::Thread writer = green::spawn([&] {
        for (; put < 5; ++put) {
            queue.put(std::make_unique<int>(put));
        }
    });
    let_others_run();
    CHECK(put == 2);
    CHECK(queue.full());
    CHECK_FALSE(queue.try_put(nullptr));
    for (int i = 0; i < 5; ++i) {
        CHECK(queue.size() <= 2);
        CHECK(*queue.get() == i);
    }
    writer.join();
    CHECK(queue.empty());
}

TEST_CASE("green: a pool runs at most as many as it was given, and spawning one more waits")
{
    green::Pool pool(2);
    green::Event go_on;
    int begun = 0;
    int spawned = 0;
    const green::Thread spawner = green::spawn([&] {
        for (; spawned < 5; ++spawned) {
            pool.spawn([&] {
                ++begun;
                go_on.wait();
            });
        }
    });
    let_others_run();
    CHECK(begun == 2);
    CHECK(spawned == 2);
    CHECK(pool.size() == 2);
    go_on.set();
    spawner.join();
    pool.join();
    CHECK(begun == 5);
    CHECK(pool.size() == 0);
}

TEST_CASE("green: a thread that throws, or that never began, returns its place in the pool")
{
    green::Pool pool(1);
    pool.spawn([] { throw std::runtime_error("a test throws this"); });
    const green::Thread second = pool.spawn([] {});  // waits for the first one's place
    second.kill();
    bool third = false;
    pool.spawn([&] { third = true; });
    pool.join();
    CHECK(third);
}

TEST_CASE("green: a timeout throws where its thread waits, unless its scope has ended before")
{
    green::Event never;
    CHECK_THROWS_AS(
        [&] {
            const green::Timeout timeout(1ms);
            never.wait();
        }(),
        green::TimedOut);
    {
        const green::Timeout timeout(1ms);
    }
    green::sleep(5ms);
}

TEST_CASE("green: a timeout of 0 is over at the next wait, and the longest one never")
{
    using std::chrono::nanoseconds;
    green::Event never;
    for (const nanoseconds none : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
        CHECK_FALSE(green::within(none, [&] { never.wait(); }));
        green::sleep(none);
    }
    const green::Thread sleeper = green::spawn([] { green::sleep(nanoseconds::max()); });
    CHECK(green::within(nanoseconds::max(), [] { green::sleep(1ms); }));
    CHECK_FALSE(sleeper.dead());
    sleeper.kill();
}

TEST_CASE("green: of nested timeouts each ends its own scope")
{
    green::Event never;
    Trace trace;
    const bool outer = green::within(forever, [&] {
        const bool inner = green::within(1ms, [&] { never.wait(); });
        trace.push_back(inner ? "in time" : "inner timed out");
    });
    CHECK(outer);
    const bool outer_again = green::within(1ms, [&] {
        const bool inner = green::within(forever, [&] { never.wait(); });
        trace.push_back(inner ? "never" : "nor this");
    });
    CHECK_FALSE(outer_again);
    CHECK(trace == Trace{"inner timed out"});
}

TEST_CASE("green: two timeouts that are over at the same time both take effect")
{
    green::Event never;
    bool after_inner = false;
    const bool outer = green::within(1ms, [&] {
        static_cast<void>(green::within(1ms, [&] { never.wait(); }));
        after_inner = true;
        never.wait();
    });
    CHECK_FALSE(outer);
    CHECK((after_inner || !outer));
    CHECK_NOTHROW(green::sleep(1ms));  // nothing of it is left
}

TEST_CASE(
    "green: a wait can be nested in any call, and a greenlet of the user's waits as its thread")
{
    green::Event event;
    bool inner_woken = false;
    const green::Thread thread = green::spawn([&] {
        ground::Greenlet own([&] {
            event.wait();
            inner_woken = true;
        });
        own.switch_to();
    });
    let_others_run();
    CHECK_FALSE(inner_woken);
    event.set();
    thread.join();
    CHECK(inner_woken);
}

TEST_CASE("green: ten thousand threads wait and are woken")
{
    const int number = ground::sanitizers::present ? 300 : 10'000;
    green::Event go;
    int woken = 0;
    std::vector<green::Thread> threads;
    for (int i = 0; i < number; ++i) {
        threads.push_back(green::spawn([&] {
            go.wait();
            ++woken;
        }));
    }
    let_others_run();
    go.set();
    green::joinall(threads);
    CHECK(woken == number);
}
