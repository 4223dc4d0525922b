#include "common/server/signals.hpp"

#include "common/observe/seams.hpp"
#include "common/server/children.hpp"
#include "common/server/log.hpp"

#include <asio/post.hpp>

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>

// Under a sanitizer a thread waits for signals, because ThreadSanitizer delays handlers until a
// system call returns, and a leak check is too much for a handler.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/lsan_interface.h>
#define GROUND_ADDRESS_SANITIZER
#endif
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GROUND_SANITIZER
#endif
#endif

namespace ground {

namespace {

bool parent_takes_interrupts = false;
std::atomic<CleanUp> clean_up{nullptr};

sigset_t stop_signals() noexcept
{
    sigset_t set;
    ::sigemptyset(&set);
    if (!parent_takes_interrupts) {
        ::sigaddset(&set, SIGINT);
    }
    ::sigaddset(&set, SIGTERM);
    return set;
}

// io_uring finishes its work for a process some milliseconds after the process has ended. Until
// then the listening socket would still be there, and the next server could not have its port.
void stop_listening() noexcept
{
#ifdef ASIO_HAS_IO_URING
    for (int fd = 0; fd < 256; ++fd) {  // it was opened before any client's
        int listens = 0;
        socklen_t size = sizeof listens;
        if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0) {
            ::shutdown(fd, SHUT_RDWR);
        }
    }
#endif
}

void call_clean_up() noexcept
{
    if (const CleanUp f = clean_up) {
        f();
    }
}

[[noreturn]] void leave() noexcept
{
    stop_listening();
    call_clean_up();
    end_children();
#ifdef GROUND_ADDRESS_SANITIZER
    __lsan_do_leak_check();  // _exit() would skip it
#endif
    ::_exit(EXIT_SUCCESS);
}

[[noreturn]] void out_of_memory() noexcept
{
    constexpr std::string_view line = "Out of memory: it ends here (see ulimit -v and ulimit -d)\n";
    log_detail::write_if_there_is_room(line);
    call_clean_up();
    ::_exit(EXIT_FAILURE);
}

// Starts a thread that waits for a signal and then calls react(). It is never joined: it ends with
// the process.
template <typename React>
void await_signal_on_a_thread(React react)
{
    const sigset_t set = stop_signals();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::thread([react = std::move(react), set] {
        int signal = 0;
        ::sigwait(&set, &signal);
        observe::stops();
        react(set);
    }).detach();
}

}  // namespace

void clean_up_before_exit(CleanUp f) noexcept { clean_up = f; }

void exit_on_signals()
{
    std::set_new_handler(out_of_memory);
#ifdef GROUND_SANITIZER
    await_signal_on_a_thread([](const sigset_t&) { leave(); });
#else
    struct sigaction action = {};
    action.sa_handler = [](int) { leave(); };
    action.sa_mask = stop_signals();
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
#endif
}

ParentSignals::ParentSignals() noexcept
{
    ::signal(SIGCHLD, SIG_DFL);  // our parent may ignore it, and we inherit that
    ::sigemptyset(&awaited_);
    ::sigaddset(&awaited_, SIGINT);
    ::sigaddset(&awaited_, SIGTERM);
    ::sigaddset(&awaited_, SIGCHLD);
    ::sigprocmask(SIG_BLOCK, &awaited_, &before_);
}

void ParentSignals::leave_to_parent() const noexcept
{
    parent_takes_interrupts = true;
    ::signal(SIGINT, SIG_IGN);
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

struct StopOnSignals::Stop {
    std::mutex mutex;  // held while it is called
    std::function<void()> call;
};

StopOnSignals::StopOnSignals(asio::io_context& context, std::function<void()> stop)
    : StopOnSignals([&context, stop = std::move(stop)] { asio::post(context, stop); })
{
}

StopOnSignals::StopOnSignals(std::function<void()> stop) : stop_(std::make_shared<Stop>())
{
    stop_->call = std::move(stop);
    std::set_new_handler(out_of_memory);
    await_signal_on_a_thread([stop = stop_](const sigset_t& set) {
        {
            const std::lock_guard lock(stop->mutex);
            if (stop->call) {
                stop->call();
            }
        }
        using Clock = std::chrono::steady_clock;
        const auto end = Clock::now() + std::chrono::milliseconds(1500);
        // Ctrl-Z and fg interrupt the wait. Then wait for the rest of the time.
        for (int signal = -1; signal == -1 && Clock::now() < end;) {
            const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
                std::max(end - Clock::now(), Clock::duration::zero()));
            const timespec patience{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
            signal = ::sigtimedwait(&set, nullptr, &patience);
        }
        leave();
    });
}

StopOnSignals::~StopOnSignals()
{
    const std::lock_guard lock(stop_->mutex);
    stop_->call = nullptr;
}

}  // namespace ground
