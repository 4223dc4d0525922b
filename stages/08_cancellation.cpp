// 08_cancellation.cpp -- one thread for all clients, and everything that was begun can be ended.
//
// Changed since 07_coroutines: whoever waits also says what else ends the waiting: that the client
//         has left, that it takes too long, that the server is told to stop.
// Buys:   a client that has left costs nothing more; no wait is for ever; a shutdown that finishes.
// Costs:  every wait has to say what else may end it; and what is being computed already is left to
//         end, for nobody.
// Leaves: one thread still runs all connections. 09_all_cores has a loop for every core.

#include "common/compute/pool.hpp"
#include "common/server/async.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/presence.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/task_group.hpp"

#include <asio/co_spawn.hpp>

using namespace ground;

namespace {

// Waits for a future as Asio waits for a socket: an asynchronous operation, for any completion
// token. The callback comes on the pool's thread and posts the rest to the handler's own.
template <typename Token>
auto async_wait(const Future<Number>& future, Token&& token)
{
    return asio::async_initiate<Token, void()>(
        [future](auto handler) {
            auto work = asio::make_work_guard(handler);  // run() must not return before
            future.add_done_callback([work, handler = std::move(handler)](const auto&) mutable {
                asio::post(work.get_executor(), std::move(handler));
            });
        },
        token);
}

// The conversation with one client. It owns the client's socket: leaving closes it.
awaitable<void> handle(tcp::socket client, Rules rules, Pool& pool, Limits limits)
{
    co_await asio::this_coro::throw_if_cancelled(false);  // a stop ends a wait, not a conversation
    const ConnectionLog log(client);
    Presence presence(client);
    Requests requests(rules);
    bool stopped = false;
    while (!stopped && !requests.ended()) {
        stopped = co_await stopping();  // apart: GCC 12 miscompiles an if that awaits
        if (stopped && client.available() == 0) {
            break;  // what has come is still answered, as far as one read goes
        }
        const auto size = co_await async_recv(client, requests.buffer(), limits.idle);
        if (!size) {
            co_await async_send(client, format_error("nothing was asked for too long"),
                                limits.idle);
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
                    // What ends the wait: the result, or that one of these gives it up.
                    const OnLeaving left(presence, [&] { future.give_up("nobody waits for it"); });
                    const After late(client.get_executor(), limits.request, [&] {
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

// Takes in as many clients as there are descriptors.
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
    // It outlives the pool, whose thread may still be about to return from its last post.
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE_IO);  // others post, we alone do I/O
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    warn_of_limit(options, 10'000);
    TaskGroup tasks(context.get_executor());
    tasks.spawn(serve(listen(context, options), options.rules, *pool, options.limits, tasks));

    // Ends the waits for newcomers and for requests, and no others: what is being computed and sent
    // comes to its end. Then the group is empty, and run() has nothing left to wait for.
    stop_on_signals(context, [&] { tasks.stop(); });
    context.run();
}
