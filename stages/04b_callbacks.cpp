// 04b_callbacks.cpp -- one thread for all clients; what is ready calls a function of theirs.
//
// Changed since 04_generators: no generators. A conversation is an object whose functions a loop on
//         epoll calls; where it stands, and what it still has to send, it keeps in its members.
// Buys:   no language feature is needed. (10,000 clients, and idle ones for nothing: epoll's gift.)
// Costs:  the conversation in pieces: no line says any more what comes after what.
// Leaves: 04's question. 05_futures answers it for generators, which can still be read.

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

// What is called when something is ready. Whoever throws has ended.
class Callbacks {
  public:
    Callbacks() = default;
    Callbacks(const Callbacks&) = delete;
    Callbacks& operator=(const Callbacks&) = delete;
    virtual ~Callbacks() = default;
    virtual void on_readable() = 0;
    virtual void on_writable() {}
};

// Owns everybody who is registered. Who unregisters himself lives until the next select(): so he
// may do it while he is being called. All of it belongs to one thread.
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
                log_lost(std::current_exception());  // the boundary: nobody else notices
                loop.unregister(key.fd);
            }
        }
    }
}

// The conversation with one client. It owns the client's socket: its end closes it.
class Conversation final : public Callbacks {
  public:
    Conversation(tcp::socket client, Rules rules, Loop& loop)
        : client_(std::move(client)), log_(client_), requests_(rules), rules_(rules), loop_(loop)
    {
    }

    // Called when the client has sent something, or has finished.
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

    // Called when a client that did not take its replies takes some again.
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
    // Sends what the client takes. The rest has to be kept: there is nowhere to wait.
    void send(std::string reply)
    {
        if (replies_.empty()) {
            reply.erase(0, try_send(client_, reply));
        }
        if (!reply.empty()) {
            replies_.push(std::move(reply));
        }
    }

    // Decides which function is called next; both of them have to end with this. A client that does
    // not take its replies is not read any further: else its queue would grow as long as it sends.
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
    std::queue<std::string> replies_;  // not yet sent, in their order
};

// Takes in as many clients as there are descriptors.
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
                refuse(*client, "server full");  // the kernel has no memory for one more
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
    loop.register_fd(listener.lasting_handle(), Events::read,
                     std::make_unique<Newcomers>(listener, options.rules, loop));
    run(loop);
}
