// sleeps_before_replies.cpp -- 02, but each reply comes after a while. Keeps its promises.
//
// Changed since 02_threads: a thread sleeps before it sends. No step of another thread wakes it.
// Buys:   nothing.
// Costs:  time.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/start_thread.hpp"

#include <chrono>
#include <thread>

using namespace ground;

namespace {

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
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
            send(client, reply);
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

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
