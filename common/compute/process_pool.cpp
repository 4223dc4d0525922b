#include "common/compute/process_pool.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdio>
#include <new>
#include <string_view>
#include <utility>

namespace ground {

namespace {

constexpr std::uint32_t slot_count = 1024;
constexpr std::uint32_t queue_size = 2 * slot_count;  // see take()

// What a slot is going through, and the one word that says so. A worker can be killed between any
// two instructions, so nothing may ever need two stores to be true: one compare-and-swap both takes
// a request and signs for it.
enum class Phase : std::uint64_t { idle, queued, cancelled, taken, computed, failed };

constexpr std::uint64_t word(Phase phase, std::uint64_t detail)
{
    return detail << 8U | static_cast<std::uint64_t>(phase);
}
constexpr std::uint64_t queued(std::uint64_t ticket) { return word(Phase::queued, ticket); }
constexpr std::uint64_t cancelled(std::uint64_t ticket) { return word(Phase::cancelled, ticket); }
constexpr std::uint64_t taken(unsigned worker) { return word(Phase::taken, worker); }
constexpr std::uint64_t computed(unsigned worker) { return word(Phase::computed, worker); }
constexpr std::uint64_t failed() { return word(Phase::failed, 0); }
constexpr std::uint64_t idle() { return word(Phase::idle, 0); }
constexpr Phase phase_of(std::uint64_t word) { return static_cast<Phase>(word & 0xffU); }
constexpr std::uint64_t detail_of(std::uint64_t word) { return word >> 8U; }

struct alignas(32) Slot {
    std::atomic<std::uint64_t> state{idle()};
    unsigned n = 0;
    Number result = 0;
};

// What a worker has taken. One that was cancelled goes back as it is.
struct Taken {
    Slot& slot;
    bool wanted;
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

// What end_workers() needs, where a signal handler can read it.
std::atomic<int> current_life{-1};
std::atomic<pid_t> current_forker{-1};
std::atomic<bool> leaving{false};  // set by end_workers(): nobody is to be replaced any more

struct Pipe {
    Pipe()
    {
        int ends[2];
        check(::pipe2(ends, O_CLOEXEC), "pipe2");
        read = Descriptor(ends[0]);
        write = Descriptor(ends[1]);
    }
    Descriptor read;
    Descriptor write;
};

// Closes all descriptors from 3 on, but for two.
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

// Lives in memory that the server, the forker and the workers share.
struct SharedQueue {
    sem_t calls;  // a worker sleeps here when the queue is empty; see call_a_worker()

    // The queue: tickets count the requests; the slot of ticket t stands at queue[t % queue_size].
    // Only the server writes tail and queue; whoever sees that the first request has been taken
    // moves head.
    std::atomic<std::uint64_t> head{0};
    std::atomic<std::uint64_t> tail{0};
    std::array<std::atomic<std::uint32_t>, queue_size> queue{};
    std::array<Slot, slot_count> slots{};

    // One bit for each slot that the collector should look at.
    std::array<std::atomic<std::uint64_t>, slot_count / 64> finished{};
    std::atomic<bool> collector_sleeps{false};

    [[nodiscard]] std::optional<Taken> take(unsigned worker) noexcept;
    [[nodiscard]] bool cancel(std::uint32_t slot) noexcept;
    void wait_for_a_call() noexcept;
    void call_a_worker() noexcept;
    void call_another_worker() noexcept;
    void finish(std::uint32_t slot) noexcept;
    void give_up_what_it_had(unsigned worker) noexcept;
    [[nodiscard]] bool any_finished() const noexcept;
};

// The next request, signed for by this worker, or nothing if there is none.
//
// If the taker dies before it has moved head, the next to come moves it, as in Michael and Scott's
// queue (PODC 1996). Only the first request can be in that state, so there are never more tickets
// in the queue than there are slots, and one.
std::optional<Taken> SharedQueue::take(unsigned worker) noexcept
{
    for (;;) {
        std::uint64_t ticket = head.load();
        if (ticket == tail.load()) {
            return std::nullopt;
        }
        Slot& slot = slots[queue[ticket % queue_size].load()];
        std::uint64_t state = queued(ticket);
        const bool wanted = slot.state.compare_exchange_strong(state, taken(worker));
        const bool mine = wanted || (state == cancelled(ticket) &&
                                     slot.state.compare_exchange_strong(state, taken(worker)));
        head.compare_exchange_strong(ticket, ticket + 1);
        if (mine) {
            return Taken{slot, wanted};
        }
    }
}

// By the server. True if no worker has taken the slot's request; then none will compute it. The
// slot keeps its place in the queue and is not free before a worker has come to it, so there are
// still no more tickets than slots. A worker that is idle comes at once, and if none is, nobody
// needs the slot.
bool SharedQueue::cancel(std::uint32_t slot) noexcept
{
    std::uint64_t state = slots[slot].state.load();
    return phase_of(state) == Phase::queued &&
           slots[slot].state.compare_exchange_strong(state, cancelled(detail_of(state)));
}

// By a worker that has found the queue empty. Now it has to look again.
void SharedQueue::wait_for_a_call() noexcept
{
    ::sem_wait(&calls);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

// After a request has been put into the queue. One call at a time is enough, however many requests
// there are: a worker goes on until the queue is empty, and calls another one if it is not. So a
// burst of small requests costs a system call or two. (The fences: we write the queue and read the
// semaphore, a worker does it the other way round, and one of us must see what the other did.)
//
// It takes a worker that goes on, though. One that is killed or stopped when it has been called and
// has not yet called another one keeps the call to itself: then the forker calls.
void SharedQueue::call_a_worker() noexcept
{
    std::atomic_thread_fence(std::memory_order_seq_cst);
    int called = 0;
    ::sem_getvalue(&calls, &called);
    if (called == 0) {
        ::sem_post(&calls);
    }
}

// By a worker that has taken a request, before it starts to compute.
void SharedQueue::call_another_worker() noexcept
{
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (head.load() != tail.load()) {
        call_a_worker();
    }
}

void SharedQueue::finish(std::uint32_t slot) noexcept
{
    finished[slot / 64].fetch_or(std::uint64_t{1} << slot % 64);
}

bool SharedQueue::any_finished() const noexcept
{
    return std::any_of(finished.begin(), finished.end(),
                       [](const auto& bits) { return bits.load() != 0; });
}

// What is left to do for a worker that has died and may have done any part of its work.
void SharedQueue::give_up_what_it_had(unsigned worker) noexcept
{
    for (std::uint32_t i = 0; i < slot_count; ++i) {
        std::uint64_t state = taken(worker);
        slots[i].state.compare_exchange_strong(state, failed());
        if (state == taken(worker) || state == computed(worker)) {
            finish(i);
        }
    }
    // It may have been called and not got to take a request. One call too many does no harm.
    ::sem_post(&calls);
}

namespace {

void ring(int bell) noexcept
{
    // A full pipe rings loudly enough.
    [[maybe_unused]] const ssize_t size = ::write(bell, "", 1);
}

}  // namespace

// ---------------------------------------------------------------------------------------------
// The processes. Between fork() and the end of a child there is no allocation and no lock: should
// the forker have to be started anew, its parent has threads by then.

namespace {

[[noreturn]] void run_worker(SharedQueue& shared, unsigned worker, FibFunction fib,
                             int bell) noexcept
{
    for (;;) {
        const std::optional<Taken> request = shared.take(worker);
        if (!request) {
            shared.wait_for_a_call();
            continue;
        }
        Slot& slot = request->slot;
        shared.call_another_worker();
        if (request->wanted) {
            slot.result = fib(slot.n);
        }
        slot.state.store(computed(worker));
        shared.finish(static_cast<std::uint32_t>(&slot - shared.slots.data()));
        if (shared.collector_sleeps.exchange(false)) {
            ring(bell);
        }
    }
}

// Returns the worker's pid, or -1 if there is no process to be had now.
pid_t fork_worker(SharedQueue& shared, unsigned worker, FibFunction fib, int bell) noexcept
{
    const pid_t forker = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != forker) {
            ::_exit(EXIT_FAILURE);  // it died before the line above could take effect
        }
        ::signal(SIGTERM, SIG_DFL);  // so that kill(1) shows how a worker is replaced
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        char name[16];
        std::snprintf(name, sizeof name, "worker %u", worker);
        ::prctl(PR_SET_NAME, name);
        // A worker that wakes does not push aside the thread that has woken it: it may have more.
        const sched_param no_priority{};
        ::sched_setscheduler(0, SCHED_BATCH, &no_priority);
        close_all_but(bell, bell);
        run_worker(shared, worker, fib, bell);
    }
    return pid;
}

// Keeps `count` workers running until the server closes its end of `life` or is gone.
[[noreturn]] void run_forker(SharedQueue& shared, unsigned count, FibFunction fib, int life,
                             int bell) noexcept
{
    // The end of the pipe says the same, but not to a process that is stopped. (The thread that has
    // forked us, the server's first one or the collector's, lives as long as the pool.)
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Ctrl-C in a terminal goes to all of us; it is for the server to decide what it means.
    ::signal(SIGINT, SIG_IGN);
    ::signal(SIGTERM, SIG_IGN);
    ::signal(SIGCHLD, SIG_DFL);  // who has started the server may ignore it, and that is inherited
    ::prctl(PR_SET_NAME, "forker");
    close_all_but(life, bell);

    sigset_t child_died;
    ::sigemptyset(&child_died);
    ::sigaddset(&child_died, SIGCHLD);
    ::sigprocmask(SIG_SETMASK, &child_died, nullptr);
    const int deaths = ::signalfd(-1, &child_died, SFD_CLOEXEC | SFD_NONBLOCK);

    std::array<pid_t, ProcessPool::max_workers> workers;
    workers.fill(-1);
    bool said = false;  // once in its life, for it may come to this again and again
    for (;;) {
        bool complete = true;
        for (unsigned i = 0; i < count; ++i) {
            if (workers[i] == -1) {
                workers[i] = fork_worker(shared, i, fib, bell);
                complete = complete && workers[i] != -1;
            }
        }

        if (!complete && !said) {
            constexpr std::string_view line =
                "No process to be had for a worker: requests may have to wait (see ulimit -u)\n";
            [[maybe_unused]] const ssize_t size = ::write(STDERR_FILENO, line.data(), line.size());
            said = true;
        }
        // Where no process was to be had, it asks again a little later.
        std::array<pollfd, 2> events{pollfd{life, POLLIN, 0}, pollfd{deaths, POLLIN, 0}};
        ::poll(events.data(), events.size(), complete ? -1 : 100);
        if (events[0].revents != 0) {
            break;
        }
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
                ::sem_post(&shared.calls);
            } else {
                const auto dead = std::find(workers.begin(), workers.end(), pid);
                *dead = -1;
                shared.give_up_what_it_had(static_cast<unsigned>(dead - workers.begin()));
            }
            ring(bell);  // it may have been about to
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

// The forker sees that its pipe has ended as soon as it runs; perhaps somebody has stopped it.
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
    : workers_(std::clamp(workers, 1U, max_workers)), fib_(fib), requests_(slot_count)
{
    void* const memory = ::mmap(nullptr, sizeof(SharedQueue), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
    shared_.reset(new (memory) SharedQueue{});
    check(::sem_init(&shared_->calls, 1, 0), "sem_init");
    for (std::uint32_t slot = slot_count; slot > 0; --slot) {
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
        current_life = -1;
        current_forker = -1;
        life_.reset();
        wake(forker_);
    }
    collector_.join();
    wait_for_end(forker_);

    // What is left breaks, while there is still a pool for those who want to cancel it; and outside
    // the lock, because that calls callbacks.
    std::vector<std::optional<Request>> under_way;
    std::map<std::uint64_t, Request> waiting;
    const std::lock_guard lock(mutex_);
    under_way.swap(requests_);
    waiting.swap(waiting_);
}

void ProcessPool::end_workers() noexcept
{
    leaving = true;
    const int life = current_life.exchange(-1);
    const pid_t forker = current_forker.exchange(-1);
    if (life != -1) {
        ::close(life);
        wake(forker);
        wait_for_end(forker);
    }
}

void ProcessPool::start_forker()
{
    Pipe life;
    Pipe bell;
    forker_ = check(::fork(), "fork");
    if (forker_ == 0) {
        run_forker(*shared_, workers_, fib_, life.read.get(), bell.write.get());
    }
    life_ = std::move(life.write);
    bell_ = std::move(bell.read);
    current_forker = forker_;
    current_life = life_.get();
}

Future<Number> ProcessPool::submit(unsigned n)
{
    const std::uint64_t id = next_id_++;
    Promise<Number> promise([this, id] { return take_back(id); });
    Future<Number> future = promise.future();
    {
        const std::lock_guard lock(mutex_);
        if (free_slots_.empty()) {
            waiting_.emplace(id, Request{id, n, std::move(promise)});
            return future;
        }
        enqueue({id, n, std::move(promise)});
    }
    shared_->call_a_worker();
    return future;
}

// Called with the mutex held and a slot free. Whoever calls it calls a worker afterwards.
void ProcessPool::enqueue(Request request)
{
    const std::uint32_t index = free_slots_.back();
    free_slots_.pop_back();

    const std::uint64_t ticket = shared_->tail.load(std::memory_order_relaxed);
    Slot& slot = shared_->slots[index];
    slot.n = request.n;
    slot.state.store(queued(ticket));
    shared_->queue[ticket % queue_size].store(index);
    shared_->tail.store(ticket + 1);
    requests_[index] = std::move(request);
}

// What Future::cancel() asks.
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
    const std::uint64_t queued = shared_->tail.load() - shared_->head.load();
    // A worker may have come to a cancelled one, and the collector not yet.
    return queued - std::min<std::uint64_t>(queued, cancelled_) + waiting_.size();
}

// The collector's thread.
void ProcessPool::collect_until_the_end()
{
    for (;;) {
        collect_finished();
        // First say "asleep", then look once more: a worker first finishes, then looks whether we
        // sleep. One of the two sees the other.
        shared_->collector_sleeps = true;
        if (shared_->any_finished()) {
            shared_->collector_sleeps = false;
            continue;
        }
        std::array<char, 64> rings;
        const ssize_t size = ::read(bell_.get(), rings.data(), rings.size());
        shared_->collector_sleeps = false;
        if (size == 0) {
            // The forker has gone, and all workers with it.
            while (leaving) {
                ::pause();  // until the process has gone, too
            }
            const std::lock_guard lock(mutex_);
            if (ending_) {
                return;
            }
            if (!revive()) {
                ::poll(nullptr, 0, 100);  // no process to be had now: ask again a little later
            }
        }
    }
}

void ProcessPool::collect_finished()
{
    struct Finished {
        Promise<Number> promise;
        bool ok;
        Number result;
    };
    std::vector<Finished> done;
    bool enqueued = false;
    {
        const std::lock_guard lock(mutex_);
        for (std::uint32_t base = 0; base < slot_count; base += 64) {
            if (shared_->finished[base / 64].load() == 0) {
                continue;
            }
            std::uint64_t bits = shared_->finished[base / 64].exchange(0);
            for (; bits != 0; bits &= bits - 1) {
                const auto index = base + static_cast<std::uint32_t>(std::countr_zero(bits));
                Slot& slot = shared_->slots[index];
                const Phase phase = phase_of(slot.state.load());
                if (phase != Phase::computed && phase != Phase::failed) {
                    continue;  // its worker and the forker both said so; this is the echo
                }
                if (requests_[index]) {
                    done.push_back({std::move(requests_[index]->promise), phase == Phase::computed,
                                    slot.result});
                    requests_[index].reset();
                } else {
                    --cancelled_;
                }
                slot.state.store(idle());
                free_slots_.push_back(index);
            }
        }
        for (; !waiting_.empty() && !free_slots_.empty(); enqueued = true) {
            enqueue(std::move(waiting_.extract(waiting_.begin()).mapped()));
        }
    }
    if (enqueued) {
        shared_->call_a_worker();
    }
    for (Finished& finished : done) {
        if (finished.ok) {
            finished.promise.set_result(finished.result);
        } else {
            finished.promise.set_exception(std::make_exception_ptr(WorkerDied()));
        }
    }
}

// Called with the mutex held, when all processes of the pool are gone. False if there was no
// process to be had for a new forker.
bool ProcessPool::revive() noexcept
{
    current_life = -1;
    current_forker = -1;
    wait_for_end(std::exchange(forker_, -1));
    for (unsigned worker = 0; worker < workers_; ++worker) {
        shared_->give_up_what_it_had(worker);
    }
    try {
        start_forker();
        return true;
    } catch (const std::system_error&) {
        return false;
    }
}

}  // namespace ground
