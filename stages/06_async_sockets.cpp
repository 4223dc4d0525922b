// 06_async_sockets.cpp -- one thread for all clients, and no yield in sight.
//
// Changed since 05_futures: coroutines for generators. They can await each other, so recv() and
//         send() can wait on behalf of the conversation. The scheduler does not see the difference.
// Buys:   the conversation reads like 01_blocking's again, with a co_await where it may pause.
// Costs:  a frame on the heap for each call that is under way.
// Leaves: who looks after a scheduler, and goes beyond select()? In 07_coroutines a library does.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/coroutine.hpp"
#include "common/wait/select.hpp"

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>

#include <deque>
#include <map>
#include <mutex>
#include <variant>

using namespace ground;

namespace {

// What a task can wait for: bytes to read from a socket, room to write to it, a result.
struct ReadReady {
    explicit ReadReady(auto& socket) : fd(socket.native_handle()) {}
    int fd;
};
struct WriteReady {
    explicit WriteReady(auto& socket) : fd(socket.native_handle()) {}
    int fd;
};
struct FutureDone {
    explicit FutureDone(const Future<Number>& f) : future(&f) {}
    const Future<Number>* future;
};
using Wait = std::variant<ReadReady, WriteReady, FutureDone>;
using Task = Coroutine<Wait>;

// Runs tasks, one at a time and each until it waits. A task is always in one place: in the ready
// queue, or with what it waits for. All of it belongs to one thread, but for the list of tasks
// whose futures are done.
class Scheduler {
  public:
    Scheduler()
    {
        asio::local::connect_pair(poke_, poked_);
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
                if (const Wait* const wait = task.next()) {
                    park(*wait, std::move(task));
                }
            } catch (...) {
                log_lost(std::current_exception());  // the boundary: no other task notices
            }
        }
    }

  private:
    // Leaves the task with what it waits for. (A task that waits for nothing has ended, or failed:
    // run() drops it, and its socket with it.)
    void park(const Wait& wait, Task task)
    {
        if (const auto* read = std::get_if<ReadReady>(&wait)) {
            recv_wait_.emplace(read->fd, std::move(task));
        } else if (const auto* write = std::get_if<WriteReady>(&wait)) {
            send_wait_.emplace(write->fd, std::move(task));
        } else if (const auto* done = std::get_if<FutureDone>(&wait)) {
            done->future->add_done_callback([this, task = std::move(task)](const auto&) mutable {
                future_done(std::move(task));
            });
        }
    }

    // Called on the pool's thread, as a rule. Queues and pokes, nothing more: the ready queue and
    // the tasks belong to the scheduler's thread.
    void future_done(Task task)
    {
        const std::lock_guard lock(mutex_);
        done_.push_back(std::move(task));
        if (done_.size() == 1) {  // of many results at once only the first needs to wake us
            poke_.send(asio::buffer("x", 1));
        }
    }

    // The task that is poked, like any other a task that waits for a socket.
    Task future_monitor()
    {
        for (;;) {
            co_await ReadReady(poked_);
            char x = 0;
            poked_.receive(asio::buffer(&x, 1));
            const std::lock_guard lock(mutex_);
            std::move(done_.begin(), done_.end(), std::back_inserter(ready_));
            done_.clear();
        }
    }

    std::deque<Task> ready_;
    std::map<int, Task> recv_wait_;
    std::map<int, Task> send_wait_;

    asio::io_context context_;
    asio::local::stream_protocol::socket poke_{context_};
    asio::local::stream_protocol::socket poked_{context_};
    std::mutex mutex_;
    std::vector<Task> done_;  // guarded by mutex_
};

// A socket with two calls that wait on behalf of whoever awaits them. In all else it is the socket
// that it was.
class AsyncSocket : public tcp::socket {
  public:
    explicit AsyncSocket(tcp::socket socket) : tcp::socket(std::move(socket)) {}

    Coroutine<Wait, std::size_t> recv(std::span<char> buffer)
    {
        for (;;) {
            co_await ReadReady(*this);
            if (const auto size = try_recv(*this, buffer)) {
                co_return *size;
            }
        }
    }

    Task send(std::string text)
    {
        while (!text.empty()) {
            const std::size_t size = try_send(*this, text);
            text.erase(0, size);
            if (size == 0) {  // the peer does not take what we send
                co_await WriteReady(*this);
            }
        }
    }
};

// The conversation with one client. It owns the client's socket: leaving closes it.
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
                if (!future.done()) {
                    co_await FutureDone(future);
                }
                reply = format_reply(future);
            }
            co_await client.send(reply);
        }
    }
}

// Takes in as many clients as select() can hold, and tells the others.
Task serve(Listener& listener, Rules rules, Pool& pool, Scheduler& scheduler)
{
    for (;;) {
        co_await ReadReady(listener);
        while (auto client = listener.try_accept()) {
            if (is_selectable(client->native_handle())) {
                scheduler.spawn(handle(AsyncSocket(std::move(*client)), rules, pool));
            } else {
                refuse(*client, "server full");
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{"06_async_sockets",
                      "One thread for all clients; the waiting is hidden in an AsyncSocket.\n"
                      "Read handle() beside that of 01_blocking; watch it serve like 05_futures.",
                      true};
    const Options options = parse_options(argc, argv, about);
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Listener listener(options);
    Scheduler scheduler;
    scheduler.spawn(serve(listener, options.rules, *pool, scheduler));
    scheduler.run();
}
