// 02b_threads_gil.cpp -- 02_threads as it would be in Python: one lock for all threads.
//
// Changed since 02_threads: a thread holds CPython's global interpreter lock while it runs, and
//         releases it around every call that may block.
// Buys:   a simpler interpreter for Python: its objects need no locks of their own.
// Costs:  all threads together use one core. While one of them computes, another thread waits 5 ms
//         for the lock after each call that blocks.
// Leaves: how can Python use the other cores? With processes, as in 03_process_pool.

#include "common/compute/gil.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/start_thread.hpp"

using namespace ground;

namespace {

// The conversation with one client. It owns the client's socket: returning closes the socket.
// The `try` covers the whole function: any error with this client ends in the catch below.
void handle(tcp::socket client, Rules rules, Gil& gil)
try {
    Gil::Thread me(gil);
    const Gil::Guard guard(me);
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(me.without_lock([&] { return recv(client, requests.buffer()); }));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                reply = format_reply(me.interpret(rules.fib, request->n));
            }
            me.without_lock([&] { send(client, reply); });
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

// These threads are never joined: each ends with its client, or with the process.
void serve(Listener& listener, Rules rules, Gil& gil)
{
    Gil::Thread me(gil);
    const Gil::Guard guard(me);
    for (;;) {
        tcp::socket client = me.without_lock([&] { return listener.accept(); });
        start_thread(handle, std::move(client), rules, std::ref(gil));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.gil = true});
    exit_on_signals();
    Listener listener(options);
    Gil gil(options.switch_interval);
    serve(listener, options.rules, gil);
}
