// 02d_shared_state.cpp -- one thread per client, and numbers that all of them share.
//
// Changed since 02_threads: the server counts the requests that it has answered and remembers the
//         last result, for all clients. `count` asks how many; --guard chooses the protection.
// Buys:   the last result is not computed again if the next client asks for the same number.
// Costs:  care with every shared number: without a guard, updates are lost and replies are wrong.
// Leaves: can a server do without locks? With one thread for all clients, as in 04_generators.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/server/start_thread.hpp"
#include "common/wait/shared.hpp"

#include <functional>

using namespace ground;

namespace {

// What all conversations share. Any thread may call these functions, at any time.
//
// Every number is atomic: a thread reads a value that some thread has written, never a mixture of
// two values. But between a thread's read and its next write, another thread may write.
class Shared {
  public:
    Shared(Guard guard, FibFunction compute) : guard_(guard), compute_(compute) {}

    void count()
    {
        if (guard_ == Guard::atomic) {
            answered_.fetch_add(1);  // one step: no other thread can come between
            return;
        }
        const auto lock = lock_if_mutex();
        answered_.store(answered_.load() + 1);  // two steps: a read and a write
    }

    std::uint64_t answered() const { return answered_.load(); }

    // last_n_ and last_result_ belong together. Each is atomic, but only the lock keeps them
    // consistent.
    Number fib(unsigned n)
    {
        if (auto lock = lock_if_mutex(); n == last_n_.load()) {
            return last_result_.load();
        }
        const Number result = compute_(n);  // unlocked: a big request must not delay others
        const auto lock = lock_if_mutex();
        last_n_.store(n);
        last_result_.store(result);
        return result;
    }

  private:
    // The lock is released when the returned object goes out of scope.
    Lock lock_if_mutex() { return guard_ == Guard::mutex ? Lock(mutex_) : Lock(); }

    const Guard guard_;
    const FibFunction compute_;
    Mutex mutex_;
    Atomic<std::uint64_t> answered_ = 0;
    Atomic<unsigned> last_n_ = 1;
    Atomic<Number> last_result_ = 1;
};

// The conversation with one client. It owns the client's socket: returning closes the socket.
// The `try` covers the whole function: any error with this client ends in the catch below.
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
                shared.count();  // before send(): `count` includes this request
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

// These threads are never joined: each ends with its client, or with the process.
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
