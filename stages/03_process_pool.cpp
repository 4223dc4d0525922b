// 03_process_pool.cpp -- one thread per client, a pool of processes for the computing.
//
// Changed since 02_threads: handle() hands the number to a pool and waits for the future it gets.
// Buys:   as much computing at a time as there are workers, and no more; a crash stays in a worker.
// Costs:  every request, small ones too, pays for the trip to a worker and back.
// Leaves: a thread per client that does little but wait. 04_generators waits with one for all.

#include "common/compute/pool.hpp"
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
                reply = format_reply(future);  // this thread sleeps until a worker has the result
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_lost(std::current_exception());  // the boundary: what goes wrong with a client ends here
}

// Nobody joins these threads: each ends with its client, or with the process. The socket is shared
// with the new thread only so that it is still here to say no if there is no new thread.
void serve(Listener& listener, Rules rules, Pool& pool)
{
    for (;;) {
        auto client = std::make_shared<tcp::socket>(listener.accept());
        try {
            std::thread([client, rules, &pool] {
                handle(std::move(*client), rules, pool);
            }).detach();
        } catch (const std::exception&) {
            refuse(*client, "server full, no more threads");
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{
        "03_process_pool",
        "One thread per client; a pool of worker processes does the computing.\n"
        "Watch big requests hurt nobody, and small ones pay for the trip to a worker.",
        true};
    const Options options = parse_options(argc, argv, about);
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Listener listener(options);
    serve(listener, options.rules, *pool);
}
