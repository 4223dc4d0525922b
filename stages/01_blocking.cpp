// 01_blocking.cpp -- one client at a time.
//
// Changed since nothing: no stage comes before this one. The talk begins here.
// Buys:   the whole program in two short functions, read from top to bottom.
// Costs:  all other clients wait, in silence, until the one client leaves.
// Leaves: how can a second client be served? 02_threads starts a thread for it.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"

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

// The next accept() comes only after handle() has returned. Meanwhile the kernel connects other
// clients and keeps them in the backlog. They can send, but no code of ours reads.
void serve(Listener& listener, Rules rules)
{
    for (;;) {
        handle(listener.accept(), rules);
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
