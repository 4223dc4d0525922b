// pool.hpp -- workers that compute Fibonacci numbers, as the stages see them.
#pragma once

#include "common/server/fib.hpp"
#include "common/server/options.hpp"
#include "common/wait/future.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace ground {

class Pool {
  public:
    virtual ~Pool() = default;

    // The future of fib(n). Never waits for a free worker. Any thread may call it.
    [[nodiscard]] Future<Number> submit(unsigned n, Here here = Here::at())
    {
        return begin(n, here);
    }

    // The number of requests that no worker has begun to compute, without the cancelled ones. Any
    // thread may call it. Workers go on taking requests, so the number may be out of date at once.
    [[nodiscard]] virtual std::size_t waiting() const = 0;

  private:
    [[nodiscard]] virtual Future<Number> begin(unsigned n, Here here) = 0;
};

// The reply for a future: "832040\n", or for example "[Error] worker died\n" if it has failed.
// Waits for the future if it is not done.
[[nodiscard]] std::string format_reply(const Future<Number>& future, Here here = Here::at());

// The pool that the options ask for. Call it before the first thread is started: see ProcessPool.
// If processes or threads can't be started, the program says so in one line on stderr and exits
// with 1.
[[nodiscard]] std::unique_ptr<Pool> make_pool(const Options& options);

}  // namespace ground
