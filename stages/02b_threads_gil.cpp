// 02b_threads_gil.cpp -- 02_threads as it would be in Python: one lock for all threads.
//
// Changed since 02_threads: a thread holds CPython's global interpreter lock while it runs, and
//         lets go of it around every call that may block.
// Buys:   what Python got for it: an interpreter whose objects need no locks of their own.
// Costs:  one core for all threads. And who lets go of the lock, be it for a call that does not
//         block at all, waits 5 ms to have it back from a thread that is computing.
// Leaves: how can Python use the other cores? 03_process_pool does it with processes.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/gil.hpp"

#include <memory>
#include <thread>

using namespace ground;

namespace {

// The computing, interpreted: between any two calls another thread may be let in.
Number fib(unsigned n, Gil::Thread& me)
{
    me.drop_if_asked();
    if (n <= 2) {
        return 1;
    }
    return fib(n - 1, me) + fib(n - 2, me);
}

// The conversation with one client. It owns the client's socket: leaving closes it.
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
                reply = format_reply(rules.fib == fib_fast ? fib_fast(request->n)
                                                           : fib(request->n, me));
            }
            me.without_lock([&] { send(client, reply); });
        }
    }
} catch (...) {
    log_lost(std::current_exception());  // the boundary: what goes wrong with a client ends here
}

// Nobody joins these threads: each ends with its client, or with the process. The socket is shared
// with the new thread only so that it is still here to say no if there is no new thread.
void serve(Listener& listener, Rules rules, Gil& gil)
{
    Gil::Thread me(gil);
    const Gil::Guard guard(me);
    for (;;) {
        auto client =
            me.without_lock([&] { return std::make_shared<tcp::socket>(listener.accept()); });
        try {
            std::thread([client, rules, &gil] { handle(std::move(*client), rules, gil); }).detach();
        } catch (const std::exception&) {
            refuse(*client, "server full, no more threads");
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{.stage = "02b_threads_gil",
                      .teaches =
                          "One thread per client under CPython's global interpreter lock.\n"
                          "Watch reqs/sec collapse as soon as one big request is computed.",
                      .has_gil = true};
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    Listener listener(options);
    Gil gil(options.switch_interval);
    serve(listener, options.rules, gil);
}
