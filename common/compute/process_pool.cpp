#include "common/compute/process_pool.hpp"

#include "common/base/pipe.hpp"
#include "common/compute/shared_queue.hpp"
#include "common/server/log.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <new>
#include <string_view>
#include <utility>

namespace ground {

namespace {

// What end_workers() needs, where a signal handler can read it.
std::atomic<int> current_shutdown_pipe{-1};
std::atomic<pid_t> current_forker{-1};
pid_t server = -1;                 // the process that owns the pool; its workers read it
std::atomic<bool> exiting{false};  // set by end_workers(): no worker is replaced from now on

// Closes all descriptors from 3 on, except these two.
void close_all_but(int one, int other) noexcept
{
    unsigned first = 3;
    for (const int fd : {std::min(one, other), std::max(one, other)}) {
        const auto keep = static_cast<unsigned>(fd);
        if (first < keep) {
            ::close_range(first, keep - 1, 0);
        }
        first = keep + 1;
    }
    ::close_range(first, ~0U, 0);
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// The processes. Between fork() and the end of a child there is no allocation and no lock, because
// a forker that is started anew has a parent with threads.

namespace {

void ring(int bell) noexcept
{
    // The pipe does not block. If it is full, the collector will wake up anyway.
    [[maybe_unused]] const ssize_t size = ::write(bell, "", 1);
}

[[noreturn]] void run_worker(SharedQueue& shared, unsigned worker, FibFunction fib,
                             int bell) noexcept
{
    observe::becomes_worker(server);
    for (;;) {
        const auto request = shared.take(worker);
        if (!request) {
            const observe::Seam seam(observe::idles, observe::whoever_runs, {});
            shared.wait_for_work();
            continue;
        }
        shared.wake_next_worker();
        const observe::WorksFor working(request->whose);
        const Number result = request->wanted ? fib(request->n) : 0;
        shared.complete(request->slot, worker, result, [bell] { ring(bell); });
    }
}

// Returns the worker's pid, or -1 if no process can be started now.
pid_t fork_worker(SharedQueue& shared, unsigned worker, FibFunction fib, int bell) noexcept
{
    const pid_t forker = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != forker) {
            ::_exit(EXIT_FAILURE);  // the forker ended before prctl() could take effect
        }
        ::signal(SIGTERM, SIG_DFL);  // so that kill(1) shows how a worker is replaced
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        char name[16];
        std::snprintf(name, sizeof name, "worker %u", worker);
        ::prctl(PR_SET_NAME, name);
        // A worker that wakes up must not preempt the thread that woke it, because that thread may
        // have more to do. If the user has chosen another policy for the server, its workers
        // keep that one: beside a server with SCHED_IDLE, a worker with SCHED_BATCH would take the
        // CPU from the server.
        if (::sched_getscheduler(0) == SCHED_OTHER) {
            const sched_param no_priority{};
            ::sched_setscheduler(0, SCHED_BATCH, &no_priority);
        }
        close_all_but(bell, bell);
        run_worker(shared, worker, fib, bell);
    }
    return pid;
}

// Keeps `count` workers running until the server closes its end of `shutdown_pipe` or is gone.
[[noreturn]] void run_forker(SharedQueue& shared, unsigned count, FibFunction fib,
                             int shutdown_pipe, int bell) noexcept
{
    // If the server is gone, `shutdown_pipe` is at its end of file. But if this process has been
    // stopped, it does not read that; SIGKILL ends it anyway. (The kernel sends this signal when
    // the *thread* that has forked us ends. That is the main thread or the collector. Both live as
    // long as the pool.)
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Ctrl-C in a terminal reaches all processes. The server decides what it means.
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    ::signal(SIGCHLD, SIG_DFL);  // the parent may ignore it, and we inherit that
    ::prctl(PR_SET_NAME, "forker");
    close_all_but(shutdown_pipe, bell);

    sigset_t child_died;
    ::sigemptyset(&child_died);
    ::sigaddset(&child_died, SIGCHLD);
    ::sigprocmask(SIG_SETMASK, &child_died, nullptr);
    const int deaths = ::signalfd(-1, &child_died, SFD_CLOEXEC | SFD_NONBLOCK);

    std::array<pid_t, ProcessPool::max_workers> workers;
    workers.fill(-1);
    std::uint64_t head_before = 0;
    bool warned = false;  // the error may come again and again, so the message is written once
    for (;;) {
        bool complete = true;
        for (unsigned i = 0; i < count; ++i) {
            if (workers[i] == -1) {
                workers[i] = fork_worker(shared, i, fib, bell);
                complete = complete && workers[i] != -1;
            }
        }

        if (!complete && !warned) {
            constexpr std::string_view line =
                "No process left for a worker: requests may have to wait (see ulimit -u)\n";
            log_detail::write_if_there_is_room(line);
            warned = true;
        }
        // If a process could not be started, try again a little later. Once a second, check whether
        // a worker takes the waiting requests. A debugger may have stopped the worker that was
        // woken, and this process, its parent, is not told.
        std::array<pollfd, 2> events{pollfd{shutdown_pipe, POLLIN, 0}, pollfd{deaths, POLLIN, 0}};
        ::poll(events.data(), events.size(), complete ? 1000 : 100);
        if (events[0].revents != 0) {
            break;
        }
        const std::uint64_t head = shared.head();
        if (head == head_before && shared.waiting() != 0) {
            shared.wake_again();
        }
        head_before = head;
        signalfd_siginfo ignored;
        while (::read(deaths, &ignored, sizeof ignored) > 0) {
        }
        while (true) {
            int status = 0;
            const pid_t pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED);
            if (pid <= 0) {
                break;
            }
            if (WIFSTOPPED(status)) {
                shared.wake_again();
            } else {
                const auto dead = std::find(workers.begin(), workers.end(), pid);
                *dead = -1;
                observe::has_died(pid);
                shared.fail_requests_of(static_cast<unsigned>(dead - workers.begin()));
            }
            ring(bell);  // the worker may have been about to ring
        }
    }

    for (const pid_t pid : workers) {
        if (pid != -1) {
            ::kill(pid, SIGKILL);
        }
    }
    while (::waitpid(-1, nullptr, 0) > 0) {
    }
    ::_exit(EXIT_SUCCESS);
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// The server's side.

namespace {

// The forker ends when it reads the end of file of its pipe. To read that it must run, but it may
// have been stopped.
void wake(pid_t forker) noexcept
{
    if (forker != -1) {
        ::kill(forker, SIGCONT);
    }
}

void wait_for_end(pid_t forker) noexcept
{
    while (forker != -1 && ::waitpid(forker, nullptr, 0) == -1 && errno == EINTR) {
    }
}

}  // namespace

void ProcessPool::Unmap::operator()(SharedQueue* shared) const noexcept
{
    ::munmap(shared, sizeof(SharedQueue));
}

ProcessPool::ProcessPool(unsigned workers, FibFunction fib)
    : workers_(std::clamp(workers, 1U, max_workers)), fib_(fib), requests_(SharedQueue::slot_count)
{
    void* const memory = ::mmap(nullptr, sizeof(SharedQueue), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
    shared_.reset(new (memory) SharedQueue{});
    for (std::uint32_t slot = SharedQueue::slot_count; slot > 0; --slot) {
        free_slots_.push_back(slot - 1);
    }
    start_forker();
    collector_ = std::thread([this] { collect_until_the_end(); });
}

ProcessPool::~ProcessPool()
{
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
        current_forker = -1;
        if (current_shutdown_pipe.exchange(-1) == -1) {
            (void)shutdown_pipe_.release();  // end_workers() closes it
        }
        shutdown_pipe_.reset();
        wake(forker_);
    }
    collector_.join();
    wait_for_end(forker_);

    // `lock` is destroyed before these two, so their promises break without the lock. A broken
    // promise calls callbacks, which may cancel other requests: the pool still exists then.
    std::vector<std::optional<Request>> under_way;
    std::map<std::uint64_t, Request> waiting;
    const std::lock_guard lock(mutex_);
    under_way.swap(requests_);
    waiting.swap(waiting_);
}

void ProcessPool::end_workers() noexcept
{
    exiting = true;
    const int shutdown_pipe = current_shutdown_pipe.exchange(-1);
    const pid_t forker = current_forker.exchange(-1);
    if (shutdown_pipe != -1) {
        ::close(shutdown_pipe);
        wake(forker);
        wait_for_end(forker);
    }
}

void ProcessPool::start_forker()
{
    Pipe shutdown_pipe;
    Pipe bell;
    check(::fcntl(bell.write_end.get(), F_SETFL, O_NONBLOCK), "fcntl");
    server = ::getpid();
    forker_ = check(::fork(), "fork");
    if (forker_ == 0) {
        run_forker(*shared_, workers_, fib_, shutdown_pipe.read_end.get(), bell.write_end.get());
    }
    shutdown_pipe_ = std::move(shutdown_pipe.write_end);
    bell_ = std::move(bell.read_end);
    current_forker = forker_;
    current_shutdown_pipe = shutdown_pipe_.get();
}

Future<Number> ProcessPool::begin(unsigned n, Here here)
{
    observe::submits(n, here);
    const std::uint64_t id = next_id_++;
    Promise<Number> promise([this, id] { return take_back(id); });
    Future<Number> future = promise.future();
    {
        const std::lock_guard lock(mutex_);
        if (free_slots_.empty()) {
            waiting_.emplace(id, Request{id, n, observe::whose(), std::move(promise)});
            return future;
        }
        enqueue({id, n, observe::whose(), std::move(promise)});
    }
    shared_->wake_worker();
    return future;
}

// Needs the mutex and a free slot. Wake a worker afterwards.
void ProcessPool::enqueue(Request request)
{
    const std::uint32_t index = free_slots_.back();
    free_slots_.pop_back();
    shared_->put(index, request.n, request.whose);
    requests_[index] = std::move(request);
}

// Called by Future::cancel().
std::optional<Promise<Number>> ProcessPool::take_back(std::uint64_t id)
{
    const std::lock_guard lock(mutex_);
    if (auto request = waiting_.extract(id)) {
        return std::move(request.mapped().promise);
    }
    const auto found = std::find_if(requests_.begin(), requests_.end(), [id](const auto& request) {
        return request && request->id == id;
    });
    if (found == requests_.end() ||
        !shared_->cancel(static_cast<std::uint32_t>(found - requests_.begin()))) {
        return std::nullopt;
    }
    ++cancelled_;
    Promise<Number> promise = std::move((*found)->promise);
    found->reset();
    return promise;
}

std::size_t ProcessPool::waiting() const
{
    const std::lock_guard lock(mutex_);
    const std::size_t queued = shared_->waiting();
    // A worker may have taken a cancelled request that the collector has not seen yet.
    return queued - std::min<std::size_t>(queued, cancelled_) + waiting_.size();
}

// The collector's thread.
void ProcessPool::collect_until_the_end()
{
    for (;;) {
        collect_finished();
        const auto nap = shared_->fall_asleep();
        if (!nap) {
            continue;
        }
        std::array<char, 64> rings;
        const ssize_t size = ::read(bell_.get(), rings.data(), rings.size());
        shared_->wake_up(*nap);
        if (size == 0 && !start_again()) {
            return;
        }
    }
}

void ProcessPool::collect_finished()
{
    struct Finished {
        Promise<Number> promise;
        std::optional<Number> result;
    };
    std::vector<Finished> done;
    bool enqueued = false;
    {
        const std::lock_guard lock(mutex_);
        shared_->collect([&](std::uint32_t slot, std::optional<Number> result) {
            if (requests_[slot]) {
                done.push_back({std::move(requests_[slot]->promise), result});
                requests_[slot].reset();
            } else {
                --cancelled_;
            }
            free_slots_.push_back(slot);
        });
        for (; !waiting_.empty() && !free_slots_.empty(); enqueued = true) {
            enqueue(std::move(waiting_.extract(waiting_.begin()).mapped()));
        }
    }
    if (enqueued) {
        shared_->wake_worker();
    }
    for (Finished& finished : done) {
        if (finished.result) {
            finished.promise.set_result(*finished.result);
        } else {
            finished.promise.set_exception(std::make_exception_ptr(WorkerDied()));
        }
    }
}

// Called by the collector at an end of file of the bell: then all processes of the pool are gone.
// Returns false if the pool ends. Requests that come meanwhile wait; submit() does not.
bool ProcessPool::start_again()
{
    while (exiting) {
        ::pause();  // until the process is gone
    }
    {
        const std::lock_guard lock(mutex_);
        if (ending_) {
            return false;
        }
        current_shutdown_pipe = -1;
        current_forker = -1;
        wait_for_end(std::exchange(forker_, -1));
    }
    observe::workers_have_died(server);
    for (unsigned worker = 0; worker < workers_; ++worker) {
        shared_->fail_requests_of(worker);
    }
    for (;;) {
        collect_finished();  // fails the requests that workers had taken
        {
            const std::lock_guard lock(mutex_);
            if (ending_) {
                return false;
            }
            try {
                start_forker();
                return true;
            } catch (const std::system_error&) {
                // No process or descriptor is left: try again a little later.
            }
        }
        if (!std::exchange(warned_, true)) {
            log("No process left for the pool: requests have to wait (see ulimit -u and -n)");
        }
        ::poll(nullptr, 0, 100);
    }
}

}  // namespace ground
