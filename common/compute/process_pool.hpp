// process_pool.hpp -- the pool as processes, like Python's ProcessPoolExecutor.
//
//     server ── forker ──┬── worker 0       requests and results travel through shared memory;
//       │                └── worker 1       a semaphore wakes workers, a pipe wakes the server
//       └── collector (a thread of the server: completes the futures)
//
// Why a forker: forking a process with threads is dangerous, and the server soon has threads. It
// also has its clients' sockets, which no worker should inherit. So the forker is forked first. It
// forks the workers, and the replacements for workers that have died. (Python calls this
// "forkserver", Android "zygote".)
//
// Why shared memory: through sockets, a request costs four system calls and four context switches
// on its way there and back. Here a busy pool makes neither.
//
// What is promised:
// - When a worker dies, in whatever way, the one request that it was computing fails with
//   WorkerDied, and the worker is replaced. No other request is lost, or computed twice.
// - A worker that is stopped (SIGSTOP, Ctrl-Z, a debugger) delays the one request that it was
//   computing, and no other. (A worker may also be stopped when it was woken and has not yet taken
//   a request. Then the forker wakes another worker within a second or two.)
// - No worker outlives the server, in whatever way the server ends. The forker sees the end of its
//   pipe and kills the workers. If the forker itself is killed, the kernel kills the workers
//   (PR_SET_PDEATHSIG), and the collector starts everything anew.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/compute/pool.hpp"

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ground {

class WorkerDied : public std::runtime_error {
  public:
    WorkerDied() : std::runtime_error("worker died") {}
};

class SharedQueue;

class ProcessPool final : public Pool {
  public:
    static constexpr unsigned max_workers = 256;

    // Forks, so call it before the first thread is started and before there are sockets to inherit.
    // Throws std::system_error if there is no memory or no process left.
    ProcessPool(unsigned workers, FibFunction fib);

    // Ends the workers, whatever they are computing, and waits until they are gone. Afterwards the
    // futures that are not done fail with broken_promise.
    ~ProcessPool() override;

    ProcessPool(const ProcessPool&) = delete;
    ProcessPool& operator=(const ProcessPool&) = delete;

    // submit() is the base class's. Its futures complete on the collector's thread.
    std::size_t waiting() const override;

    // For the signal handler that ends the process. Kills the workers of the process's pool, if it
    // has one, and waits until they are gone. Async-signal-safe.
    static void end_workers() noexcept;

  private:
    struct Request {
        std::uint64_t id;
        unsigned n;
        observe::Who whose;
        Promise<Number> promise;
    };

    struct Unmap {
        void operator()(SharedQueue* shared) const noexcept;
    };

    Future<Number> begin(unsigned n, Here here) override;
    void start_forker();
    void collect_until_the_end();
    void collect_finished();
    [[nodiscard]] bool start_again();
    void enqueue(Request request);
    [[nodiscard]] std::optional<Promise<Number>> take_back(std::uint64_t id);

    const unsigned workers_;
    const FibFunction fib_;
    std::unique_ptr<SharedQueue, Unmap> shared_;

    Descriptor shutdown_pipe_;  // its writing end: the forker ends when this is closed
    Descriptor bell_;           // a pipe's reading end: workers write when there are results
    pid_t forker_ = -1;

    std::atomic<std::uint64_t> next_id_{0};

    mutable std::mutex mutex_;  // guards all below, and the server's side of the shared queue
    bool ending_ = false;
    std::vector<std::uint32_t> free_slots_;
    std::vector<std::optional<Request>> requests_;  // by slot; empty if cancelled
    std::uint32_t cancelled_ = 0;                   // cancelled slots that a worker must still free
    std::map<std::uint64_t, Request> waiting_;  // requests without a slot, in the order of submit()

    bool warned_ = false;  // has logged, once, that no process is left
    std::thread collector_;
};

}  // namespace ground
