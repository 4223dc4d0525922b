// thread_pool.hpp -- the pool as threads of this process, on Asio's thread_pool.
#pragma once

#include "common/compute/pool.hpp"

#include <asio/thread_pool.hpp>

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace ground {

// Cheaper than ProcessPool, and enough for C++ to use every core. But threads are not separated as
// processes are: a worker that crashes ends the server.
class ThreadPool final : public Pool {
  public:
    // Throws std::system_error if a thread can't be started.
    ThreadPool(unsigned workers, FibFunction fib);

    // Waits for the numbers that are being computed. All other futures fail with broken_promise.
    ~ThreadPool() override;

    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    // Futures complete on a worker's thread.
    std::size_t waiting() const override;

  private:
    struct Request {
        unsigned n;
        observe::Who whose;
        Promise<Number> promise;
    };

    Future<Number> begin(unsigned n, Here here) override;
    void compute_next();
    [[nodiscard]] std::optional<Promise<Number>> take_back(std::uint64_t id);
    void end();

    FibFunction fib_;
    asio::thread_pool pool_;
    std::vector<std::thread> threads_;

    mutable std::mutex mutex_;  // guards what follows
    std::uint64_t next_id_ = 0;
    std::map<std::uint64_t, Request> waiting_;  // in the order of submit()
};

}  // namespace ground
