// 07_coroutines.cpp -- one thread for all clients, and a library in place of our scheduler.
//
// Changed since 06_async_sockets: Asio's awaitable replaces Task, and its io_context replaces the
//         Scheduler and waits with epoll. A future becomes one more thing that Asio can wait for.
// Buys:   as many clients as there are descriptors, for a third of 06's lines.
// Costs:  a library to learn, whose loop does not fit on one page.
// Leaves: a request is computed even after its client has left. 08_cancellation ends it.

#include "common/compute/pool.hpp"
#include "common/server/async.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"

#include <asio/co_spawn.hpp>

using namespace ground;

namespace {

// An asynchronous operation like those of Asio, for any completion token. It ends when the future
// is done. The future's callback runs on the pool's thread and posts the handler to the handler's
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
awaitable<void> handle(tcp::socket client, Rules rules, Pool& pool)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(co_await async_recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
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
awaitable<void> serve(tcp::acceptor& acceptor, Rules rules, Pool& pool)
{
    for (;;) {
        tcp::socket client = co_await async_accept(acceptor);
        asio::co_spawn(acceptor.get_executor(), handle(std::move(client), rules, pool), log_error);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    warn_of_limit(options, 10'000);
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE_IO);  // other threads only call post()
    tcp::acceptor acceptor = listen(context, options);
    asio::co_spawn(context, serve(acceptor, options.rules, *pool), log_error);
    context.run();
}
