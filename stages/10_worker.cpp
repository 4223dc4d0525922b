// 10_worker.cpp -- computes what servers ask for, on any machine, from a queue at a broker.
//
// Changed since 03_process_pool: the worker has become a program of its own. A queue at a broker,
//         RabbitMQ, replaces the shared memory. (The server's side is --pool broker.)
// Buys:   the cores of as many machines as you like; any of them may fail, and no request is lost.
// Costs:  a trip through the broker for every request; a request may be computed twice.
// Leaves: one queue, and one broker that everything goes through; see docs/10_worker.md.

#include "common/base/numbers.hpp"
#include "common/compute/broker_connection.hpp"
#include "common/compute/thread_pool.hpp"
#include "common/server/fib.hpp"
#include "common/server/log.hpp"
#include "common/server/options.hpp"
#include "common/server/signals.hpp"

#include <atomic>
#include <cstdio>
#include <memory>

using namespace ground;

namespace {

struct Worker {
    Options options;
    Bell bell;  // rings when a number has been computed, or when the worker must end
    std::atomic<bool> ending{false};
    Attempts attempts{options.stage, options.broker};
};

// Computes on the other thread, because this one must keep serving the connection. A worker that
// computed here for a minute would send no heartbeats. The broker would believe that it is dead and
// give its request to the next worker, and the same would happen there.
Number compute(Worker& worker, BrokerConnection& broker, Pool& thread, unsigned n)
{
    const Future<Number> number = thread.submit(n);
    number.add_done_callback([&worker](const auto&) { worker.bell.ring(); });
    try {
        while (!number.done()) {
            broker.wait(worker.bell);
            static_cast<void>(broker.next());  // for the heartbeats; no request comes, see work()
            if (worker.ending) {
                broker.stop_consuming();  // no request comes after this one
            }
        }
    } catch (const BrokerError&) {
        static_cast<void>(number.result());  // too late to reply, but the thread must be free again
        throw;
    }
    return number.result();
}

bool two_have_died_of(const Message& request) { return request.redelivered && request.attempt > 1; }

Message answer(Worker& worker, BrokerConnection& broker, Pool& thread, const Message& request)
{
    Message reply;
    reply.routing_key = request.reply_to;
    reply.correlation_id = request.correlation_id;
    reply.type = "error";
    const auto n = parse_number<unsigned>(request.body);
    if (two_have_died_of(request)) {
        reply.body = "worker died";
    } else if (!n || *n > fib_limit || (request.type != "fib" && request.type != "fib_fast")) {
        reply.body = "the worker does not know this request";
    } else {
        broker.announce(request);
        reply.type = "result";
        reply.body = fmt::format(
            "{}", request.type == "fib" ? compute(worker, broker, thread, *n) : fib_fast(*n));
    }
    return reply;
}

// A request that crashes its worker must not crash one worker after another. The broker only says
// whether a request has been delivered before (redelivered), not how often. (A "quorum" queue
// counts, but writes every request to several disks.) So a worker that gets a redelivered request
// does not compute it. It puts a marked copy into the queue. To the broker the copy is new.
//
//     delivered     no mark   compute; after a crash the broker redelivers it
//     redelivered   no mark   put a marked copy into the queue
//     delivered     marked    compute; after a crash the broker redelivers it
//     redelivered   marked    two workers have crashed: reply "worker died" (above)
//
// The broker sees the copy before the acknowledgement. If a worker crashes in between, request and
// copy both remain. Then two workers compute the number, and the server takes the first reply.
Message copy_for_a_second_attempt(const Worker& worker, const Message& request)
{
    log("{}: fib({}) has been with a worker that is gone; it gets one more", worker.options.stage,
        printable(request.body, 20));
    Message copy = request;
    copy.routing_key = worker.options.broker.queue;
    copy.attempt = request.attempt + 1;
    return copy;
}

// Takes requests until the connection is lost (throws BrokerError) or the worker must end.
void work(Worker& worker, BrokerConnection& broker, Pool& thread)
{
    // One request at a time. With more, a slow machine would keep work that a fast one could do.
    // The price: the worker waits for its next request while the acknowledgement travels.
    broker.consume(worker.options.broker.queue, 1);
    worker.attempts.succeeded();
    fmt::print("{} takes requests from '{}' at {}\n", worker.options.stage,
               worker.options.broker.queue, BrokerConnection::address(worker.options.broker));
    std::fflush(stdout);
    for (;;) {
        if (worker.ending) {
            broker.stop_consuming();
        }
        const auto request = broker.next();
        if (!request && worker.ending) {
            return;
        }
        if (!request) {
            broker.wait(worker.bell);
            continue;
        }
        const bool second = request->redelivered && request->attempt == 1;
        const Message message = second ? copy_for_a_second_attempt(worker, *request)
                                       : answer(worker, broker, thread, *request);
        // Reply first: until the acknowledgement the broker can give the request to another worker.
        // The other way round, a worker that crashes in between loses the reply.
        // (After two crashes the reply itself may be the cause: RabbitMQ closes the connection of a
        // worker that replies to certain addresses. So then the acknowledgement comes first.)
        broker.cork(true);
        if (two_have_died_of(*request)) {
            broker.acknowledge(*request);
            broker.publish(message);
        } else {
            broker.publish(message);
            broker.acknowledge(*request);
        }
        broker.cork(false);
    }
}

}  // namespace

int main(int argc, char** argv)
{
    Worker worker{parse_worker_options(argc, argv, about), {}};
    // On a signal the worker first finishes its request. If that takes too long, the worker ends,
    // and another worker gets the request.
    const StopOnSignals stopping([&] {
        worker.ending = true;
        worker.bell.ring();
    });
    ThreadPool thread(1, fib);
    while (!worker.ending) {
        try {
            BrokerConnection broker(worker.options.broker);
            work(worker, broker, thread);
        } catch (const BrokerError& error) {
            worker.bell.wait(worker.attempts.failed(error));
        }
    }
}
