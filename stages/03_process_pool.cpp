// 03_process_pool.cpp -- one thread per client, a pool of processes for the computing.
//
// Changed since 02_threads: handle() hands the number to a pool and waits for its future.
// Buys:   never more computations at a time than workers; a crash stays in a worker.
// Costs:  every request, even a small one, pays for the trip to a worker and back.
// Leaves: a thread per client, which mostly waits. In 04_generators one thread waits for all.

#include "common/compute/pool.hpp"
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
void handle(tcp::socket client, Rules rules, Pool& pool)
try {
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                future.wait();  // this thread sleeps until a worker has the result
                reply = format_reply(future);
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

// These threads are never joined: each ends with its client, or with the process.
void serve(Listener& listener, Rules rules, Pool& pool)
{
    for (;;) {
        start_thread(handle, listener.accept(), rules, std::ref(pool));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Listener listener(options);
    serve(listener, options.rules, *pool);
}
