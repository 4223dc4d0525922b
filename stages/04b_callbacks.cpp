// 04b_callbacks.cpp -- one thread for all clients; a loop calls a function for each event.
//
// Changed since 04_generators: no generators. A conversation is an object. A loop on epoll calls
//         its functions; its members say where it stands and what it still has to send.
// Buys:   no language feature is needed. (It also holds 10,000 clients, because it uses epoll.)
// Costs:  the conversation is in pieces: no function shows what comes after what.
// Leaves: can one thread wait for computing, too? 05_futures shows it with generators, because a
//         reader can follow these from top to bottom.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/selector.hpp"

#include <memory>
#include <queue>

using namespace ground;

namespace {

// What the loop calls when a descriptor is ready. An exception ends the conversation.
class Callbacks {
  public:
    Callbacks() = default;
    Callbacks(const Callbacks&) = delete;
    Callbacks& operator=(const Callbacks&) = delete;
    virtual ~Callbacks() = default;
    virtual void on_readable() = 0;
    virtual void on_writable() {}
};

// Owns all registered objects. An object may unregister itself while one of its functions runs,
// because it survives until the next select(). One thread owns all of this.
using Loop = Selector<std::unique_ptr<Callbacks>>;

void run(Loop& loop)
{
    for (;;) {
        for (const auto [key, events] : loop.select()) {
            try {
                if (contains(events, Events::read)) {
                    key.data->on_readable();
                } else {
                    key.data->on_writable();
                }
            } catch (...) {
                log_error(std::current_exception());  // ends only this conversation
                loop.unregister(key.fd);
            }
        }
    }
}

// The conversation with one client. It owns the client's socket: its destructor closes the socket.
class Conversation final : public Callbacks {
  public:
    Conversation(tcp::socket client, Rules rules, Loop& loop)
        : client_(std::move(client)), log_(client_), requests_(rules), rules_(rules), loop_(loop)
    {
    }

    // Called when the client has sent something, or will send nothing more.
    void on_readable() override
    {
        if (const auto size = try_recv(client_, requests_.buffer())) {
            requests_.received(*size);
        }
        while (auto request = requests_.next()) {
            std::string reply = request->error;
            if (request->valid()) {
                reply = format_reply(rules_.fib(request->n));
            }
            send(std::move(reply));
        }
        wait_for_more();
    }

    // Called when there is room for replies again, after a time without room.
    void on_writable() override
    {
        while (!replies_.empty()) {
            std::string& reply = replies_.front();
            reply.erase(0, try_send(client_, reply));
            if (!reply.empty()) {
                break;
            }
            replies_.pop();
        }
        wait_for_more();
    }

  private:
    // Sends what the client takes. Keeps the rest, because a callback cannot wait.
    void send(std::string reply)
    {
        if (replies_.empty()) {
            reply.erase(0, try_send(client_, reply));
        }
        if (!reply.empty()) {
            replies_.push(std::move(reply));
        }
    }

    // Decides which function is called next: on_readable() and on_writable() must call this last.
    // While replies wait, the client is not read from. Otherwise the queue would grow for as long
    // as the client sends.
    void wait_for_more()
    {
        const int fd = client_.native_handle();
        if (!replies_.empty()) {
            loop_.modify(fd, Events::write);
        } else if (!requests_.ended()) {
            loop_.modify(fd, Events::read);
        } else {
            loop_.unregister(fd);
        }
    }

    tcp::socket client_;
    ConnectionLog log_;
    Requests requests_;
    Rules rules_;
    Loop& loop_;
    std::queue<std::string> replies_;  // not yet sent
};

// Accepts as many clients as there are descriptors.
class Newcomers final : public Callbacks {
  public:
    Newcomers(Listener& listener, Rules rules, Loop& loop)
        : listener_(listener), rules_(rules), loop_(loop)
    {
    }

    void on_readable() override
    {
        while (auto client = listener_.try_accept()) {
            try {
                auto& key = loop_.register_fd(client->native_handle(), Events::read, nullptr);
                key.data = std::make_unique<Conversation>(std::move(*client), rules_, loop_);
            } catch (const std::system_error&) {
                refuse(*client, "server full");  // the kernel has no memory for another
            }
        }
    }

  private:
    Listener& listener_;
    Rules rules_;
    Loop& loop_;
};

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    warn_of_limit(options, 10'000);
    Listener listener(options);
    Loop loop;
    loop.register_fd(listener.stable_handle(), Events::read,
                     std::make_unique<Newcomers>(listener, options.rules, loop));
    run(loop);
}
