#include "common/compute/thread_pool.hpp"

#include <asio/post.hpp>

#include <unistd.h>

namespace ground {

// The threads are ours, not Asio's. If Asio could not start one of its threads, its constructor
// would wait for the others for ever.
ThreadPool::ThreadPool(unsigned workers, FibFunction fib) : fib_(fib), pool_(0)
{
    try {
        while (threads_.size() < workers) {
            threads_.emplace_back([this] {
                observe::becomes_worker(::getpid());
                pool_.attach();
            });
        }
    } catch (const std::exception&) {
        end();
        throw;
    }
}

ThreadPool::~ThreadPool()
{
    end();
    // They are broken outside the lock, because a broken promise calls callbacks.
    std::map<std::uint64_t, Request> broken;
    const std::lock_guard lock(mutex_);
    broken.swap(waiting_);
}

void ThreadPool::end()
{
    pool_.stop();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

// Posts "compute the next request", not this request. So a request can be taken back: then one of
// the posted calls finds nothing to do.
Future<Number> ThreadPool::begin(unsigned n, Here here)
{
    observe::submits(n, here);
    std::unique_lock lock(mutex_);
    const std::uint64_t id = next_id_++;
    Promise<Number> promise([this, id] { return take_back(id); });
    Future<Number> future = promise.future();
    waiting_.emplace(id, Request{n, observe::whose(), std::move(promise)});
    lock.unlock();
    asio::post(pool_, [this] { compute_next(); });
    return future;
}

std::size_t ThreadPool::waiting() const
{
    const std::lock_guard lock(mutex_);
    return waiting_.size();
}

void ThreadPool::compute_next()
{
    std::unique_lock lock(mutex_);
    if (waiting_.empty()) {
        return;
    }
    Request request = std::move(waiting_.extract(waiting_.begin()).mapped());
    lock.unlock();
    const observe::WorksFor working(request.whose);
    request.promise.set_result(fib_(request.n));
}

std::optional<Promise<Number>> ThreadPool::take_back(std::uint64_t id)
{
    const std::lock_guard lock(mutex_);
    auto request = waiting_.extract(id);
    return request ? std::optional(std::move(request.mapped().promise)) : std::nullopt;
}

}  // namespace ground
