// 06b_greenlets.cpp -- one thread for all clients; each conversation has a stack of its own.
//
// Changed since 06_async_sockets: greenlets replace coroutines, and a hub replaces the scheduler.
//         The hub waits with the selector of 04b_callbacks. Any function can pause, at any depth.
// Buys:   handle() waits as in 01_blocking, without co_await. Any function that it calls may wait.
// Costs:  a stack for each client; nothing in the source shows where other greenlets may run.
// Leaves: must a program be rewritten for this? 06c_monkey_patch takes one as it is.

#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/greenlet.hpp"
#include "common/wait/selector.hpp"
#include "common/wait/shared.hpp"
#include "common/wait/socketpair.hpp"

#include <deque>
#include <memory>
#include <tuple>
#include <vector>

using namespace ground;

namespace {

// Runs greenlets one at a time, each until it waits. The hub itself runs in the main greenlet of
// its thread. A greenlet that must wait stores itself with the socket or the future that it waits
// for. Then it switches to the hub. A greenlet that is not running is in one place: in the ready
// queue, or with what it waits for. One thread owns all of this, except the list of greenlets whose
// futures are done.
class Hub {
  public:
    Hub()
    {
        std::tie(poke_, poked_) = socketpair();
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
            try {
                running_->switch_to();
            } catch (...) {
                log_error(std::current_exception());  // only this greenlet ends; others go on
            }
            running_.reset();  // destroys an ended greenlet; a waiting one has been moved away
        }
    }

    // Pauses the calling greenlet until the descriptor is ready. Any function may call this, at any
    // depth.
    void wait_for(int fd, Events events)
    {
        if (!selector_.is_registered(fd)) {
            selector_.register_fd(fd, Events::none, nullptr);
        }
        selector_.modify(fd, events, std::move(running_));
        hub_.switch_to();
    }

    // Pauses the calling greenlet until the future is done.
    void wait_for(const Future<Number>& future)
    {
        if (!future.done()) {
            future.add_done_callback([this, who = std::move(running_)](const auto&) mutable {
                future_done(std::move(who));
            });
            hub_.switch_to();
        }
    }

    // Must be called before a descriptor is closed, if a greenlet has waited for it.
    void forget(int fd)
    {
        if (selector_.is_registered(fd)) {
            selector_.unregister(fd);
        }
    }

  private:
    // Usually called on the pool's thread. Only queues the greenlet and wakes the hub, because the
    // ready queue and the greenlets belong to the hub's thread.
    void future_done(std::unique_ptr<Greenlet> who)
    {
        const Lock lock(mutex_);
        done_.push_back(std::move(who));
        if (done_.size() == 1) {  // if several results come together, only the first has to wake us
            ::send(poke_.get(), "x", 1, 0);
        }
    }

    // The greenlet that a poke wakes. Like any other greenlet, it waits for a socket.
    void future_monitor()
    {
        for (;;) {
            wait_for(poked_.get(), Events::read);
            char x = 0;
            ::recv(poked_.get(), &x, 1, 0);
            const Lock lock(mutex_);
            std::move(done_.begin(), done_.end(), std::back_inserter(ready_));
            done_.clear();
        }
    }

    Greenlet& hub_ = Greenlet::current();
    std::unique_ptr<Greenlet> running_;
    std::deque<std::unique_ptr<Greenlet>> ready_;
    Selector<std::unique_ptr<Greenlet>> selector_;

    Descriptor poke_;  // what is sent here is received at poked_
    Descriptor poked_;
    Mutex mutex_;
    std::vector<std::unique_ptr<Greenlet>> done_;  // guarded by mutex_
};

// A socket whose calls wait in the hub.
class GreenSocket {
  public:
    GreenSocket(tcp::socket socket, Hub& hub) : socket_(std::move(socket)), hub_(&hub) {}
    GreenSocket(GreenSocket&&) = default;
    GreenSocket& operator=(GreenSocket&&) = delete;
    ~GreenSocket()
    {
        if (socket_.is_open()) {
            hub_->forget(socket_.native_handle());
        }
    }

    std::size_t recv(std::span<char> buffer)
    {
        for (;;) {
            hub_->wait_for(socket_.native_handle(), Events::read);
            // epoll can be wrong: then there is nothing to read, and the greenlet waits again.
            if (const auto size = try_recv(socket_, buffer)) {
                return *size;
            }
        }
    }

    void send(std::string_view text)
    {
        while (!text.empty()) {
            const std::size_t size = try_send(socket_, text);
            text.remove_prefix(size);
            if (size == 0) {  // the client does not take its replies
                hub_->wait_for(socket_.native_handle(), Events::write);
            }
        }
    }

    void refuse(std::string_view reason) noexcept { ground::refuse(socket_, reason); }
    tcp::endpoint remote_endpoint() const { return ground::remote_endpoint(socket_); }

  private:
    tcp::socket socket_;
    Hub* hub_;
};

// The names that 01_blocking calls.
std::size_t recv(GreenSocket& socket, std::span<char> buffer) { return socket.recv(buffer); }
void send(GreenSocket& socket, std::string_view text) { socket.send(text); }

// The next client, as soon as there is one.
tcp::socket accept(Listener& listener, Hub& hub)
{
    for (;;) {
        hub.wait_for(listener.stable_handle(), Events::read);
        if (auto client = listener.try_accept()) {
            return std::move(*client);
        }
    }
}

// The conversation with one client. It owns the client's socket: returning closes the socket.
// The `try` covers the whole function: any error with this client ends in the catch below.
void handle(GreenSocket client, Rules rules, Pool& pool, Hub& hub)
try {
    const ConnectionLog log(client);
    Requests requests(rules);
    while (!requests.ended()) {
        requests.received(recv(client, requests.buffer()));
        while (auto request = requests.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                const Future<Number> future = pool.submit(request->n);
                hub.wait_for(future);
                reply = format_reply(future);
            }
            send(client, reply);
        }
    }
} catch (...) {
    log_error(std::current_exception());
}

// Accepts clients while there are descriptors and stacks for them. (The client is shared with its
// greenlet for one reason: if there is no memory for the greenlet, serve() still has the client
// and can refuse it.)
void serve(Listener& listener, Rules rules, Pool& pool, Hub& hub)
{
    for (;;) {
        auto client = std::make_shared<GreenSocket>(accept(listener, hub), hub);
        try {
            hub.spawn([=, &pool, &hub] { handle(std::move(*client), rules, pool, hub); });
        } catch (const std::exception&) {
            client->refuse("server full");
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Hub hub;
    warn_of_limit(options, 10'000);
    Listener listener(options);
    hub.spawn([&] { serve(listener, options.rules, *pool, hub); });
    hub.run();
}
