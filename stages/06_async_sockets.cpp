// 06_async_sockets.cpp -- one thread for all clients, and a conversation that reads like 01's.
//
// Changed since 05_futures: coroutines, not generators. They can await each other, so accept(),
//         recv() and send() can wait on behalf of their callers. The scheduler sees no difference.
// Buys:   each call that may pause is one line again, as in 01_blocking. co_await marks it.
// Costs:  a coroutine frame on the heap for each call in progress.
// Leaves: a scheduler to maintain, and select()'s limits. 07_coroutines has a library instead.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/coroutine.hpp"
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
using Task = Coroutine<Wait>;

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
            co_await ReadReady{poked_.get()};
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

// A socket whose calls wait on behalf of their callers.
class AsyncSocket {
  public:
    explicit AsyncSocket(tcp::socket socket) : socket_(std::move(socket)) {}

    Coroutine<Wait, std::size_t> recv(std::span<char> buffer)
    {
        for (;;) {
            co_await ReadReady{socket_.native_handle()};
            // select() can be wrong: then there is nothing to read, and the task waits again.
            if (const auto size = try_recv(socket_, buffer)) {
                co_return *size;
            }
        }
    }

    Task send(std::string text)
    {
        while (!text.empty()) {
            const std::size_t size = try_send(socket_, text);
            text.erase(0, size);
            if (size == 0) {  // the client does not take its replies
                co_await WriteReady{socket_.native_handle()};
            }
        }
    }

    tcp::endpoint remote_endpoint() const { return ground::remote_endpoint(socket_); }

  private:
    tcp::socket socket_;
};

// The next client, as soon as there is one.
Coroutine<Wait, tcp::socket> accept(Listener& listener)
{
    for (;;) {
        if (auto client = listener.try_accept()) {
            co_return std::move(*client);
        }
        co_await ReadReady{listener.native_handle()};
    }
}

// The conversation with one client. It owns the client's socket: returning closes the socket.
Task handle(AsyncSocket client, Rules rules, Pool& pool)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(co_await client.recv(requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                co_await FutureDone{future};
                reply = format_reply(future);
            }
            co_await client.send(reply);
        }
    }
}

// Accepts as many clients as select() can hold, and refuses the others.
Task serve(Listener& listener, Rules rules, Pool& pool, Scheduler& scheduler)
{
    for (;;) {
        tcp::socket client = co_await accept(listener);
        if (is_selectable(client.native_handle())) {
            scheduler.spawn(handle(AsyncSocket(std::move(client)), rules, pool));
        } else {
            refuse(client, "server full");
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
