// 02c_fork.cpp -- one process per client.
//
// Changed since 02_threads: serve() forks a child for each client instead of starting a thread.
// Buys:   a crash ends one conversation only: processes share nothing that they write to.
// Costs:  a copy of the process for each client, and the time to make it.
// Leaves: as in 02, nothing limits the computing. In 03_process_pool, the size of a pool does.

#include "common/server/children.hpp"
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

// A process for each client. fork() returns twice: in the child, which talks to the client, and in
// the parent, which closes its copy of the client's socket and accepts the next one.
void serve(Listener& listener, Rules rules)
{
    reap_children();
    for (;;) {
        tcp::socket client = listener.accept();
        const pid_t child = fork_child();
        if (child == 0) {
            listener.close();
            handle(std::move(client), rules);
            leave_child();
        }
        if (child == -1) {
            refuse(client, "server full, no more processes");
        } else {
            client.close();  // our copy: the child has its own
        }
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
