// 02_threads.cpp -- one thread per client.
//
// Changed since 01_blocking: serve() starts a thread per client and goes back to accept().
// Buys:   a silent client no longer stalls the others; big requests use all cores.
// Costs:  a stack and a kernel task per client, busy or idle; no upper bound on the computing.
// Leaves: who limits the computing? 03_process_pool does.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"

#include <memory>
#include <thread>

using namespace ground;

namespace {

// The conversation with one client. It owns the client's socket: leaving closes it.
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
    log_lost(std::current_exception());  // the boundary: what goes wrong with a client ends here
}

// Nobody joins these threads: each ends with its client, or with the process. The socket is shared
// with the new thread only so that it is still here to say no if there is no new thread.
void serve(Listener& listener, Rules rules)
{
    for (;;) {
        auto client = std::make_shared<tcp::socket>(listener.accept());
        try {
            std::thread([client, rules] { handle(std::move(*client), rules); }).detach();
        } catch (const std::exception&) {
            refuse(*client, "server full, no more threads");
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{"02_threads",
                      "One thread per client: everyone is served, big requests use all cores.\n"
                      "Watch two clients at once, then two big requests on two cores."};
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    Listener listener(options);
    serve(listener, options.rules);
}
