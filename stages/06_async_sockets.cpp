// 06_async_sockets.cpp -- one thread for all clients, and no yield in sight.
//
// Changed since 05_futures: the waiting moves into AsyncSocket. Tasks await tasks, so recv() and
//         send() wait on behalf of whoever calls them; the scheduler resumes the innermost one.
// Buys:   the conversation reads like 01_blocking's again, with a co_await where it may pause.
// Costs:  a frame on the heap for each call that is under way.
// Leaves: who keeps up this scheduler, and goes beyond select()? 07_coroutines lets a library do
// it.

#include "common/log.hpp"
#include "common/net.hpp"
#include "common/options.hpp"
#include "common/pool.hpp"
#include "common/protocol.hpp"
#include "common/select.hpp"
#include "common/signals.hpp"
#include "common/task.hpp"

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>

#include <coroutine>
#include <deque>
#include <map>
#include <mutex>

using namespace ground;

namespace {

// Resumes tasks, one at a time and each until it waits. A task is always in one place: in the ready
// queue, or with what it waits for. All of it belongs to one thread.
class Scheduler {
  public:
    using Handle = std::coroutine_handle<>;  // a task's innermost coroutine

    Scheduler()
    {
        asio::local::connect_pair(poke_, poked_);
        spawn(future_monitor());
    }

    void spawn(Task<> task) { ready_.push_back(attend(std::move(task)).handle()); }

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
            const Handle task = ready_.front();
            ready_.pop_front();
            task.resume();
        }
    }

    void await_readable(int fd, Handle task) { recv_wait_.emplace(fd, task); }
    void await_writable(int fd, Handle task) { send_wait_.emplace(fd, task); }

    // Called on the pool's thread, or on ours if the future was done at once. Queues and pokes,
    // nothing more: the ready queue and the tasks belong to the scheduler's thread.
    void future_done(Handle task)
    {
        const std::lock_guard lock(mutex_);
        done_.push_back(task);
        if (done_.size() == 1) {  // of many results at once only the first needs to wake us
            poke_.send(asio::buffer("x", 1));
        }
    }

  private:
    // The outermost coroutine of each task, and the boundary: no other task notices.
    static Detached attend(Task<> task)
    {
        try {
            co_await std::move(task);
        } catch (...) {
            log_lost(std::current_exception());
        }
    }

    // The task that is poked.
    Task<> future_monitor();

    std::deque<Handle> ready_;
    std::map<int, Handle> recv_wait_;
    std::map<int, Handle> send_wait_;

    asio::io_context context_;
    asio::local::stream_protocol::socket poke_{context_};
    asio::local::stream_protocol::socket poked_{context_};
    std::mutex mutex_;
    std::vector<Handle> done_;  // guarded by mutex_
};

// What a task can wait for: awaiting one of these leaves the task with the scheduler.
struct ReadReady : std::suspend_always {
    ReadReady(Scheduler& s, auto& socket) : scheduler(s), fd(socket.native_handle()) {}
    void await_suspend(Scheduler::Handle task) { scheduler.await_readable(fd, task); }
    Scheduler& scheduler;
    int fd;
};
struct WriteReady : std::suspend_always {
    WriteReady(Scheduler& s, auto& socket) : scheduler(s), fd(socket.native_handle()) {}
    void await_suspend(Scheduler::Handle task) { scheduler.await_writable(fd, task); }
    Scheduler& scheduler;
    int fd;
};
struct FutureDone : std::suspend_always {
    FutureDone(Scheduler& s, const Future<Number>& f) : scheduler(s), future(f) {}
    bool await_ready() const { return future.done(); }
    void await_suspend(Scheduler::Handle task)
    {
        future.add_done_callback([this, task](const auto&) { scheduler.future_done(task); });
    }
    Scheduler& scheduler;
    const Future<Number>& future;
};

Task<> Scheduler::future_monitor()
{
    for (;;) {
        co_await ReadReady(*this, poked_);
        char x = 0;
        poked_.receive(asio::buffer(&x, 1));
        const std::lock_guard lock(mutex_);
        std::move(done_.begin(), done_.end(), std::back_inserter(ready_));
        done_.clear();
    }
}

// A socket with two calls that wait without blocking. In all else it is the socket that it was.
class AsyncSocket : public tcp::socket {
  public:
    AsyncSocket(tcp::socket socket, Scheduler& scheduler)
        : tcp::socket(std::move(socket)), scheduler_(scheduler)
    {
    }

    Task<std::size_t> recv(std::span<char> buffer)
    {
        for (;;) {
            co_await ReadReady(scheduler_, *this);
            if (const auto size = try_recv(*this, buffer)) {
                co_return *size;
            }
        }
    }

    Task<> send(std::string text)
    {
        while (!text.empty()) {
            co_await WriteReady(scheduler_, *this);
            text.erase(0, try_send(*this, text));
        }
    }

  private:
    Scheduler& scheduler_;
};

// The conversation with one client. It owns the client's socket: leaving closes it.
Task<> handle(AsyncSocket client, Rules rules, Pool& pool, Scheduler& scheduler)
{
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(co_await client.recv(requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                co_await FutureDone(scheduler, future);
                reply = format_reply(future);
            }
            co_await client.send(reply);
        }
    }
}

// As many clients as select() can hold; it would not do to find that out in handle().
Task<> serve(Listener& listener, Rules rules, Pool& pool, Scheduler& scheduler)
{
    for (;;) {
        co_await ReadReady(scheduler, listener);
        auto client = listener.try_accept();
        if (client && is_selectable(client->native_handle())) {
            AsyncSocket socket(std::move(*client), scheduler);
            scheduler.spawn(handle(std::move(socket), rules, pool, scheduler));
        } else if (client) {
            refuse(*client, "server full");
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
