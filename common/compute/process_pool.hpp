// process_pool.hpp -- the pool as processes, like Python's ProcessPoolExecutor.
//
//     server ── forker ──┬── worker 0       requests and results travel through shared memory;
//       │                └── worker 1       a semaphore wakes workers, a pipe wakes the server
//       └── collector (a thread of the server: completes the futures)
//
// Why a forker: only a process without threads can be forked without care, and the server soon has
// threads, and its clients' sockets, which no worker should inherit. So the forker is forked first
// and forks the workers, the replacements for those that die included. (Python's name for it is
// "forkserver", Android's "zygote".)
//
// Why shared memory: through sockets, a request costs four system calls on its way there and back
// and as many context switches. Here a busy pool makes none.
//
// What is promised:
// - A worker that dies, in whatever way, fails the one request that it was computing, with
//   WorkerDied, and is replaced. No other request is lost, or computed twice.
// - A worker that is stopped (SIGSTOP, Ctrl-Z, a debugger) holds up the one request that it was
//   computing, and no other. (Where a debugger stops one that has just been called to take a
//   request, it is a second or two until the forker sees that nobody does, and calls another.)
// - No worker outlives the server, however that ends. The forker sees the end of its pipe and kills
//   the workers; should the forker be killed, the kernel kills them (PR_SET_PDEATHSIG) and the
//   collector starts it all anew.
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

    // Forks: call before the first thread is started and before there are sockets to inherit.
    // Throws std::system_error if there is no memory or no process to be had.
    ProcessPool(unsigned workers, FibFunction fib);

    // Ends the workers, whatever they are computing, and waits until they are gone. The futures of
    // requests under way then fail with broken_promise.
    ~ProcessPool() override;

    ProcessPool(const ProcessPool&) = delete;
    ProcessPool& operator=(const ProcessPool&) = delete;

    // Futures complete on the collector's thread.
    std::size_t waiting() const override;

    // For the signal handler that ends the process: kills the workers of the process's pool, if it
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

    Descriptor life_;  // a pipe's writing end: the forker lives until it is closed
    Descriptor bell_;  // a pipe's reading end: workers ring when there are results
    pid_t forker_ = -1;

    std::atomic<std::uint64_t> next_id_{0};

    mutable std::mutex mutex_;  // guards all below, and the server's side of the shared queue
    bool ending_ = false;
    std::vector<std::uint32_t> free_slots_;
    std::vector<std::optional<Request>> requests_;  // by slot; nothing if cancelled
    std::uint32_t cancelled_ = 0;                   // slots that wait for nothing but a worker
    std::map<std::uint64_t, Request> waiting_;      // for a free slot, in the order of their coming

    bool said_ = false;  // once in its life, for it may come to this again and again
    std::thread collector_;
};

}  // namespace ground
