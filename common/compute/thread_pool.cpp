#include "common/compute/thread_pool.hpp"

#include <asio/post.hpp>

namespace ground {

// The threads are ours: were they Asio's and one of them could not be started, its constructor
// would wait for the others for ever.
ThreadPool::ThreadPool(unsigned workers, FibFunction fib) : fib_(fib), pool_(0)
{
    try {
        while (threads_.size() < workers) {
            threads_.emplace_back([this] { pool_.attach(); });
        }
    } catch (const std::exception&) {
        end();
        throw;
    }
}

ThreadPool::~ThreadPool() { end(); }

void ThreadPool::end()
{
    pool_.stop();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

Future<Number> ThreadPool::submit(unsigned n)
{
    Promise<Number> promise;
    Future<Number> future = promise.future();
    asio::post(pool_, [promise = std::move(promise), fib = fib_, n]() mutable {
        promise.set_result(fib(n));
    });
    return future;
}

}  // namespace ground
