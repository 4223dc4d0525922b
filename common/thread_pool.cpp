#include "common/thread_pool.hpp"

#include <asio/post.hpp>

namespace ground {

Future<Number> ThreadPool::submit(unsigned n)
{
    Promise<Number> promise;
    Future<Number> future = promise.future();
    asio::post(threads_, [promise = std::move(promise), fib = fib_, n]() mutable {
        promise.set_result(fib(n));
    });
    return future;
}

}  // namespace ground
