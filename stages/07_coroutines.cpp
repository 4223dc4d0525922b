// 07_coroutines.cpp -- one thread for all clients, and a library in place of our scheduler.
//
// Changed since 06_async_sockets: Asio's awaitable for Task, its io_context, on epoll, for the
//         Scheduler; a future becomes one more thing that Asio can wait for.
// Buys:   as many clients as there are descriptors; a shutdown that finishes what it has begun.
// Costs:  a library to learn, whose loop one can no longer read on one page.
// Leaves: one thread still runs all connections; the talk ends here.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"

#include <asio/co_spawn.hpp>
#include <asio/redirect_error.hpp>
#include <asio/write.hpp>

#include <list>

using namespace ground;

namespace {

// Waits for a future as Asio waits for a socket: an asynchronous operation, for any completion
// token. The callback comes on the pool's thread and posts the rest to the handler's own.
template <typename Token>
auto async_wait(const Future<Number>& future, Token&& token)
{
    return asio::async_initiate<Token, void()>(
        [&future](auto handler) {
            auto work = asio::make_work_guard(handler);  // run() must not return before
            future.add_done_callback([work, handler = std::move(handler)](const auto&) mutable {
                asio::post(work.get_executor(), std::move(handler));
            });
        },
        token);
}

// The conversation with one client.
awaitable<void> handle(tcp::socket& client, Rules rules, Pool& pool)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        asio::error_code end;  // of file, or worse: then there are 0 bytes
        requests.received(co_await client.async_receive(as_buffer(requests.buffer()),
                                                        asio::redirect_error(use_awaitable, end)));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                if (!future.done()) {
                    co_await async_wait(future, use_awaitable);
                }
                reply = format_reply(future);
            }
            co_await asio::async_write(client, asio::buffer(reply), use_awaitable);
        }
    }
}

// Clients are kept in a list, for whoever wants to end their conversations.
awaitable<void> serve(tcp::acceptor& acceptor, Rules rules, Pool& pool,
                      std::list<tcp::socket>& clients)
{
    for (;;) {
        asio::error_code error;
        tcp::socket socket =
            co_await acceptor.async_accept(asio::redirect_error(use_awaitable, error));
        if (error) {
            co_await after_failed_accept(acceptor, error);
            continue;
        }
        socket.set_option(tcp::no_delay(true), error);
        const auto client = clients.insert(clients.end(), std::move(socket));
        asio::co_spawn(acceptor.get_executor(), handle(*client, rules, pool),
                       [&clients, client](const std::exception_ptr& lost) {
                           clients.erase(client);  // closes it
                           log_lost(lost);
                       });
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{"07_coroutines",
                      "One thread for all clients; a library, Asio, has the scheduler.\n"
                      "Watch it hold 10,000 clients, and finish their requests when you stop it.",
                      true};
    const Options options = parse_options(argc, argv, about);
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    warn_of_limit(options, 10'000);
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE_IO);  // others post, we alone do I/O
    tcp::acceptor acceptor = listen(context, options);
    std::list<tcp::socket> clients;
    asio::co_spawn(context, serve(acceptor, options.rules, *pool, clients), [](auto) {});

    // No newcomers; and to those who are here it looks as if their clients had finished: they
    // answer what they have been asked and leave. Then run() has nothing left to wait for.
    stop_on_signals(context, [&] {
        acceptor.close();
        for (tcp::socket& client : clients) {
            asio::error_code gone;
            client.shutdown(tcp::socket::shutdown_receive, gone);
        }
    });
    context.run();
}
