// program.cpp -- an ordinary program with threads, to be run with kernel threads and with green
// ones.
//
//   green_program CASE     runs it; is silent and ends with 0 if all is as it should be
//   green_program          names the cases
//
// It knows nothing of green threads: it expects what POSIX and C++ promise. Where it needs to know
// that another thread waits, it lets time pass. Too little time makes a case easier, not wrong.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <barrier>
#include <cerrno>
#include <cfenv>
#include <chrono>
#include <condition_variable>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "line %d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
            ::_exit(1);                                                                            \
        }                                                                                          \
    } while (false)

void rest(std::chrono::milliseconds time = 20ms) { std::this_thread::sleep_for(time); }

timespec from_now(clockid_t clock, std::chrono::milliseconds time)
{
    timespec now{};
    ::clock_gettime(clock, &now);
    const auto nanoseconds = now.tv_nsec + std::chrono::nanoseconds(time).count();
    return {now.tv_sec + nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
}

int status_of(pid_t child)
{
    int status = 0;
    EXPECT(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

// For what comes by itself. Without a timer, because some tests depend on which timers there are.
template <typename Condition>
void yield_until(Condition condition)
{
    while (!condition()) {
        std::this_thread::yield();
    }
}

// For what would not come if something were wrong.
template <typename Condition>
void within_reason(Condition condition)
{
    const auto start = Clock::now();
    while (!condition()) {
        EXPECT(Clock::now() - start < 20s);
        rest(1ms);
    }
}

struct Pair {
    std::array<int, 2> ends{};
    explicit Pair(int type = SOCK_STREAM)
    {
        EXPECT(::socketpair(AF_UNIX, type, 0, ends.data()) == 0);
    }
    ~Pair()
    {
        ::close(ends[0]);
        ::close(ends[1]);
    }
    Pair(const Pair&) = delete;
    Pair& operator=(const Pair&) = delete;
};

// ---- Threads ------------------------------------------------------------------------------------

void results()
{
    std::vector<pthread_t> threads(20);
    for (std::size_t i = 0; i < threads.size(); ++i) {
        EXPECT(::pthread_create(
                   &threads[i], nullptr, [](void* argument) { return argument; },
                   reinterpret_cast<void*>(i)) == 0);
    }
    for (std::size_t i = 0; i < threads.size(); ++i) {
        void* result = nullptr;
        EXPECT(::pthread_join(threads[i], &result) == 0);
        EXPECT(reinterpret_cast<std::size_t>(result) == i);
    }
    pthread_t waiting{};
    Pair pair;
    EXPECT(::pthread_create(
               &waiting, nullptr,
               [](void* fd) -> void* {
                   char byte = 0;
                   EXPECT(::read(static_cast<int>(reinterpret_cast<std::intptr_t>(fd)), &byte, 1) ==
                          1);
                   return nullptr;
               },
               reinterpret_cast<void*>(static_cast<std::intptr_t>(pair.ends[0]))) == 0);
    EXPECT(::pthread_tryjoin_np(waiting, nullptr) == EBUSY);
    const timespec soon = from_now(CLOCK_REALTIME, 20ms);
    EXPECT(::pthread_timedjoin_np(waiting, nullptr, &soon) == ETIMEDOUT);
    EXPECT(::write(pair.ends[1], "x", 1) == 1);
    EXPECT(::pthread_join(waiting, nullptr) == 0);
    EXPECT(::pthread_join(::pthread_self(), nullptr) == EDEADLK);

    std::vector<std::thread::id> ids;
    std::mutex mutex;
    std::vector<std::thread> all;
    for (int i = 0; i < 10; ++i) {
        all.emplace_back([&] {
            rest();
            const std::lock_guard lock(mutex);
            for (const auto id : ids) {
                EXPECT(id != std::this_thread::get_id());
            }
            ids.push_back(std::this_thread::get_id());
        });
    }
    for (std::thread& thread : all) {
        thread.join();
    }
    EXPECT(ids.size() == 10);
    EXPECT(std::async(std::launch::async, [] { return 42; }).get() == 42);
}

std::atomic<int> unwound{0};

struct Unwound {
    ~Unwound() { ++unwound; }
};

void exit_from_a_thread()
{
    pthread_t thread{};
    EXPECT(::pthread_create(
               &thread, nullptr,
               [](void*) -> void* {
                   const Unwound outer;
                   [] {
                       const Unwound inner;
                       ::pthread_exit(reinterpret_cast<void*>(7));
                   }();
                   return nullptr;
               },
               nullptr) == 0);
    void* result = nullptr;
    EXPECT(::pthread_join(thread, &result) == 0);
    EXPECT(result == reinterpret_cast<void*>(7));
    EXPECT(unwound == 2);
}

void exit_of_the_first_thread()
{
    std::thread([] {
        rest(50ms);
        std::printf("the other one went on\n");
        std::fflush(stdout);
    }).detach();
    ::pthread_exit(nullptr);
}

void many()
{
    constexpr int number = 10'000;
    std::atomic<int> there{0};
    std::counting_semaphore<> go(0);
    std::vector<std::thread> threads;
    for (int round = 0; round < 2; ++round) {  // the second uses the stacks of the first
        there = 0;
        for (int i = 0; i < number / 10; ++i) {
            threads.emplace_back([&] {
                ++there;
                go.acquire();
            });
        }
        while (there < number / 10) {
            std::this_thread::yield();
        }
        go.release(number / 10);
        for (std::thread& thread : threads) {
            thread.join();
        }
        threads.clear();
    }
}

// ---- What belongs to a thread -------------------------------------------------------------------

struct Counted {
    static inline std::atomic<int> alive{0};
    Counted() { ++alive; }
    ~Counted() { --alive; }
    int value = 5;
};
thread_local Counted counted;
thread_local int own_number = 3;
thread_local std::string text = "as it was";

void thread_locals()
{
    own_number = 100;
    text = "of the first thread, and too long to be kept in the object itself";
    for (int round = 0; round < 3; ++round) {
        std::vector<std::thread> threads;
        for (int i = 0; i < 10; ++i) {
            threads.emplace_back([i] {
                EXPECT(own_number == 3);
                EXPECT(text == "as it was");
                EXPECT(counted.value == 5);
                own_number = i;
                text = std::string(100, static_cast<char>('a' + i));
                rest(10ms);
                EXPECT(own_number == i);
                EXPECT(text == std::string(100, static_cast<char>('a' + i)));
                EXPECT(counted.value == 5);
            });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        EXPECT(Counted::alive == 1);  // that of the first thread
    }
    EXPECT(own_number == 100);
}

void error_numbers()
{
    std::vector<std::thread> threads;
    for (int i = 1; i <= 10; ++i) {
        threads.emplace_back([i] {
            for (int round = 0; round < 10; ++round) {
                errno = i;
                std::this_thread::yield();
                EXPECT(errno == i);
                if (i % 2 == 0) {
                    errno = 0;
                    EXPECT(::read(-1, nullptr, 0) == -1);
                    std::this_thread::yield();
                    EXPECT(errno == EBADF);
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

void exceptions_in_flight()
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i) {
        threads.emplace_back([i] {
            for (int round = 0; round < 10; ++round) {
                try {
                    try {
                        throw std::runtime_error(std::to_string(i));
                    } catch (...) {
                        std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 3)));
                        EXPECT(std::uncaught_exceptions() == 0);
                        throw;
                    }
                } catch (const std::runtime_error& error) {
                    EXPECT(error.what() == std::to_string(i));
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

void uncaught_exception()
{
    std::thread([] { throw std::runtime_error("no handler catches this"); }).join();
}

void rounding()
{
    std::thread upwards([] {
        std::fesetround(FE_UPWARD);
        rest();
        EXPECT(std::fegetround() == FE_UPWARD);
    });
    rest(5ms);
    EXPECT(std::fegetround() == FE_TONEAREST);
    upwards.join();
}

pthread_key_t again;
int calls = 0;

void keys()
{
    pthread_key_t key{};
    static std::atomic<int> destroyed{0};
    EXPECT(::pthread_key_create(&key, [](void* value) {
               destroyed += static_cast<int>(reinterpret_cast<std::intptr_t>(value));
           }) == 0);
    EXPECT(::pthread_key_create(&again, [](void* value) {
               if (++calls < 3) {
                   ::pthread_setspecific(again, value);
               }
           }) == 0);
    EXPECT(::pthread_setspecific(key, reinterpret_cast<void*>(1000)) == 0);
    std::vector<std::thread> threads;
    for (std::intptr_t i = 1; i <= 4; ++i) {
        threads.emplace_back([key, i] {
            EXPECT(::pthread_getspecific(key) == nullptr);
            EXPECT(::pthread_setspecific(key, reinterpret_cast<void*>(i)) == 0);
            rest(5ms);
            EXPECT(::pthread_getspecific(key) == reinterpret_cast<void*>(i));
            if (i == 1) {
                EXPECT(::pthread_setspecific(again, &calls) == 0);
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(destroyed == 10);
    EXPECT(calls == 3);
    EXPECT(::pthread_getspecific(key) == reinterpret_cast<void*>(1000));
    EXPECT(::pthread_key_delete(key) == 0);

    std::vector<pthread_key_t> lots(200);
    for (pthread_key_t& one : lots) {
        EXPECT(::pthread_key_create(&one, nullptr) == 0);
    }
    std::thread([&] {
        for (pthread_key_t one : lots) {
            EXPECT(::pthread_setspecific(one, &lots) == 0);
        }
        std::this_thread::yield();
        EXPECT(::pthread_getspecific(lots.back()) == &lots);
    }).join();
    std::thread([&] { EXPECT(::pthread_getspecific(lots.back()) == nullptr); }).join();
}

// ---- once ---------------------------------------------------------------------------------------

void once()
{
    static pthread_once_t control = PTHREAD_ONCE_INIT;
    static std::atomic<int> times{0};
    static std::atomic<int> after{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([] {
            EXPECT(::pthread_once(&control, [] {
                       rest();
                       ++times;
                   }) == 0);
            EXPECT(times == 1);
            ++after;
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(after == 5);
}

void once_that_throws()
{
    std::once_flag flag;
    std::atomic<int> tries{0};
    std::atomic<int> caught{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([&] {
            try {
                std::call_once(flag, [&] {
                    rest(5ms);
                    if (++tries < 3) {
                        throw std::runtime_error("not yet");
                    }
                });
            } catch (const std::runtime_error&) {
                ++caught;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(tries == 3);
    EXPECT(caught == 2);
}

struct Slow {
    Slow() { rest(); }
    int value = 9;
};

void static_variables()
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([] {
            static const Slow slow;
            EXPECT(slow.value == 9);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// ---- Locks --------------------------------------------------------------------------------------

pthread_mutex_t mutex_of_kind(int kind)
{
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_settype(&attributes, kind);
    pthread_mutex_t mutex;
    EXPECT(::pthread_mutex_init(&mutex, &attributes) == 0);
    return mutex;
}

void mutexes()
{
    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_t recursive = mutex_of_kind(PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_t checked = mutex_of_kind(PTHREAD_MUTEX_ERRORCHECK);
    EXPECT(::pthread_mutex_lock(&plain) == 0);
    EXPECT(::pthread_mutex_trylock(&plain) == EBUSY);
    EXPECT(::pthread_mutex_lock(&recursive) == 0);
    EXPECT(::pthread_mutex_lock(&recursive) == 0);
    EXPECT(::pthread_mutex_trylock(&recursive) == 0);
    EXPECT(::pthread_mutex_unlock(&recursive) == 0);
    EXPECT(::pthread_mutex_unlock(&recursive) == 0);
    EXPECT(::pthread_mutex_lock(&checked) == 0);
    EXPECT(::pthread_mutex_lock(&checked) == EDEADLK);
    std::string order;
    std::thread other([&] {
        EXPECT(::pthread_mutex_trylock(&plain) == EBUSY);
        EXPECT(::pthread_mutex_trylock(&recursive) == EBUSY);
        EXPECT(::pthread_mutex_unlock(&recursive) == EPERM);
        EXPECT(::pthread_mutex_unlock(&checked) == EPERM);
        const timespec soon = from_now(CLOCK_REALTIME, 20ms);
        EXPECT(::pthread_mutex_timedlock(&plain, &soon) == ETIMEDOUT);
        const timespec then = from_now(CLOCK_MONOTONIC, 20ms);
        EXPECT(::pthread_mutex_clocklock(&recursive, CLOCK_MONOTONIC, &then) == ETIMEDOUT);
        EXPECT(::pthread_mutex_lock(&recursive) == 0);
        order += "b";
        EXPECT(::pthread_mutex_unlock(&recursive) == 0);
    });
    rest(60ms);
    order += "a";
    EXPECT(::pthread_mutex_unlock(&recursive) == 0);
    other.join();
    EXPECT(order == "ab");
    EXPECT(::pthread_mutex_unlock(&checked) == 0);
    EXPECT(::pthread_mutex_unlock(&checked) == EPERM);
    EXPECT(::pthread_mutex_unlock(&plain) == 0);
    EXPECT(::pthread_mutex_destroy(&plain) == 0);

    std::mutex mutex;
    long count = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int round = 0; round < 50; ++round) {
                const std::lock_guard lock(mutex);
                const long before = count;
                std::this_thread::yield();
                count = before + 1;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(count == 400);
}

void conditions()
{
    std::mutex mutex;
    std::condition_variable changed;
    int turn = 0;
    std::string order;
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([&, i] {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return turn == i; });
            order += static_cast<char>('0' + i);
            ++turn;
            changed.notify_all();
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(order == "01234");

    std::unique_lock lock(mutex);
    const auto start = Clock::now();
    EXPECT(changed.wait_for(lock, 30ms) == std::cv_status::timeout);
    EXPECT(Clock::now() - start >= 30ms);
    EXPECT(changed.wait_until(lock, std::chrono::system_clock::now() + 10ms) ==
           std::cv_status::timeout);
    lock.unlock();

    // One signal wakes one thread, even if another one's time is over at that moment.
    pthread_condattr_t attributes;
    ::pthread_condattr_init(&attributes);
    ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_t condition;
    ::pthread_cond_init(&condition, &attributes);
    pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
    std::atomic<int> woken{0};
    std::atomic<int> over{0};
    std::vector<std::thread> both;
    for (int i = 0; i < 2; ++i) {
        both.emplace_back([&, i] {
            ::pthread_mutex_lock(&plain);
            const timespec then = from_now(CLOCK_MONOTONIC, i == 0 ? 20ms : 10'000ms);
            const int error = ::pthread_cond_timedwait(&condition, &plain, &then);
            ++(error == 0 ? woken : over);
            EXPECT(error == 0 || error == ETIMEDOUT);
            ::pthread_mutex_unlock(&plain);
        });
    }
    both[0].join();
    EXPECT(over == 1);
    ::pthread_mutex_lock(&plain);
    ::pthread_cond_signal(&condition);
    ::pthread_mutex_unlock(&plain);
    both[1].join();
    EXPECT(woken == 1);
    EXPECT(::pthread_cond_destroy(&condition) == 0);
}

void semaphores()
{
    sem_t semaphore;
    std::memset(&semaphore, 0xEE, sizeof semaphore);  // sem_init() finds arbitrary bytes
    EXPECT(::sem_init(&semaphore, 0, 2) == 0);
    EXPECT(::sem_wait(&semaphore) == 0);
    EXPECT(::sem_trywait(&semaphore) == 0);
    EXPECT(::sem_trywait(&semaphore) == -1 && errno == EAGAIN);
    const timespec soon = from_now(CLOCK_REALTIME, 20ms);
    EXPECT(::sem_timedwait(&semaphore, &soon) == -1 && errno == ETIMEDOUT);
    std::atomic<int> through{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([&] {
            EXPECT(::sem_wait(&semaphore) == 0);
            ++through;
        });
    }
    rest();
    EXPECT(through == 0);
    for (int i = 0; i < 7; ++i) {
        EXPECT(::sem_post(&semaphore) == 0);
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    int value = 0;
    EXPECT(::sem_getvalue(&semaphore, &value) == 0);
    EXPECT(value == 2);
    EXPECT(::sem_destroy(&semaphore) == 0);
}

void other_locks()
{
    std::shared_mutex shared;
    std::atomic<int> readers{0};
    std::atomic<int> most{0};
    bool written = false;
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            const std::shared_lock lock(shared);
            most = std::max(most.load(), ++readers);
            rest();
            EXPECT(!written);
            --readers;
        });
    }
    rest(5ms);
    {
        const std::unique_lock lock(shared);
        EXPECT(readers == 0);
        written = true;
        rest(5ms);
        written = false;
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(most >= 2);

    pthread_barrier_t barrier;
    EXPECT(::pthread_barrier_init(&barrier, nullptr, 3) == 0);
    std::atomic<int> last{0};
    std::atomic<int> before{0};
    std::vector<std::thread> three;
    for (int i = 0; i < 3; ++i) {
        three.emplace_back([&] {
            for (int round = 1; round <= 3; ++round) {
                ++before;
                last += ::pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD ? 1 : 0;
                EXPECT(before >= 3 * round);
            }
        });
    }
    for (std::thread& thread : three) {
        thread.join();
    }
    EXPECT(last == 3);

    pthread_spinlock_t spin;
    EXPECT(::pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE) == 0);
    EXPECT(::pthread_spin_lock(&spin) == 0);
    std::thread spinning([&] {
        EXPECT(::pthread_spin_lock(&spin) == 0);
        EXPECT(::pthread_spin_unlock(&spin) == 0);
    });
    rest(5ms);
    EXPECT(::pthread_spin_unlock(&spin) == 0);
    spinning.join();
}

// A writer that gives up does not keep the readers after it from reading.
void writer_that_gives_up()
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
    std::atomic<int> begun{0};
    std::atomic<bool> first_reads{false};
    std::atomic<bool> second_reads{false};
    EXPECT(::pthread_rwlock_wrlock(&lock) == 0);
    std::thread first([&] {
        ++begun;
        EXPECT(::pthread_rwlock_rdlock(&lock) == 0);
        first_reads = true;
        within_reason([&] { return second_reads.load(); });
        EXPECT(::pthread_rwlock_unlock(&lock) == 0);
    });
    yield_until([&] { return begun == 1; });
    std::thread writer([&] {
        ++begun;
        const timespec then = from_now(CLOCK_MONOTONIC, 200ms);
        const int error = ::pthread_rwlock_clockwrlock(&lock, CLOCK_MONOTONIC, &then);
        EXPECT(error == ETIMEDOUT || error == 0);  // the kernel may give it to this one first
        EXPECT(error != 0 || ::pthread_rwlock_unlock(&lock) == 0);
    });
    yield_until([&] { return begun == 2; });
    std::thread second([&] {
        ++begun;
        EXPECT(::pthread_rwlock_rdlock(&lock) == 0);
        second_reads = true;
        EXPECT(::pthread_rwlock_unlock(&lock) == 0);
    });
    yield_until([&] { return begun == 3; });
    rest(5ms);
    EXPECT(::pthread_rwlock_unlock(&lock) == 0);
    first.join();
    writer.join();
    second.join();
}

// A thread that waits for something that processes share does not stop the other threads.
struct Shared {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    pthread_rwlock_t read_write;
    sem_t ours;
    sem_t theirs;
    int turn;
};

Shared& shared_memory()
{
    void* const memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT(memory != MAP_FAILED);
    Shared& shared = *new (memory) Shared;
    pthread_mutexattr_t mutex;
    ::pthread_mutexattr_init(&mutex);
    ::pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    EXPECT(::pthread_mutex_init(&shared.mutex, &mutex) == 0);
    pthread_condattr_t condition;
    ::pthread_condattr_init(&condition);
    ::pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    EXPECT(::pthread_cond_init(&shared.condition, &condition) == 0);
    pthread_rwlockattr_t read_write;
    ::pthread_rwlockattr_init(&read_write);
    ::pthread_rwlockattr_setpshared(&read_write, PTHREAD_PROCESS_SHARED);
    EXPECT(::pthread_rwlock_init(&shared.read_write, &read_write) == 0);
    EXPECT(::sem_init(&shared.ours, 1, 0) == 0);
    EXPECT(::sem_init(&shared.theirs, 1, 0) == 0);
    shared.turn = 0;
    return shared;
}

void shared_with_a_child()
{
    Shared& shared = shared_memory();
    Pair pair;
    const pid_t child = ::fork();
    EXPECT(child != -1);
    if (child == 0) {
        ::alarm(20);  // it does not inherit its parent's
        char byte = 0;
        EXPECT(::pthread_mutex_lock(&shared.mutex) == 0);
        EXPECT(::pthread_rwlock_wrlock(&shared.read_write) == 0);
        EXPECT(::sem_post(&shared.theirs) == 0);
        for (int i = 0; i < 3; ++i) {  // another thread of the parent has to run for it each time
            EXPECT(::read(pair.ends[1], &byte, 1) == 1);
            switch (i) {
                case 0:
                    EXPECT(::pthread_rwlock_unlock(&shared.read_write) == 0);
                    break;
                case 1:
                    EXPECT(::pthread_mutex_unlock(&shared.mutex) == 0);
                    break;
                default:
                    EXPECT(::sem_post(&shared.ours) == 0);
            }
        }
        EXPECT(::read(pair.ends[1], &byte, 1) == 1);
        EXPECT(::pthread_mutex_lock(&shared.mutex) == 0);
        shared.turn = 1;
        EXPECT(::pthread_cond_broadcast(&shared.condition) == 0);
        while (shared.turn != 2) {
            EXPECT(::pthread_cond_wait(&shared.condition, &shared.mutex) == 0);
        }
        EXPECT(::pthread_mutex_unlock(&shared.mutex) == 0);
        ::_exit(0);
    }
    std::atomic<int> done{0};
    std::thread pusher([&] {
        for (int i = 0; i < 4; ++i) {
            yield_until([&] { return done == i + 1; });
            rest(10ms);
            EXPECT(::write(pair.ends[0], "x", 1) == 1);
        }
    });
    EXPECT(::sem_wait(&shared.theirs) == 0);
    const timespec soon = from_now(CLOCK_REALTIME, 5ms);
    EXPECT(::pthread_mutex_timedlock(&shared.mutex, &soon) == ETIMEDOUT);
    EXPECT(::pthread_rwlock_timedrdlock(&shared.read_write, &soon) == ETIMEDOUT);
    EXPECT(::sem_timedwait(&shared.ours, &soon) == -1 && errno == ETIMEDOUT);
    ++done;
    EXPECT(::pthread_rwlock_rdlock(&shared.read_write) == 0);
    EXPECT(::pthread_rwlock_unlock(&shared.read_write) == 0);
    ++done;
    EXPECT(::pthread_mutex_lock(&shared.mutex) == 0);
    ++done;
    EXPECT(::sem_wait(&shared.ours) == 0);
    const timespec then = from_now(CLOCK_REALTIME, 5ms);
    int error = 0;
    while (error == 0) {
        error = ::pthread_cond_timedwait(&shared.condition, &shared.mutex, &then);
    }
    EXPECT(error == ETIMEDOUT);
    ++done;
    while (shared.turn != 1) {
        EXPECT(::pthread_cond_wait(&shared.condition, &shared.mutex) == 0);
    }
    shared.turn = 2;
    EXPECT(::pthread_cond_broadcast(&shared.condition) == 0);
    EXPECT(::pthread_mutex_unlock(&shared.mutex) == 0);
    pusher.join();
    EXPECT(status_of(child) == 0);
}

void atomics()
{
    std::atomic<int> value{0};
    std::thread waiting([&] {
        value.wait(0);
        value = 2;
        value.notify_all();
    });
    rest(5ms);
    value = 1;
    value.notify_one();
    value.wait(1);
    EXPECT(value == 2);
    waiting.join();

    std::counting_semaphore<10> semaphore(0);
    EXPECT(!semaphore.try_acquire_for(10ms));
    std::latch latch(3);
    std::barrier barrier(3);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            semaphore.acquire();
            latch.arrive_and_wait();
            barrier.arrive_and_wait();
            barrier.arrive_and_wait();
        });
    }
    semaphore.release(3);
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// ---- Sleeping -----------------------------------------------------------------------------------

void sleep_order()
{
    std::string order;
    std::vector<std::thread> threads;
    for (const int place : {3, 1, 4, 2, 5}) {
        threads.emplace_back([&, place] {
            switch (place) {
                case 1:
                    std::this_thread::sleep_for(place * 40ms);
                    break;
                case 2:
                    ::usleep(static_cast<useconds_t>(place) * 40'000);
                    break;
                case 3: {
                    const timespec then = from_now(CLOCK_MONOTONIC, place * 40ms);
                    EXPECT(::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, nullptr) == 0);
                    break;
                }
                case 4:
                    EXPECT(::poll(nullptr, 0, place * 40) == 0);
                    break;
                default: {
                    timeval time{0, place * 40'000};
                    EXPECT(::select(0, nullptr, nullptr, nullptr, &time) == 0);
                }
            }
            order += static_cast<char>('0' + place);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT(order == "12345");
}

// Of thirty that wait with a time limit, one is woken. It is in the middle of their order, whatever
// that is, and the last one takes its place. That delays none of the early ones.
void limits_of_many()
{
    constexpr std::size_t number = 30;
    constexpr std::size_t woken = 8;
    // A heap, if they come in this order: the left half is late, the right half is early.
    const auto is_late = [](std::size_t place) {
        while (place > 3) {
            place /= 2;
        }
        return place == 2;
    };
    std::mutex mutex;
    std::vector<std::condition_variable> conditions(number + 1);
    std::vector<std::thread> threads;
    std::size_t here = 0;
    std::size_t late = 0;
    const auto start = Clock::now();
    for (std::size_t place = 1; place <= number; ++place) {
        threads.emplace_back([&, place] {
            std::unique_lock lock(mutex);
            ++here;
            const auto limit = (is_late(place) ? 2s : 500ms) + place * 1ms;
            const bool over =
                conditions[place].wait_until(lock, start + limit) == std::cv_status::timeout;
            EXPECT(over != (place == woken));
            if (is_late(place)) {
                late += over ? 1 : 0;
            } else {
                EXPECT(late == 0);
            }
        });
    }
    yield_until([&] {
        const std::lock_guard lock(mutex);
        return here == number;
    });
    {
        const std::lock_guard lock(mutex);
        conditions[woken].notify_one();
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// ---- Descriptors --------------------------------------------------------------------------------

void pipes()
{
    std::array<int, 2> ends{};
    EXPECT(::pipe(ends.data()) == 0);
    std::string sent(1 << 20, 'x');
    for (std::size_t i = 0; i < sent.size(); ++i) {
        sent[i] = static_cast<char>('a' + i % 23);
    }
    std::string received;
    std::thread reader([&] {
        std::array<char, 10'000> buffer{};
        ssize_t size = 0;
        while ((size = ::read(ends[0], buffer.data(), buffer.size())) > 0) {
            received.append(buffer.data(), static_cast<std::size_t>(size));
        }
        EXPECT(size == 0);
    });
    rest(5ms);
    EXPECT(::write(ends[1], sent.data(), sent.size()) == static_cast<ssize_t>(sent.size()));
    const std::array<iovec, 3> pieces{
        {{sent.data(), 100'000}, {sent.data(), 0}, {sent.data(), 50'000}}};
    EXPECT(::writev(ends[1], pieces.data(), 3) == 150'000);
    ::close(ends[1]);
    reader.join();
    EXPECT(received == sent + sent.substr(0, 100'000) + sent.substr(0, 50'000));
    ::close(ends[0]);
    EXPECT(::read(ends[0], received.data(), 1) == -1 && errno == EBADF);
}

void sockets()
{
    Pair pair;
    std::string sent(1 << 20, 'x');
    for (std::size_t i = 0; i < sent.size(); ++i) {
        sent[i] = static_cast<char>('a' + i % 23);
    }
    std::thread writer([&] {
        EXPECT(::send(pair.ends[1], sent.data(), sent.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(sent.size()));
        std::array<iovec, 3> pieces{
            {{sent.data(), 300'000}, {sent.data(), 1}, {sent.data(), 300'000}}};
        msghdr message{};
        message.msg_iov = pieces.data();
        message.msg_iovlen = pieces.size();
        EXPECT(::sendmsg(pair.ends[1], &message, MSG_NOSIGNAL) == 600'001);
        EXPECT(::shutdown(pair.ends[1], SHUT_WR) == 0);
    });
    rest(5ms);
    std::string received(sent.size(), ' ');
    EXPECT(::recv(pair.ends[0], received.data(), received.size(), MSG_WAITALL) ==
           static_cast<ssize_t>(sent.size()));
    EXPECT(received == sent);
    received.assign(700'000, ' ');
    EXPECT(::recv(pair.ends[0], received.data(), received.size(), MSG_WAITALL) == 600'001);
    EXPECT(::recv(pair.ends[0], received.data(), 1, 0) == 0);
    writer.join();
}

void sockets_that_do_not_wait()
{
    // Another thread, so that calls are not passed through.
    Pair other;
    std::thread waiting([&] {
        char byte = 0;
        EXPECT(::read(other.ends[0], &byte, 1) == 1);
    });
    Pair pair;
    char byte = 0;
    EXPECT(::recv(pair.ends[0], &byte, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    EXPECT(::fcntl(pair.ends[0], F_SETFL, O_NONBLOCK) == 0);
    EXPECT(::recv(pair.ends[0], &byte, 1, 0) == -1 && errno == EAGAIN);
    EXPECT(::read(pair.ends[0], &byte, 1) == -1 && errno == EAGAIN);
    const std::string lots(1 << 20, 'x');
    const ssize_t some = ::send(pair.ends[0], lots.data(), lots.size(), 0);
    EXPECT(some > 0 && some < static_cast<ssize_t>(lots.size()));
    EXPECT(::write(pair.ends[0], lots.data(), lots.size()) == -1 && errno == EAGAIN);
    EXPECT((::fcntl(pair.ends[1], F_GETFL) & O_NONBLOCK) == 0);

    const timeval limit{0, 30'000};
    EXPECT(::setsockopt(other.ends[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    const auto start = Clock::now();
    EXPECT(::recv(other.ends[1], &byte, 1, 0) == -1 && errno == EAGAIN);
    EXPECT(Clock::now() - start >= 30ms);
    const timeval longer{0, 60'000};
    EXPECT(::setsockopt(other.ends[1], SOL_SOCKET, SO_RCVTIMEO, &longer, sizeof longer) == 0);
    EXPECT(::read(other.ends[1], &byte, 1) == -1 && errno == EAGAIN);
    EXPECT(Clock::now() - start >= 90ms);
    EXPECT(::setsockopt(other.ends[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    const ssize_t part = ::send(other.ends[1], lots.data(), lots.size(), 0);
    EXPECT(part > 0 && part < static_cast<ssize_t>(lots.size()));
    waiting.join();
}

void connections()
{
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT(::bind(listener, generic, size) == 0);
    EXPECT(::listen(listener, 10) == 0);
    EXPECT(::getsockname(listener, generic, &size) == 0);
    std::thread server([&] {
        for (int i = 0; i < 10; ++i) {
            const int client = i % 2 == 0 ? ::accept(listener, nullptr, nullptr)
                                          : ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
            EXPECT(client != -1);
            EXPECT((::fcntl(client, F_GETFL) & O_NONBLOCK) == 0);
            std::thread([client] {
                std::array<char, 100> buffer{};
                ssize_t got = 0;
                while ((got = ::read(client, buffer.data(), buffer.size())) > 0) {
                    EXPECT(::write(client, buffer.data(), static_cast<std::size_t>(got)) == got);
                }
                ::close(client);
            }).detach();
        }
    });
    std::vector<std::thread> clients;
    for (int i = 0; i < 10; ++i) {
        clients.emplace_back([&] {
            const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
            EXPECT(::connect(socket, generic, size) == 0);
            EXPECT((::fcntl(socket, F_GETFL) & O_NONBLOCK) == 0);
            EXPECT(::send(socket, "hello", 5, 0) == 5);
            std::array<char, 5> reply{};
            EXPECT(::recv(socket, reply.data(), reply.size(), MSG_WAITALL) == 5);
            EXPECT(std::string_view(reply.data(), 5) == "hello");
            ::close(socket);
        });
    }
    for (std::thread& thread : clients) {
        thread.join();
    }
    server.join();
    ::close(listener);
    const int refused = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(::connect(refused, generic, size) == -1 && errno == ECONNREFUSED);
    ::close(refused);

    Pair datagrams(SOCK_DGRAM);
    std::thread sender([&] {
        rest(5ms);
        EXPECT(::sendto(datagrams.ends[0], "one", 3, 0, nullptr, 0) == 3);
        EXPECT(::send(datagrams.ends[0], "three", 5, 0) == 5);
    });
    std::array<char, 10> buffer{};
    EXPECT(::recvfrom(datagrams.ends[1], buffer.data(), buffer.size(), 0, nullptr, nullptr) == 3);
    EXPECT(::recv(datagrams.ends[1], buffer.data(), buffer.size(), 0) == 5);
    sender.join();
}

void several()
{
    Pair first;
    Pair second;
    std::thread writer([&] {
        rest();
        EXPECT(::write(second.ends[1], "x", 1) == 1);
    });
    std::array<pollfd, 2> entries{{{first.ends[0], POLLIN, 0}, {second.ends[0], POLLIN, 0}}};
    EXPECT(::poll(entries.data(), 2, 0) == 0);
    EXPECT(::poll(entries.data(), 2, 10'000) == 1);
    EXPECT(entries[0].revents == 0 && entries[1].revents == POLLIN);
    writer.join();
    const auto start = Clock::now();
    EXPECT(::poll(entries.data(), 1, 30) == 0);
    EXPECT(Clock::now() - start >= 30ms);
    entries[0].events = POLLIN | POLLOUT;
    EXPECT(::poll(entries.data(), 2, -1) == 2);
    EXPECT(entries[0].revents == POLLOUT);

    std::thread later([&] {
        rest();
        EXPECT(::write(first.ends[1], "x", 1) == 1);
    });
    fd_set set;
    FD_ZERO(&set);
    FD_SET(first.ends[0], &set);
    EXPECT(::select(first.ends[0] + 1, &set, nullptr, nullptr, nullptr) == 1);
    EXPECT(FD_ISSET(first.ends[0], &set));
    later.join();
    FD_ZERO(&set);
    FD_SET(first.ends[1], &set);
    timeval limit{0, 20'000};
    EXPECT(::select(first.ends[1] + 1, &set, nullptr, nullptr, &limit) == 0);
    EXPECT(!FD_ISSET(first.ends[1], &set));

    const int event = ::eventfd(0, 0);
    std::thread posting([&] {
        rest();
        const std::uint64_t one = 1;
        EXPECT(::write(event, &one, sizeof one) == sizeof one);
    });
    const int epoll = ::epoll_create1(0);
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    EXPECT(::epoll_ctl(epoll, EPOLL_CTL_ADD, event, &wanted) == 0);
    EXPECT(::epoll_wait(epoll, &wanted, 1, 0) == 0);
    EXPECT(::epoll_wait(epoll, &wanted, 1, 10'000) == 1);
    std::uint64_t value = 0;
    EXPECT(::read(event, &value, sizeof value) == sizeof value && value == 1);
    EXPECT(::epoll_wait(epoll, &wanted, 1, 20) == 0);
    posting.join();
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec once{{0, 0}, {0, 20'000'000}};
    EXPECT(::timerfd_settime(timer, 0, &once, nullptr) == 0);
    EXPECT(::read(timer, &value, sizeof value) == sizeof value && value == 1);
    ::close(timer);
    ::close(event);
    ::close(epoll);
}

void closed_and_used_again()
{
    // The number of a closed descriptor is soon used again. A thread that waits for the old one is
    // not forgotten.
    for (int round = 0; round < 20; ++round) {
        Pair pair;
        std::thread reader([&] {
            char byte = 0;
            EXPECT(::read(pair.ends[0], &byte, 1) == 1);
        });
        std::this_thread::yield();
        EXPECT(::write(pair.ends[1], "x", 1) == 1);
        reader.join();
        const int copy = ::dup(pair.ends[1]);  // the file stays open under another number
        EXPECT(::dup2(pair.ends[0], copy) == copy);
        std::thread another([&] {
            char byte = 0;
            EXPECT(::recv(copy, &byte, 1, 0) == 1);
        });
        rest(1ms);
        EXPECT(::write(pair.ends[1], "x", 1) == 1);
        another.join();
        ::close(copy);
    }
}

// A closed descriptor's number is that of the next one. A thread that waits for the old one does
// not get what comes for the new one. A kernel thread goes on waiting; a green one gets EBADF.
void closed_while_others_wait()
{
    Pair old;
    std::atomic<bool> over{false};
    std::atomic<int> begun{0};
    const int number = old.ends[0];
    std::thread reader([&] {
        std::array<char, 10> buffer{};
        ++begun;
        const ssize_t size = ::recv(number, buffer.data(), buffer.size(), 0);
        EXPECT((size == -1 && errno == EBADF) || (size == 0 && over));
    });
    std::thread looking([&] {
        pollfd entry{number, POLLIN, 0};
        ++begun;
        EXPECT(::poll(&entry, 1, -1) == 1);
        EXPECT(entry.revents == POLLNVAL || over);
    });
    yield_until([&] { return begun == 2; });
    rest(50ms);
    Pair young;
    EXPECT(::send(young.ends[1], "not yours", 9, 0) == 9);
    EXPECT(::close(number) == 0);
    EXPECT(::fcntl(young.ends[0], F_DUPFD, number) == number);
    rest(50ms);
    std::array<char, 10> buffer{};
    EXPECT(::recv(number, buffer.data(), buffer.size(), MSG_DONTWAIT) == 9);
    over = true;
    EXPECT(::send(young.ends[1], "x", 1, 0) == 1);  // poll() looks at the number once more
    ::shutdown(old.ends[1], SHUT_RDWR);
    reader.join();
    looking.join();
}

void a_full_backlog()
{
    const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "green %d", ::getpid());
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    EXPECT(::bind(listener, generic, sizeof address) == 0);
    EXPECT(::listen(listener, 0) == 0);
    std::vector<std::thread> clients;
    std::atomic<int> connected{0};
    for (int i = 0; i < 4; ++i) {
        clients.emplace_back([&] {
            const int client = ::socket(AF_UNIX, SOCK_STREAM, 0);
            EXPECT(::connect(client, generic, sizeof address) == 0);
            ++connected;
            EXPECT((::fcntl(client, F_GETFL) & O_NONBLOCK) == 0);
            EXPECT(::send(client, "x", 1, 0) == 1);
            ::close(client);
        });
    }
    rest();
    EXPECT(connected < 4);
    for (int i = 0; i < 4; ++i) {
        const int client = ::accept(listener, nullptr, nullptr);
        char byte = 0;
        EXPECT(::recv(client, &byte, 1, 0) == 1);
        ::close(client);
    }
    for (std::thread& thread : clients) {
        thread.join();
    }
    // With a limit it ends, because the connection is not accepted.
    const int first = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const int second = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const timeval limit{0, 20'000};
    EXPECT(::setsockopt(second, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
    EXPECT(::connect(first, generic, sizeof address) == 0);
    EXPECT(::connect(second, generic, sizeof address) == -1 && errno == EAGAIN);
    ::close(first);
    ::close(second);
    ::close(listener);
}

void files_that_are_sent()
{
    std::FILE* const file = std::tmpfile();
    constexpr std::size_t size = 4'000'000;
    const std::string contents(size, 'x');
    EXPECT(std::fwrite(contents.data(), 1, size, file) == size);
    EXPECT(std::fflush(file) == 0);
    Pair pair;
    std::thread sender([&] {
        off_t offset = 100;
        EXPECT(::sendfile(pair.ends[0], ::fileno(file), &offset, size) ==
               static_cast<ssize_t>(size - 100));
        EXPECT(offset == static_cast<off_t>(size));
        EXPECT(::lseek(::fileno(file), 0, SEEK_SET) == 0);
        EXPECT(::sendfile(pair.ends[0], ::fileno(file), nullptr, 100) == 100);
        EXPECT(::lseek(::fileno(file), 0, SEEK_CUR) == 100);
        EXPECT(::sendfile(pair.ends[0], -1, nullptr, 100) == -1 && errno == EBADF);
        ::shutdown(pair.ends[0], SHUT_WR);
    });
    std::size_t received = 0;
    std::array<char, 65536> buffer{};
    while (const ssize_t got = ::recv(pair.ends[1], buffer.data(), buffer.size(), 0)) {
        EXPECT(got > 0);
        received += static_cast<std::size_t>(got);
    }
    EXPECT(received == size);
    sender.join();
    std::fclose(file);
}

// ---- Signals ------------------------------------------------------------------------------------

std::atomic<int> handled{0};
sem_t from_handler;

void install(
    int flags, void (*handler)(int) = [](int) { ++handled; })
{
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    struct sigaction old = {};
    EXPECT(::sigaction(SIGUSR1, &action, nullptr) == 0);
    EXPECT(::sigaction(SIGUSR1, nullptr, &old) == 0);
    EXPECT(old.sa_handler == handler);
    EXPECT((old.sa_flags & SA_SIGINFO) == 0);
}

void interrupted()
{
    Pair pair;
    char byte = 0;
    install(0);
    std::atomic<int> signals{1};
    std::thread sender([&] {
        for (int sent = 0; sent < 5; ++sent) {
            while (signals <= sent) {
                rest(1ms);
            }
            // On a busy machine a wait may begin only after its signal. Then the next one ends it.
            do {
                rest(30ms);
                ::kill(::getpid(), SIGUSR1);
            } while (sent < 4 && signals == sent + 1);
        }
    });
    EXPECT(::recv(pair.ends[0], &byte, 1, 0) == -1 && errno == EINTR);
    ++signals;
    EXPECT(::poll(nullptr, 0, 10'000) == -1 && errno == EINTR);
    ++signals;
    const timespec time{10, 0};
    timespec left{};
    EXPECT(::nanosleep(&time, &left) == -1 && errno == EINTR);
    EXPECT(left.tv_sec >= 5 && left.tv_sec < 10);
    sem_t semaphore;
    ::sem_init(&semaphore, 0, 0);
    ++signals;
    EXPECT(::sem_wait(&semaphore) == -1 && errno == EINTR);
    EXPECT(handled >= 4);

    // With SA_RESTART the wait goes on.
    install(SA_RESTART);
    const int before = handled;
    std::thread writer([&, before] {
        while (handled == before) {
            rest(1ms);
        }
        rest();
        EXPECT(::write(pair.ends[1], "x", 1) == 1);
    });
    ++signals;
    EXPECT(::recv(pair.ends[0], &byte, 1, 0) == 1);
    writer.join();
    sender.join();
}

void interrupted_by_name()
{
    install(0);
    Pair pair;
    std::thread waiting([&] {
        char byte = 0;
        EXPECT(::recv(pair.ends[0], &byte, 1, 0) == -1 && errno == EINTR);
    });
    rest(30ms);
    EXPECT(::pthread_kill(waiting.native_handle(), SIGUSR1) == 0);
    waiting.join();
    EXPECT(handled == 1);
}

void posted_by_a_handler()
{
    ::sem_init(&from_handler, 0, 0);
    install(SA_RESTART, [](int) { ::sem_post(&from_handler); });
    std::thread waiting([] { EXPECT(::sem_wait(&from_handler) == 0); });
    std::thread sending([] {
        rest();
        ::kill(::getpid(), SIGUSR1);
    });
    waiting.join();
    sending.join();
}

// A signal that comes when everything has been checked and no thread waits yet: green_test makes it
// come then. It ends the wait that is about to begin.
void interrupted_at_the_last_moment()
{
    install(0);
    Pair pair;
    std::thread other([&] {
        char byte = 0;
        EXPECT(::recv(pair.ends[0], &byte, 1, 0) == 1);
    });
    char byte = 0;
    EXPECT(::recv(pair.ends[1], &byte, 1, 0) == -1 && errno == EINTR);
    EXPECT(::send(pair.ends[1], "x", 1, 0) == 1);
    other.join();
}

sigset_t only(int number)
{
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, number);
    return set;
}

bool blocks(int number)
{
    sigset_t mask;
    EXPECT(::pthread_sigmask(SIG_SETMASK, nullptr, &mask) == 0);
    return ::sigismember(&mask, number) == 1;
}

// What a thread blocks, it blocks for itself, and for threads that it starts.
void masks()
{
    install(0);
    const sigset_t user = only(SIGUSR1);
    Pair pair;
    std::atomic<int> step{0};
    std::thread blocking([&] {
        EXPECT(!blocks(SIGUSR1));
        EXPECT(::pthread_sigmask(SIG_BLOCK, &user, nullptr) == 0);
        EXPECT(blocks(SIGUSR1));
        std::thread([] { EXPECT(blocks(SIGUSR1)); }).join();
        step = 1;
        char byte = 0;
        EXPECT(::recv(pair.ends[0], &byte, 1, 0) == 1);
        // A signal that was sent to this thread alone has waited for it.
        EXPECT(handled == 1);
        sigset_t pending;
        EXPECT(::sigpending(&pending) == 0);
        EXPECT(::sigismember(&pending, SIGUSR1) == 1);
        EXPECT(::pthread_sigmask(SIG_UNBLOCK, &user, nullptr) == 0);
        EXPECT(handled == 2);
        EXPECT(::pthread_sigmask(SIG_BLOCK, &user, nullptr) == 0);
        EXPECT(::raise(SIGUSR1) == 0);
        EXPECT(handled == 2);
        int number = 0;
        EXPECT(::sigwait(&user, &number) == 0 && number == SIGUSR1);
        EXPECT(::pthread_sigmask(SIG_UNBLOCK, &user, nullptr) == 0);
        EXPECT(handled == 2);
        EXPECT(::raise(SIGUSR1) == 0);
        EXPECT(handled == 3);
    });
    yield_until([&] { return step == 1; });
    EXPECT(!blocks(SIGUSR1));
    EXPECT(::kill(::getpid(), SIGUSR1) == 0);
    within_reason([] { return handled == 1; });
    EXPECT(::pthread_kill(blocking.native_handle(), SIGUSR1) == 0);
    EXPECT(::send(pair.ends[1], "x", 1, 0) == 1);
    blocking.join();

    // The first thread blocks it, so it ends the wait of another one.
    handled = 0;
    step = 0;
    std::thread open([&] {
        char byte = 0;
        step = 1;
        EXPECT(::recv(pair.ends[0], &byte, 1, 0) == -1 && errno == EINTR);
    });
    yield_until([&] { return step == 1; });
    EXPECT(::pthread_sigmask(SIG_BLOCK, &user, nullptr) == 0);
    rest(30ms);
    EXPECT(::kill(::getpid(), SIGUSR1) == 0);
    open.join();
    EXPECT(handled == 1);

    // All of them block it, so the one that waits for it takes it.
    std::thread taking([&] {
        int number = 0;
        EXPECT(::sigwait(&user, &number) == 0);
        EXPECT(number == SIGUSR1);
        const timespec soon{0, 10'000'000};
        EXPECT(::sigtimedwait(&user, nullptr, &soon) == -1 && errno == EAGAIN);
    });
    rest(10ms);
    EXPECT(::kill(::getpid(), SIGUSR1) == 0);
    taking.join();
    EXPECT(handled == 1);
}

// These have a mask of their own, for as long as they wait.
void masks_while_waiting()
{
    install(SA_RESTART);
    const sigset_t user = only(SIGUSR1);
    sigset_t none;
    ::sigemptyset(&none);
    EXPECT(::pthread_sigmask(SIG_BLOCK, &user, nullptr) == 0);
    std::thread other([] { rest(); });  // inherits the mask, as all do
    Pair pair;
    pollfd entry{pair.ends[0], POLLIN, 0};
    fd_set set;
    const int epoll = ::epoll_create1(0);
    epoll_event wanted{};
    const std::array<std::function<int()>, 4> waits{
        [&] { return ::ppoll(&entry, 1, nullptr, &none); },
        [&] {
            FD_ZERO(&set);
            FD_SET(pair.ends[0], &set);
            return ::pselect(pair.ends[0] + 1, &set, nullptr, nullptr, nullptr, &none);
        },
        [&] { return ::epoll_pwait(epoll, &wanted, 1, -1, &none); },
        [&] { return ::sigsuspend(&none); },
    };
    for (const auto& wait : waits) {
        const int before = handled;
        EXPECT(blocks(SIGUSR1));
        EXPECT(::kill(::getpid(), SIGUSR1) == 0);
        rest(5ms);
        EXPECT(handled == before);
        EXPECT(wait() == -1 && errno == EINTR);
        EXPECT(handled == before + 1);
        EXPECT(blocks(SIGUSR1));
        // Also if it comes while the thread already waits.
        std::thread sending([] {
            rest(30ms);
            EXPECT(::kill(::getpid(), SIGUSR1) == 0);
        });
        EXPECT(wait() == -1 && errno == EINTR);
        EXPECT(handled == before + 2);
        EXPECT(blocks(SIGUSR1));
        sending.join();
    }
    ::close(epoll);
    other.join();
}

// ---- Cancellation -------------------------------------------------------------------------------

std::atomic<int> cleaned{0};

// Waits in it for ever, unless it is cancelled. It is a C thread, so its unwinding passes through
// C++ as well.
void check_cancelled(void (*wait)())
{
    cleaned = 0;
    static std::atomic<bool> begun;
    begun = false;
    pthread_t thread{};
    EXPECT(::pthread_create(
               &thread, nullptr,
               [](void* argument) -> void* {
                   pthread_cleanup_push([](void*) { ++cleaned; }, nullptr);
                   const Unwound unwinds;
                   begun = true;
                   reinterpret_cast<void (*)()>(argument)();
                   EXPECT(false);
                   pthread_cleanup_pop(0);
                   return nullptr;
               },
               reinterpret_cast<void*>(wait)) == 0);
    yield_until([] { return begun.load(); });
    rest();
    EXPECT(::pthread_cancel(thread) == 0);
    void* result = nullptr;
    EXPECT(::pthread_join(thread, &result) == 0);
    EXPECT(result == PTHREAD_CANCELED);
    EXPECT(cleaned == 1);
}

pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t never_signalled = PTHREAD_COND_INITIALIZER;
sem_t never_posted;
std::array<int, 2> never_written;
pthread_t never_ending;

void cancelled()
{
    EXPECT(::pipe(never_written.data()) == 0);
    EXPECT(::sem_init(&never_posted, 0, 0) == 0);
    EXPECT(::pthread_create(
               &never_ending, nullptr,
               [](void*) -> void* {
                   ::pause();
                   return nullptr;
               },
               nullptr) == 0);
    unwound = 0;
    static Pair pair;
    check_cancelled([] {
        char byte = 0;
        ::recv(pair.ends[0], &byte, 1, 0);
    });
    check_cancelled([] {
        char byte = 0;
        while (::read(never_written[0], &byte, 1) == -1) {
        }
    });
    check_cancelled([] { ::accept(never_written[0], nullptr, nullptr), ::pause(); });
    check_cancelled([] { ::poll(nullptr, 0, -1); });
    check_cancelled([] { ::sleep(1000); });
    check_cancelled([] { ::sem_wait(&never_posted); });
    check_cancelled([] { ::pthread_join(never_ending, nullptr); });
    check_cancelled([] {
        for (;;) {
            ::pthread_testcancel();
            std::this_thread::yield();
        }
    });
    // It holds the mutex again when its cleanup handler is called.
    check_cancelled([] {
        ::pthread_mutex_lock(&held);
        pthread_cleanup_push([](void*) { EXPECT(::pthread_mutex_unlock(&held) == 0); }, nullptr);
        for (;;) {
            ::pthread_cond_wait(&never_signalled, &held);
        }
        pthread_cleanup_pop(0);
    });
    EXPECT(::pthread_mutex_trylock(&held) == 0);
    // Not while it has disabled cancellation. Then at the next cancellation point.
    check_cancelled([] {
        int before = 0;
        EXPECT(::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
        EXPECT(before == PTHREAD_CANCEL_ENABLE);
        rest(60ms);
        ::pthread_testcancel();
        EXPECT(::pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr) == 0);
        char byte = 0;
        EXPECT(::write(pair.ends[1], "x", 1) == 1);
        ::recv(pair.ends[0], &byte, 1, 0);
    });
    EXPECT(::pthread_cancel(never_ending) == 0);
    EXPECT(::pthread_join(never_ending, nullptr) == 0);
}

// ---- Processes ----------------------------------------------------------------------------------

void forked()
{
    std::thread other([] { rest(200ms); });
    std::thread([] {
        Pair pair;
        char byte = 0;
        std::thread reader([&] { EXPECT(::read(pair.ends[0], &byte, 1) == 1); });
        rest(5ms);
        const pid_t child = ::fork();
        EXPECT(child != -1);
        if (child == 0) {
            // Threads, sleeping and sockets work here as well.
            Pair own;
            std::thread writer([&] {
                rest();
                EXPECT(::write(own.ends[1], "y", 1) == 1);
            });
            char got = 0;
            EXPECT(::read(own.ends[0], &got, 1) == 1 && got == 'y');
            writer.join();
            ::_exit(42);
        }
        EXPECT(status_of(child) == 42);
        EXPECT(::write(pair.ends[1], "x", 1) == 1);
        reader.join();
    }).join();
    other.join();
}

pthread_mutex_t kept_by_the_parent = PTHREAD_MUTEX_INITIALIZER;

// Threads that wait while another one forks do so in the parent only.
void forked_while_others_wait()
{
    const pid_t parent = ::getpid();
    sem_t semaphore;
    EXPECT(::sem_init(&semaphore, 0, 0) == 0);
    std::mutex mutex;
    std::condition_variable changed;
    bool go = false;
    std::atomic<int> woken{0};
    EXPECT(::pthread_mutex_lock(&kept_by_the_parent) == 0);
    std::vector<std::thread> threads;
    threads.emplace_back([&] {
        EXPECT(::pthread_mutex_lock(&kept_by_the_parent) == 0);
        EXPECT(::getpid() == parent);
        EXPECT(::pthread_mutex_unlock(&kept_by_the_parent) == 0);
        ++woken;
    });
    threads.emplace_back([&] {
        EXPECT(::sem_wait(&semaphore) == 0);
        EXPECT(::getpid() == parent);
        ++woken;
    });
    threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return go; });
        EXPECT(::getpid() == parent);
        ++woken;
    });
    rest();
    const pid_t child = ::fork();
    EXPECT(child != -1);
    if (child == 0) {
        ::alarm(20);
        EXPECT(::pthread_mutex_unlock(&kept_by_the_parent) == 0);
        EXPECT(::pthread_mutex_lock(&kept_by_the_parent) == 0);
        EXPECT(::pthread_mutex_unlock(&kept_by_the_parent) == 0);
        EXPECT(::sem_post(&semaphore) == 0);
        EXPECT(::sem_trywait(&semaphore) == 0);
        go = true;
        changed.notify_all();
        rest(5ms);
        EXPECT(woken == 0);
        ::_exit(0);
    }
    EXPECT(status_of(child) == 0);
    EXPECT(woken == 0);
    EXPECT(::pthread_mutex_unlock(&kept_by_the_parent) == 0);
    EXPECT(::sem_post(&semaphore) == 0);
    {
        const std::lock_guard lock(mutex);
        go = true;
    }
    changed.notify_all();
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// A child that ends only if another thread goes on while this one waits for it.
void children_that_are_waited_for()
{
    for (const bool by_waitid : {false, true}) {
        Pair pair;
        const pid_t child = ::fork();
        EXPECT(child != -1);
        if (child == 0) {
            ::alarm(20);
            char byte = 0;
            EXPECT(::read(pair.ends[0], &byte, 1) == 1);
            ::_exit(5);
        }
        std::thread other([&] {
            rest();
            EXPECT(::write(pair.ends[1], "x", 1) == 1);
        });
        if (by_waitid) {
            siginfo_t info{};
            EXPECT(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED) == 0);
            EXPECT(info.si_pid == child && info.si_status == 5);
        } else {
            EXPECT(status_of(child) == 5);
        }
        other.join();
    }
    EXPECT(::wait(nullptr) == -1 && errno == ECHILD);
}

void children()
{
    EXPECT(std::getenv("LD_PRELOAD") == nullptr);
    EXPECT(std::system("test -z \"$LD_PRELOAD\"") == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::execl("/bin/sh", "sh", "-c", "test -z \"$LD_PRELOAD\" && exit 7", nullptr);
        ::_exit(1);
    }
    EXPECT(status_of(child) == 7);
}

int grow(int depth)  // NOLINT(misc-no-recursion)
{
    std::array<volatile char, 1000> bytes{};
    bytes[static_cast<std::size_t>(depth) % bytes.size()] = 1;
    return depth == 0 ? 0 : grow(depth - 1) + bytes[0];
}

void stack_overflow()
{
    std::thread([] { std::printf("%d\n", grow(1 << 20)); }).join();
}

// A thread without a stack size of its own has as much as pthread_attr_init() says, and knows where
// its stack is.
void stack_of_the_usual_size()
{
    pthread_attr_t usual;
    std::size_t size = 0;
    ::pthread_attr_init(&usual);
    ::pthread_attr_getstacksize(&usual, &size);
    std::thread([size] {
        pthread_attr_t mine;
        void* lowest = nullptr;
        std::size_t own = 0;
        EXPECT(::pthread_getattr_np(::pthread_self(), &mine) == 0);
        EXPECT(::pthread_attr_getstack(&mine, &lowest, &own) == 0);
        const char here = 0;
        EXPECT(&here >= static_cast<char*>(lowest) && &here < static_cast<char*>(lowest) + own);
        EXPECT(own >= size / 2);
        ::pthread_attr_destroy(&mine);
        EXPECT(grow(static_cast<int>(size / 2 / 1200)) >= 0);
    }).join();
    pthread_attr_t first;
    void* lowest = nullptr;
    const char here = 0;
    EXPECT(::pthread_getattr_np(::pthread_self(), &first) == 0);
    EXPECT(::pthread_attr_getstack(&first, &lowest, &size) == 0);
    EXPECT(&here >= static_cast<char*>(lowest) && &here < static_cast<char*>(lowest) + size);
    ::pthread_attr_destroy(&first);
}

void stack_of_a_given_size()
{
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, 64 << 20);
    pthread_t thread{};
    EXPECT(::pthread_create(
               &thread, &attributes,
               [](void*) -> void* {
                   EXPECT(grow(40'000) >= 0);
                   return nullptr;
               },
               nullptr) == 0);
    EXPECT(::pthread_join(thread, nullptr) == 0);
}

void standard_streams()
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 10; ++i) {
        threads.emplace_back([] {
            ::flockfile(stdout);
            std::fputs("a line", stdout);
            std::this_thread::yield();
            std::fputs(" in one piece\n", stdout);
            ::funlockfile(stdout);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// C threads, also in C code.
mtx_t c_mutex;
cnd_t c_condition;
int c_turns = 0;

void threads_of_c()
{
    EXPECT(::mtx_init(&c_mutex, mtx_timed) == thrd_success);
    EXPECT(::cnd_init(&c_condition) == thrd_success);
    thrd_t thread{};
    EXPECT(::thrd_create(
               &thread,
               [](void*) {
                   EXPECT(::mtx_lock(&c_mutex) == thrd_success);
                   while (c_turns == 0) {
                       EXPECT(::cnd_wait(&c_condition, &c_mutex) == thrd_success);
                   }
                   EXPECT(::mtx_unlock(&c_mutex) == thrd_success);
                   return -7;
               },
               nullptr) == thrd_success);
    const timespec time{0, 5'000'000};
    EXPECT(::thrd_sleep(&time, nullptr) == 0);
    EXPECT(::mtx_lock(&c_mutex) == thrd_success);
    const timespec soon = from_now(CLOCK_REALTIME, 10ms);
    EXPECT(::cnd_timedwait(&c_condition, &c_mutex, &soon) == thrd_timedout);
    c_turns = 1;
    EXPECT(::cnd_signal(&c_condition) == thrd_success);
    EXPECT(::mtx_unlock(&c_mutex) == thrd_success);
    int result = 0;
    EXPECT(::thrd_join(thread, &result) == thrd_success);
    EXPECT(result == -7);
}

void names_of_hosts()
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([] {
            addrinfo* found = nullptr;
            EXPECT(::getaddrinfo("localhost", "80", nullptr, &found) == 0);
            ::freeaddrinfo(found);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
}

// How many kernel threads there are while ten threads wait.
void threads()
{
    Pair pair;
    std::vector<std::thread> waiting;
    std::atomic<int> here{0};
    for (int i = 0; i < 10; ++i) {
        waiting.emplace_back([&] {
            ++here;
            char byte = 0;
            EXPECT(::read(pair.ends[0], &byte, 1) == 1);
        });
    }
    while (here < 10) {
        rest(1ms);
    }
    char line[100];
    std::FILE* const status = std::fopen("/proc/self/status", "r");
    while (std::fgets(line, sizeof line, status) != nullptr) {
        if (std::strncmp(line, "Threads:", 8) == 0) {
            std::printf("%d kernel threads\n", std::atoi(line + 8));
        }
    }
    std::fclose(status);
    EXPECT(::write(pair.ends[1], "0123456789", 10) == 10);
    for (std::thread& thread : waiting) {
        thread.join();
    }
}

struct Case {
    const char* name;
    void (*run)();
};

constexpr Case cases[] = {
    {"results", results},
    {"exit_from_a_thread", exit_from_a_thread},
    {"exit_of_the_first_thread", exit_of_the_first_thread},
    {"many", many},
    {"thread_locals", thread_locals},
    {"error_numbers", error_numbers},
    {"exceptions_in_flight", exceptions_in_flight},
    {"uncaught_exception", uncaught_exception},
    {"rounding", rounding},
    {"keys", keys},
    {"once", once},
    {"once_that_throws", once_that_throws},
    {"static_variables", static_variables},
    {"mutexes", mutexes},
    {"conditions", conditions},
    {"semaphores", semaphores},
    {"other_locks", other_locks},
    {"writer_that_gives_up", writer_that_gives_up},
    {"shared_with_a_child", shared_with_a_child},
    {"atomics", atomics},
    {"sleep_order", sleep_order},
    {"limits_of_many", limits_of_many},
    {"pipes", pipes},
    {"sockets", sockets},
    {"sockets_that_do_not_wait", sockets_that_do_not_wait},
    {"connections", connections},
    {"several", several},
    {"closed_and_used_again", closed_and_used_again},
    {"closed_while_others_wait", closed_while_others_wait},
    {"a_full_backlog", a_full_backlog},
    {"files_that_are_sent", files_that_are_sent},
    {"interrupted", interrupted},
    {"interrupted_by_name", interrupted_by_name},
    {"posted_by_a_handler", posted_by_a_handler},
    {"masks", masks},
    {"masks_while_waiting", masks_while_waiting},
    {"cancelled", cancelled},
    {"forked", forked},
    {"forked_while_others_wait", forked_while_others_wait},
    {"children_that_are_waited_for", children_that_are_waited_for},
    {"children", children},
    {"stack_overflow", stack_overflow},
    {"stack_of_the_usual_size", stack_of_the_usual_size},
    {"stack_of_a_given_size", stack_of_a_given_size},
    {"standard_streams", standard_streams},
    {"threads_of_c", threads_of_c},
    {"names_of_hosts", names_of_hosts},
    {"threads", threads},
};

}  // namespace

int main(int argc, char** argv)
{
    ::alarm(20);  // a case that hangs ends
    if (argc > 1 && std::string_view(argv[1]) == "interrupted_at_the_last_moment") {
        interrupted_at_the_last_moment();  // not by itself: see green_test.cpp
        return 0;
    }
    for (const Case& one : cases) {
        if (argc == 1) {
            std::puts(one.name);
        } else if (std::string_view(argv[1]) == one.name) {
            one.run();
            return 0;
        }
    }
    return argc == 1 ? 0 : 2;
}
