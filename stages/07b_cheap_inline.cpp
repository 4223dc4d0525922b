// 07b_cheap_inline.cpp -- one thread for all clients; it computes small numbers itself.
//
// Changed since 07_coroutines: a number that takes less time than a trip to the pool is computed
//         here. The others go to the pool. The server measures at its start where the limit is.
// Buys:   small requests no longer pay for the trip, and big ones still stop no other client.
// Costs:  an estimate. While the server computes, all clients wait: no longer than a trip takes if
//         the machine is as idle as it was at the start, and longer if the estimate is wrong.
// Leaves: the cost of a request must be known in advance. For fib(n) it is, but hardly ever for an
//         SQL query.

#include "common/compute/pool.hpp"
#include "common/server/async.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"

#include <asio/co_spawn.hpp>

#include <algorithm>
#include <array>
#include <chrono>

using namespace ground;

namespace {

// Waits for a future as Asio waits for a socket: an asynchronous operation, for any completion
// token. The future's callback runs on the pool's thread and posts the handler to the handler's
// event loop.
template <typename Token>
auto async_wait(const Future<Number>& future, Token&& token)
{
    return asio::async_initiate<Token, void()>(
        [future](auto handler) {
            auto work = asio::make_work_guard(handler);  // keeps run() from returning
            future.add_done_callback([work, handler = std::move(handler)](const auto&) mutable {
                asio::post(work.get_executor(), std::move(handler));
            });
        },
        token);
}

// The median of some dozens of runs, because a few of them are interrupted.
template <typename Work>
auto time_of(Work work)
{
    using Clock = std::chrono::steady_clock;
    std::array<Clock::duration, 49> times;
    for (auto& time : times) {
        const auto begin = Clock::now();
        work();
        time = Clock::now() - begin;
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

// The first n for which fib(n) takes longer than the trip to the pool and back. (A trip has a time
// limit of a millisecond, because a pool without a worker would never reply.)
unsigned measure_inline_below(Pool& pool, const Options& options)
{
    const auto trip = time_of([&] { pool.submit(1).wait_for(std::chrono::milliseconds(1)); });
    unsigned n = 1;
    while (n <= options.rules.max_n && time_of([&] { options.rules.fib(n); }) < trip) {
        ++n;
    }
    connection_log(
        "{}: a trip to the pool takes {} us; below fib({}) it is cheaper to compute here",
        options.stage, trip / std::chrono::microseconds(1), n);
    return n;
}

// The conversation with one client. It owns the client's socket: returning closes the socket.
awaitable<void> handle(tcp::socket client, Rules rules, Pool& pool, unsigned inline_below)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(co_await async_recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid() && request->n < inline_below) {
                reply = format_reply(rules.fib(request->n));
            } else if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                if (!future.done()) {
                    co_await async_wait(future, use_awaitable);
                }
                reply = format_reply(future);
            }
            co_await async_send(client, reply);
        }
    }
}

// Accepts as many clients as there are descriptors.
awaitable<void> serve(tcp::acceptor& acceptor, Rules rules, Pool& pool, unsigned inline_below)
{
    for (;;) {
        tcp::socket client = co_await async_accept(acceptor);
        asio::co_spawn(acceptor.get_executor(),
                       handle(std::move(client), rules, pool, inline_below), log_error);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true, .inline_below = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    warn_of_limit(options, 10'000);
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE_IO);  // other threads only call post()
    tcp::acceptor acceptor = listen(context, options);
    const unsigned inline_below =
        options.inline_below ? *options.inline_below : measure_inline_below(*pool, options);
    asio::co_spawn(context, serve(acceptor, options.rules, *pool, inline_below), log_error);
    context.run();
}
