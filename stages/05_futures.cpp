// 05_futures.cpp -- one thread for all clients; it waits for a pool as it waits for sockets.
//
// Changed since 04_generators: a task can also yield a future. The future's callback runs on
//         another thread. It only queues the task and pokes a socketpair that select() watches.
// Buys:   big requests no longer stop the others, unless every worker computes a big one. One
//         thread still runs all connections.
// Costs:  one lock, and a wake-up through the kernel each time that results come in.
// Leaves: the yields clutter the conversation. 06_async_sockets hides them.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/generator.hpp"
#include "common/wait/select.hpp"
#include "common/wait/shared.hpp"
#include "common/wait/socketpair.hpp"

#include <deque>
#include <map>
#include <tuple>
#include <variant>

using namespace ground;

namespace {

// What a task can wait for: bytes to read from a socket, room to write to it, a result.
struct ReadReady {
    int fd;
};
struct WriteReady {
    int fd;
};
struct FutureDone {
    const Future<Number>& future;
};
using Wait = std::variant<ReadReady, WriteReady, FutureDone>;
using Task = Generator<Wait>;

// Runs tasks one at a time, each until it waits. A task that is not running is in one place: in the
// ready queue, or with what it waits for. One thread owns all of this, except the list of tasks
// whose futures are done.
class Scheduler {
  public:
    Scheduler()
    {
        std::tie(poke_, poked_) = socketpair();
        spawn(future_monitor());
    }

    void spawn(Task task) { ready_.push_back(std::move(task)); }

    void run()
    {
        for (;;) {
            while (ready_.empty()) {
                const auto [can_recv, can_send] = select(recv_wait_, send_wait_);
                for (const int fd : can_recv) {
                    ready_.push_back(std::move(recv_wait_.extract(fd).mapped()));
                }
                for (const int fd : can_send) {
                    ready_.push_back(std::move(send_wait_.extract(fd).mapped()));
                }
            }
            Task task = std::move(ready_.front());
            ready_.pop_front();
            try {
                if (const auto wait = task.next()) {
                    std::visit([&](auto what) { park(what, std::move(task)); }, *wait);
                }
            } catch (...) {
                log_error(std::current_exception());  // ends only this task; the others go on
            }
        }
    }

  private:
    // Stores the task with what it waits for. (A task that has ended or failed waits for nothing,
    // so run() destroys it. That closes its socket.)
    void park(ReadReady wait, Task task) { recv_wait_.emplace(wait.fd, std::move(task)); }
    void park(WriteReady wait, Task task) { send_wait_.emplace(wait.fd, std::move(task)); }
    void park(FutureDone wait, Task task)
    {
        if (wait.future.done()) {  // as with --pool inline: no thread will poke us
            ready_.push_back(std::move(task));
            return;
        }
        wait.future.add_done_callback(
            [this, task = std::move(task)](const auto&) mutable { future_done(std::move(task)); });
    }

    // Usually called on the pool's thread. Only queues the task and wakes the scheduler, because
    // the ready queue and the tasks belong to the scheduler's thread.
    void future_done(Task task)
    {
        const Lock lock(mutex_);
        done_.push_back(std::move(task));
        if (done_.size() == 1) {  // if several results come together, only the first has to wake us
            ::send(poke_.get(), "x", 1, 0);
        }
    }

    // The task that a poke wakes. Like any other task, it waits for a socket.
    Task future_monitor()
    {
        for (;;) {
            co_yield ReadReady{poked_.get()};
            char x = 0;
            ::recv(poked_.get(), &x, 1, 0);
            const Lock lock(mutex_);
            std::move(done_.begin(), done_.end(), std::back_inserter(ready_));
            done_.clear();
        }
    }

    std::deque<Task> ready_;
    std::map<int, Task> recv_wait_;
    std::map<int, Task> send_wait_;

    Descriptor poke_;  // what is sent here is received at poked_
    Descriptor poked_;
    Mutex mutex_;
    std::vector<Task> done_;  // guarded by mutex_
};

// The conversation with one client. It owns the client's socket: returning closes the socket.
Task handle(tcp::socket client, Rules rules, Pool& pool)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        co_yield ReadReady{client.native_handle()};
        // select() can be wrong: then there is nothing to read, and the task waits again.
        if (const auto size = try_recv(client, requests.buffer())) {
            requests.received(*size);
        }
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                co_yield FutureDone{future};
                reply = format_reply(future);
            }
            while (!reply.empty()) {
                const std::size_t size = try_send(client, reply);
                reply.erase(0, size);
                if (size == 0) {  // the client does not take its replies
                    co_yield WriteReady{client.native_handle()};
                }
            }
        }
    }
}

// Accepts as many clients as select() can hold, and refuses the others.
Task serve(Listener& listener, Rules rules, Pool& pool, Scheduler& scheduler)
{
    for (;;) {
        co_yield ReadReady{listener.native_handle()};
        while (auto client = listener.try_accept()) {
            if (is_selectable(client->native_handle())) {
                scheduler.spawn(handle(std::move(*client), rules, pool));
            } else {
                refuse(*client, "server full");
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Listener listener(options);
    Scheduler scheduler;
    scheduler.spawn(serve(listener, options.rules, *pool, scheduler));
    scheduler.run();
}
