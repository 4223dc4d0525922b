// 02_threads.cpp -- one thread per client.
//
// Changed since 01_blocking: serve() starts a thread per client and goes back to accept().
// Buys:   a silent client no longer stalls the others; big requests use all cores.
// Costs:  a stack and a thread of the kernel per client, busy or idle. Nothing limits how many
//         requests are computed at the same time.
// Leaves: what can limit that? In 03_process_pool it is the size of a pool.

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
void handle(tcp::socket client, Rules rules)
try {
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                reply = format_reply(rules.fib(request->n));
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

// These threads are never joined: each ends with its client, or with the process.
void serve(Listener& listener, Rules rules)
{
    for (;;) {
        start_thread(handle, listener.accept(), rules);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    Listener listener(options);
    serve(listener, options.rules);
}
