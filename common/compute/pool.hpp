// pool.hpp -- somebody else who computes Fibonacci numbers, as the stages see it.
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

    // The future of fib(n). Never waits for a worker to become free; any thread may call it.
    [[nodiscard]] Future<Number> submit(unsigned n, Here here = Here::at())
    {
        return begin(n, here);
    }

    // How many requests nobody has begun to compute, those that were cancelled not counted. Any
    // thread may call it; workers take requests meanwhile.
    [[nodiscard]] virtual std::size_t waiting() const = 0;

  private:
    [[nodiscard]] virtual Future<Number> begin(unsigned n, Here here) = 0;
};

// The reply that a future makes: "832040\n", or "[Error] worker died\n" if that is what has
// happened to it. Waits for the future if it is not done.
[[nodiscard]] std::string format_reply(const Future<Number>& future, Here here = Here::at());

// The pool that the options ask for. Call before the first thread is started: see ProcessPool. If
// there are no processes or threads to be had it says so in one line on stderr and exits with 1.
[[nodiscard]] std::unique_ptr<Pool> make_pool(const Options& options);

}  // namespace ground
