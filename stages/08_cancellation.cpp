// 08_cancellation.cpp -- one thread for all clients, and every wait can be cancelled.
//
// Changed since 07_coroutines: a wait also ends when the client has left, when it takes too long,
//         or when the server is told to stop.
// Buys:   a waiting request whose client has left is not computed; every wait of a conversation can
//         have a time limit; a stop lets requests finish.
// Costs:  every wait must say what else may end it. And a worker finishes a number that it has
//         begun, even if no client waits for it.
// Leaves: one thread still runs all connections. 09_all_cores has a loop for every core.

#include "common/compute/pool.hpp"
#include "common/server/async.hpp"
#include "common/server/disconnect.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/task_group.hpp"

#include <asio/co_spawn.hpp>

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
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid() && pool.waiting() >= limits.waiting) {
                reply = format_error("busy, try again later");
            } else if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                if (!future.done()) {
                    // The wait ends with the result, or when one of these gives the future up.
                    const OnDisconnect left(watch, [&] { future.give_up("its client has left"); });
                    const OnTimeout late(client.get_executor(), limits.request, [&] {
                        future.give_up("it took too long, try a smaller number");
                    });
                    co_await async_wait(future, use_awaitable);
                }
                reply = format_reply(future);
            }
            co_await async_send(client, reply, limits.idle);
        }
    }
}

// Accepts as many clients as there are descriptors.
awaitable<void> serve(tcp::acceptor acceptor, Rules rules, Pool& pool, Limits limits,
                      TaskGroup& tasks)
{
    for (;;) {
        tcp::socket client = co_await async_accept(acceptor);
        tasks.spawn(handle(std::move(client), rules, pool, limits));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true, .limits = true});
    // The context must outlive the pool, whose thread may still be inside its last asio::post().
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE_IO);  // other threads only call post()
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    warn_of_limit(options, 10'000);
    TaskGroup tasks(context.get_executor());
    tasks.spawn(serve(listen(context, options), options.rules, *pool, options.limits, tasks));

    // Ends the waits for new clients and for requests, and no other wait. So requests that are
    // being computed still get their replies. Then the group is empty, and run() has nothing left
    // to wait for.
    const StopOnSignals stopping(context, [&] { tasks.stop(); });
    context.run();
}
