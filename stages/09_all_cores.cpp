// 09_all_cores.cpp -- a thread for each core, each with clients of its own.
//
// Changed since 08_cancellation: as many loops as cores. They share only the port and the pool. And
//         the replies to all requests of one read leave in one write.
// Buys:   all cores can serve clients, without a lock, because no client ever changes loops.
//         A client that pipelines costs a fraction of a system call per request.
// Costs:  a client comes to a loop by chance, however busy that loop is. And a loop that does
//         something for too long delays its own clients, even when other loops are idle.
// Leaves: all cores are those of one machine. 10_worker computes on other machines.

#include "common/compute/pool.hpp"
#include "common/server/async.hpp"
#include "common/server/disconnect.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/prefork.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/start_thread.hpp"
#include "common/server/task_group.hpp"

#include <asio/co_spawn.hpp>

#include <deque>
#include <thread>
#include <vector>

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

// The conversation with one client. It owns the client's socket: returning closes the socket.
awaitable<void> handle(tcp::socket client, Rules rules, Pool& pool, Limits limits)
{
    co_await asio::this_coro::throw_if_cancelled(false);  // a stop ends a wait, not a conversation
    const ConnectionLog log(client);
    DisconnectWatch watch(client);
    Requests requests(rules);
    bool stopped = false;
    while (!stopped && !requests.ended()) {
        stopped = co_await stopping();  // own line, because GCC 12 miscompiles an if that awaits
        // After a stop there is one last read, for what has already arrived. It is answered.
        if (stopped && client.available() == 0) {
            break;
        }
        const auto size = co_await async_recv(client, requests.buffer(), limits.idle);
        if (!size) {
            co_await async_send(client, format_error("no request came for too long"), limits.idle);
            co_return;
        }
        requests.received(*size);
        std::string replies;  // to all requests of this read
        while (auto request = requests.next()) {
            if (!request->valid()) {
                replies += request->error;
            } else if (pool.waiting() >= limits.waiting) {
                replies += format_error("busy, try again later");
            } else {
                const Future<Number> future = pool.submit(request->n);
                if (!future.done()) {
                    // The wait ends with the result, or when one of these gives the future up.
                    const OnDisconnect left(watch, [&] { future.give_up("its client has left"); });
                    const OnTimeout late(client.get_executor(), limits.request, [&] {
                        future.give_up("it took too long, try a smaller number");
                    });
                    if (!replies.empty()) {  // they must not wait for this result
                        co_await async_send(client, replies, limits.idle);
                        replies.clear();
                    }
                    co_await async_wait(future, use_awaitable);
                }
                replies += format_reply(future);
            }
        }
        if (!replies.empty()) {
            co_await async_send(client, replies, limits.idle);
        }
    }
}

// A loop and its clients. Only its own thread touches them; other threads may post.
struct Loop {
    asio::io_context context{ASIO_CONCURRENCY_HINT_UNSAFE_IO};  // other threads only call post()
    TaskGroup tasks{context.get_executor()};
    std::size_t clients = 0;  // so far
};

// Accepts as many clients as there are descriptors.
awaitable<void> serve(tcp::acceptor acceptor, Rules rules, Pool& pool, Limits limits, Loop& loop)
{
    for (;;) {
        tcp::socket client = co_await async_accept(acceptor);
        ++loop.clients;
        loop.tasks.spawn(handle(std::move(client), rules, pool, limits));
    }
}

// Runs each loop on a thread of its own, until all have ended.
void run(std::deque<Loop>& loops, const Options& options)
{
    std::vector<std::thread> threads;
    for (Loop& loop : loops) {
        threads.push_back(start_own_thread(options, [&] { loop.context.run(); }));
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (const Loop& loop : loops) {
        connection_log("Clients of one loop: {}", loop.clients);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options =
        parse_options(argc, argv, about, {.pool = true, .limits = true, .loops = true});
    std::vector<Descriptor> sockets;
    if (options.processes > 0) {  // each child continues here, with a loop and a pool of its own
        sockets = prefork(options, listen_reuse_port(options, options.processes));
    }
    // The loops must outlive the pool, whose thread may still be inside its last asio::post().
    std::deque<Loop> loops(options.processes > 0 ? 1 : options.threads);
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    if (options.processes == 0) {
        warn_of_limit(options, 10'000, options.threads);
        sockets = listen_reuse_port(options, options.threads);
    }
    for (std::size_t i = 0; i < loops.size(); ++i) {
        Loop& loop = loops[i];
        loop.tasks.spawn(serve(adopt(loop.context, std::move(sockets[i])), options.rules, *pool,
                               options.limits, loop));
    }

    // Ends the waits for new clients and for requests, and no other wait. So requests that are
    // being computed still get their replies. Then the groups are empty, and no run() has anything
    // left to wait for.
    const StopOnSignals stopping([&] {
        for (Loop& loop : loops) {
            asio::post(loop.context, [&] { loop.tasks.stop(); });
        }
    });
    run(loops, options);
}
