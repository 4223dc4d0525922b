// thread_pool.hpp -- the pool as threads of this process, on Asio's thread_pool.
#pragma once

#include "common/pool.hpp"

#include <asio/thread_pool.hpp>

namespace ground {

// Cheaper than ProcessPool, and all that C++ needs to use every core; what it lacks is the wall
// between processes: a worker that crashes takes the server with it.
class ThreadPool final : public Pool {
  public:
    ThreadPool(unsigned workers, FibFunction fib) : fib_(fib), threads_(workers) {}

    // Futures complete on a worker's thread.
    Future<Number> submit(unsigned n) override;

  private:
    FibFunction fib_;
    asio::thread_pool threads_;  // its destructor waits for the numbers that are being computed
};

}  // namespace ground
