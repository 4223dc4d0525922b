// 02d_shared_state.cpp -- one thread per client, and numbers that all of them share.
//
// Changed since 02_threads: the server counts the requests that it has answered and remembers the
//         last result, for all clients. `count` asks for the number; --guard says who takes care.
// Buys:   what one client has had computed, the next one gets for nothing.
// Costs:  care, wherever a number is shared: without a guard, updates are lost and replies wrong.
// Leaves: is there a way to do without locks? One thread for all clients, as in 04_generators.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/start_thread.hpp"

#include <atomic>
#include <functional>
#include <mutex>

using namespace ground;

namespace {

// What all conversations share. Any thread may call these functions, at any time.
//
// Every number is atomic: what one thread reads is what another one has written, never a mixture of
// two. That is all; between a read and the write that follows, anybody may come.
class Shared {
  public:
    Shared(Guard guard, FibFunction compute) : guard_(guard), compute_(compute) {}

    void count()
    {
        if (guard_ == Guard::atomic) {
            ++answered_;  // one step: nobody gets between
            return;
        }
        const auto lock = lock_if_asked();
        answered_ = answered_ + 1;  // two: a read and a write
    }

    std::uint64_t answered() const { return answered_; }

    // Two numbers that belong together. Each may be atomic: it takes the lock to keep the pair.
    Number fib(unsigned n)
    {
        if (auto lock = lock_if_asked(); n == last_n_) {
            return last_result_;
        }
        const Number result = compute_(n);  // without the lock, or one big request stops everybody
        const auto lock = lock_if_asked();
        last_n_ = n;
        last_result_ = result;
        return result;
    }

  private:
    // The lock is let go of when what this returns goes out of scope.
    std::unique_lock<std::mutex> lock_if_asked()
    {
        return guard_ == Guard::mutex ? std::unique_lock(mutex_) : std::unique_lock<std::mutex>();
    }

    const Guard guard_;
    const FibFunction compute_;
    std::mutex mutex_;
    std::atomic<std::uint64_t> answered_ = 0;
    std::atomic<unsigned> last_n_ = 1;
    std::atomic<Number> last_result_ = 1;
};

// The conversation with one client. It owns the client's socket: leaving closes it. (A `try` here
// has the whole function for its block: whatever goes wrong with a client ends in the catch below.)
void handle(tcp::socket client, Rules rules, Shared& shared)
try {
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->is_word) {
                reply = format_reply(shared.answered());
            } else if (request->valid()) {
                reply = format_reply(shared.fib(request->n));
                shared.count();  // before it is sent: whoever has a reply finds it counted
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_lost(std::current_exception());
}

// Nobody joins these threads: each ends with its client, or with the process.
void serve(Listener& listener, Rules rules, Shared& shared)
{
    for (;;) {
        start_thread(handle, listener.accept(), rules, std::ref(shared));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    Options options = parse_options(argc, argv, about, {.guard = true});
    options.rules.word = "count";
    exit_on_signals();
    Listener listener(options);
    Shared shared(options.guard, options.rules.fib);
    serve(listener, options.rules, shared);
}
