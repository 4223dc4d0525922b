// 06b_greenlets.cpp -- one thread for all clients; each conversation has a stack of its own.
//
// Changed since 06_async_sockets: greenlets for coroutines, a hub for the scheduler, and the hub
//         waits with the selector of 04b_callbacks. Any function can pause, in any depth, unmarked.
// Buys:   handle() is 03_process_pool's to the letter, and but for the pool 01_blocking's.
// Costs:  a stack for each client; nothing in the source says where others may run.
// Leaves: must a program be rewritten for this? 06c_monkey_patch takes it as it is.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/greenlet.hpp"
#include "common/wait/selector.hpp"

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>

#include <deque>
#include <memory>
#include <mutex>

using namespace ground;

namespace {

// Runs greenlets, one at a time and each until it waits. It runs in one itself, the main one of its
// thread: who has to wait leaves himself where he waits and switches to the hub. A greenlet is
// always in one place: it is running, in the ready queue, or with what it waits for. All of it
// belongs to one thread, but for the list of those whose futures are done.
class Hub {
  public:
    Hub()
    {
        asio::local::connect_pair(poke_, poked_);
        spawn([this] { future_monitor(); });
    }

    template <typename Body>
    void spawn(Body body)
    {
        ready_.push_back(std::make_unique<Greenlet>(std::move(body), hub_));
    }

    void run()
    {
        for (;;) {
            while (ready_.empty()) {
                for (const auto [key, events] : selector_.select()) {
                    selector_.modify(key.fd, Events::none);
                    ready_.push_back(std::move(key.data));
                }
            }
            running_ = std::move(ready_.front());
            ready_.pop_front();
            running_->switch_to();
            running_.reset();  // if it has ended; else it is not there any more
        }
    }

    // Pauses who calls until the descriptor is ready. That may be any function, however deep.
    void wait_for(int fd, Events events)
    {
        if (!selector_.is_registered(fd)) {
            selector_.register_fd(fd, Events::none, nullptr);
        }
        selector_.modify(fd, events, std::move(running_));
        hub_.switch_to();
    }

    // Pauses who calls until the future is done.
    void wait_for(const Future<Number>& future)
    {
        if (!future.done()) {
            future.add_done_callback([this, who = std::move(running_)](const auto&) mutable {
                future_done(std::move(who));
            });
            hub_.switch_to();
        }
    }

    // To be called before a descriptor that has been waited for is closed.
    void forget(int fd)
    {
        if (selector_.is_registered(fd)) {
            selector_.unregister(fd);
        }
    }

  private:
    // Called on the pool's thread, as a rule. Queues and pokes, nothing more: the ready queue and
    // the greenlets belong to the hub's thread.
    void future_done(std::unique_ptr<Greenlet> who)
    {
        const std::lock_guard lock(mutex_);
        done_.push_back(std::move(who));
        if (done_.size() == 1) {  // of many results at once only the first needs to wake us
            poke_.send(asio::buffer("x", 1));
        }
    }

    // The greenlet that is poked, like any other one that waits for a socket.
    void future_monitor()
    {
        for (;;) {
            wait_for(poked_.native_handle(), Events::read);
            char x = 0;
            poked_.receive(asio::buffer(&x, 1));
            const std::lock_guard lock(mutex_);
            std::move(done_.begin(), done_.end(), std::back_inserter(ready_));
            done_.clear();
        }
    }

    Greenlet& hub_ = Greenlet::current();
    std::unique_ptr<Greenlet> running_;
    std::deque<std::unique_ptr<Greenlet>> ready_;
    Selector<std::unique_ptr<Greenlet>> selector_;

    asio::io_context context_;
    asio::local::stream_protocol::socket poke_{context_};
    asio::local::stream_protocol::socket poked_{context_};
    std::mutex mutex_;
    std::vector<std::unique_ptr<Greenlet>> done_;  // guarded by mutex_
};

// A socket that is waited for in the hub, and a recv() and a send() for it that look like those of
// 01_blocking.
class GreenSocket : public tcp::socket {
  public:
    GreenSocket(tcp::socket socket, Hub& h) : tcp::socket(std::move(socket)), hub(&h) {}
    GreenSocket(GreenSocket&&) = default;
    ~GreenSocket()
    {
        if (is_open()) {
            hub->forget(native_handle());
        }
    }

    Hub* hub;
};

std::size_t recv(GreenSocket& socket, std::span<char> buffer)
{
    for (;;) {
        socket.hub->wait_for(socket.native_handle(), Events::read);
        if (const auto size = try_recv(socket, buffer)) {
            return *size;
        }
    }
}

void send(GreenSocket& socket, std::string_view text)
{
    while (!text.empty()) {
        const std::size_t size = try_send(socket, text);
        text.remove_prefix(size);
        if (size == 0) {  // the peer does not take what we send
            socket.hub->wait_for(socket.native_handle(), Events::write);
        }
    }
}

// The listener, and the pool, which look like those of 03_process_pool: who asks them waits in the
// hub, and gets what is there.
struct GreenListener {
    GreenSocket accept()
    {
        for (;;) {
            hub.wait_for(listener.native_handle(), Events::read);
            if (auto client = listener.try_accept()) {
                return {std::move(*client), hub};
            }
        }
    }

    Listener& listener;
    Hub& hub;
};

struct GreenPool {
    Future<Number> submit(unsigned n)
    {
        Future<Number> future = pool.submit(n);
        hub.wait_for(future);
        return future;
    }

    Pool& pool;
    Hub& hub;
};

// The conversation with one client. It owns the client's socket: leaving closes it.
void handle(GreenSocket client, Rules rules, GreenPool& pool)
try {
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                reply = format_reply(future);
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_lost(std::current_exception());  // the boundary: what goes wrong with a client ends here
}

// Nobody joins these greenlets: each ends with its client, or with the process. The socket is
// shared with the new greenlet only so that it is still here to say no if there is no new greenlet.
void serve(GreenListener& listener, Rules rules, GreenPool& pool, Hub& hub)
{
    for (;;) {
        auto client = std::make_shared<GreenSocket>(listener.accept());
        try {
            hub.spawn([client, rules, &pool] { handle(std::move(*client), rules, pool); });
        } catch (const std::exception&) {
            refuse(*client, "server full, no more stacks");
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const About about{"06b_greenlets",
                      "One thread for all clients; each conversation has a stack of its own.\n"
                      "Read handle() beside that of 01_blocking; watch it hold 10,000 clients.",
                      true};
    const Options options = parse_options(argc, argv, about);
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Hub hub;
    warn_of_limit(options, 10'000);
    Listener listener(options);
    GreenListener green_listener{listener, hub};
    GreenPool green_pool{*pool, hub};
    hub.spawn([&] { serve(green_listener, options.rules, green_pool, hub); });
    hub.run();
}
