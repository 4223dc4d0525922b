// 10_worker.cpp -- computes what servers ask for, on any machine, from a queue at a broker.
//
// Changed since 03_process_pool: the worker has become a program of its own, and a queue at a
//         broker, RabbitMQ, stands where shared memory was. (The server's side is --pool broker.)
// Buys:   the cores of as many machines as you like; any of them may die, and nothing is lost.
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
    Bell bell;  // a number has been computed, or we are to end
    std::atomic<bool> ending{false};
    Attempts attempts{options.stage, options.broker};
};

// Computes on the other thread. This one comes back to the connection again and again: a worker
// that computed here for a minute would send no heartbeats, and the broker would take it for dead
// and give its request to the next one, who would fare no better.
Number compute(Worker& worker, BrokerConnection& broker, Pool& thread, unsigned n)
{
    const Future<Number> number = thread.submit(n);
    number.add_done_callback([&worker](const auto&) { worker.bell.ring(); });
    try {
        while (!number.done()) {
            broker.wait(worker.bell);
            static_cast<void>(broker.next());  // nobody but the heartbeats: see consume() below
            if (worker.ending) {
                broker.stop_consuming();  // nor anybody else, when this one has been acknowledged
            }
        }
    } catch (const BrokerError&) {
        static_cast<void>(number.result());  // too late for an answer, and the thread is busy
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
        reply.body = "a worker was asked for what it does not know";
    } else {
        reply.type = "result";
        reply.body = fmt::format(
            "{}", request.type == "fib" ? compute(worker, broker, thread, *n) : fib_fast(*n));
    }
    return reply;
}

// A request that kills its worker must not kill one after the other. The broker only says whether
// it has been given to anybody before (redelivered), not how often. (A "quorum" queue counts, but
// makes several disks of every request.) So whoever gets a request that somebody has died with puts
// a marked copy into the queue, which then is new to the broker, and computes nothing.
//
//     delivered     no mark   compute; who dies of it leaves it to be redelivered
//     redelivered   no mark   put a marked copy into the queue
//     delivered     marked    compute; who dies of it leaves it to be redelivered
//     redelivered   marked    two have died: answer "worker died" (above)
//
// The broker sees the copy before the acknowledgement. Who dies in between leaves both; then it is
// computed twice and answered twice, and the server takes the first answer.
Message copy_for_a_second_attempt(const Worker& worker, const Message& request)
{
    log("{}: fib({}) has been with a worker that is gone; it gets one more", worker.options.stage,
        printable(request.body, 20));
    Message copy = request;
    copy.routing_key = worker.options.broker.queue;
    copy.attempt = request.attempt + 1;
    return copy;
}

// Takes requests until the connection is lost (BrokerError) or the worker is to end.
void work(Worker& worker, BrokerConnection& broker, Pool& thread)
{
    // One at a time. With more, a slow machine would sit on work that a fast one could do; the
    // price is that it waits for the next one while the acknowledgement travels.
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
        // First the answer, then the acknowledgement. Until then the request is the broker's to
        // give to somebody else. The other way round, who dies in between takes the answer along.
        // (Where two have died already it may be the answer that kills: RabbitMQ closes the
        // connection of whoever answers to certain addresses. Then the request must be gone first.)
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
    // For ever: the thread that waits for signals may still be ringing when main() ends.
    static Worker& worker = *new Worker{parse_worker_options(argc, argv, about), {}};
    // It finishes what it has begun if that does not take long. If it does, another worker does it:
    // to be killed is an ordinary end for a worker.
    stop_on_signals([] {
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
