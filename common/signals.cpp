#include "common/signals.hpp"

#include "common/descriptor.hpp"
#include "common/process_pool.hpp"

#include <asio/post.hpp>

#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
#define GROUND_LEAK_CHECK
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GROUND_LEAK_CHECK
#endif
#endif
#ifdef GROUND_LEAK_CHECK
#include <sanitizer/lsan_interface.h>
#endif

namespace ground {

namespace {

// Counts signals. A handler may do next to nothing, but it may post a semaphore.
sem_t signals;

void handle_signals(void (*handler)(int))
{
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    check(::sigaction(SIGINT, &action, nullptr), "sigaction");
    check(::sigaction(SIGTERM, &action, nullptr), "sigaction");
    action.sa_handler = SIG_IGN;
    check(::sigaction(SIGPIPE, &action, nullptr), "sigaction");
}

// Starts a thread that calls react() after the first signal. The thread is never joined: it ends
// with the process.
void react_on_a_thread(std::function<void()> react)
{
    check(::sem_init(&signals, 0, 0), "sem_init");
    std::thread([react = std::move(react)] {
        while (::sem_wait(&signals) == -1) {
        }
        react();
    }).detach();
    handle_signals([](int) { ::sem_post(&signals); });
}

[[noreturn]] void leave()
{
    ProcessPool::end_workers();
#ifdef GROUND_LEAK_CHECK
    __lsan_do_leak_check();  // _exit() would skip it
#endif
    ::_exit(EXIT_SUCCESS);
}

}  // namespace

void exit_on_signals()
{
#ifdef GROUND_LEAK_CHECK
    react_on_a_thread(leave);  // a leak check is too much for a signal handler
#else
    handle_signals([](int) { leave(); });
#endif
}

void stop_on_signals(asio::io_context& context, std::function<void()> stop)
{
    react_on_a_thread([&context, stop = std::move(stop)] {
        asio::post(context, stop);
        timespec deadline{};
        ::clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 1;
        deadline.tv_nsec += 500'000'000;
        if (deadline.tv_nsec >= 1'000'000'000) {
            deadline.tv_nsec -= 1'000'000'000;
            ++deadline.tv_sec;
        }
        while (::sem_timedwait(&signals, &deadline) == -1 && errno == EINTR) {
        }
        leave();
    });
}

}  // namespace ground
