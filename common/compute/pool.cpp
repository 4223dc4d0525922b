#include "common/compute/pool.hpp"

#include "common/compute/broker_pool.hpp"
#include "common/compute/process_pool.hpp"
#include "common/compute/thread_pool.hpp"
#include "common/server/log.hpp"
#include "common/server/signals.hpp"

#include <cstdlib>
#include <system_error>

namespace ground {

namespace {

// No pool at all: the caller computes, and the future that it gets is done. It shows what the trip
// to a worker costs, and how a stage behaves without a pool.
class InlinePool final : public Pool {
  public:
    explicit InlinePool(FibFunction fib) : fib_(fib) {}

    std::size_t waiting() const override { return 0; }

  private:
    Future<Number> begin(unsigned n, Here here) override
    {
        Promise<Number> promise;
        Future<Number> future = promise.future();
        promise.set_result(fib_(n, here));
        return future;
    }

    FibFunction fib_;
};

}  // namespace

std::string format_reply(const Future<Number>& future, Here here)
try {
    return format_reply(future.result(here));
} catch (const std::exception& error) {
    return format_error(error.what());
}

std::unique_ptr<Pool> make_pool(const Options& options)
try {
    const SignalsBlocked blocked;
    switch (options.pool) {
        case PoolKind::processes:
            clean_up_before_exit(ProcessPool::end_workers);
            return std::make_unique<ProcessPool>(options.workers, options.rules.fib);
        case PoolKind::threads:
            return std::make_unique<ThreadPool>(options.workers, options.rules.fib);
        case PoolKind::broker:
            return make_broker_pool(options);
        case PoolKind::inline_:
            break;
    }
    return std::make_unique<InlinePool>(options.rules.fib);
} catch (const std::system_error& error) {
    log("{}: can't start {} workers: {}; try fewer --workers", options.stage, options.workers,
        error.what());
    std::exit(EXIT_FAILURE);
}

}  // namespace ground
