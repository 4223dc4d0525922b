// 04_generators.cpp -- one thread for all clients; a conversation is an object that select() wakes.
//
// Changed since 03_process_pool: no threads, no pool, and no generators either. This is a second
//         solution of the lab: it has to keep the same promises, because clients can't tell.
// Buys:   nothing is hidden in a coroutine frame.
// Costs:  a conversation must remember in members where it is.
// Leaves: nothing.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/select.hpp"

#include <map>
#include <string>

using namespace ground;

namespace {

class Conversation {
  public:
    Conversation(tcp::socket client, Rules rules)
        : client_(std::move(client)), log_(client_), rules_(rules), requests_(rules)
    {
    }

    [[nodiscard]] bool wants_room() const noexcept { return !unsent_.empty(); }
    [[nodiscard]] bool ended() const noexcept { return ended_; }

    // The socket can be read or, if wants_room(), written.
    void continue_now()
    {
        if (!wants_room()) {
            const auto size = try_recv(client_, requests_.buffer());
            if (!size) {
                return;
            }
            requests_.received(*size);
        }
        while (send_what_fits()) {
            const auto request = requests_.next();
            if (!request) {
                ended_ = requests_.ended();
                return;
            }
            unsent_ = request->valid() ? format_reply(rules_.fib(request->n)) : request->error;
        }
    }

  private:
    // Whether nothing is left to send.
    bool send_what_fits()
    {
        while (wants_room()) {
            const std::size_t size = try_send(client_, unsent_);
            if (size == 0) {
                return false;
            }
            unsent_.erase(0, size);
        }
        return true;
    }

    tcp::socket client_;
    ConnectionLog log_;
    Rules rules_;
    Requests requests_;
    std::string unsent_;
    bool ended_ = false;
};

class Server {
  public:
    Server(Listener& listener, Rules rules) : listener_(listener), rules_(rules) {}

    void run()
    {
        for (;;) {
            const int listening = listener_.native_handle();
            std::map<int, Conversation*> to_recv{{listening, nullptr}};
            std::map<int, Conversation*> to_send;
            for (auto& [fd, conversation] : conversations_) {
                (conversation.wants_room() ? to_send : to_recv)[fd] = &conversation;
            }
            auto [ready, can_send] = select(to_recv, to_send);
            ready.insert(ready.end(), can_send.begin(), can_send.end());
            for (const int fd : ready) {
                if (fd == listening) {
                    accept_all();
                } else {
                    let_continue(fd);
                }
            }
        }
    }

  private:
    void accept_all()
    {
        while (auto client = listener_.try_accept()) {
            const int fd = client->native_handle();
            if (is_selectable(fd)) {
                conversations_.try_emplace(fd, std::move(*client), rules_);
            } else {
                refuse(*client, "server full");
            }
        }
    }

    void let_continue(int fd)
    {
        const auto found = conversations_.find(fd);
        bool ended = true;
        try {
            found->second.continue_now();
            ended = found->second.ended();
        } catch (...) {
            log_error(std::current_exception());
        }
        if (ended) {
            conversations_.erase(found);
        }
    }

    Listener& listener_;
    Rules rules_;
    std::map<int, Conversation> conversations_;
};

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    Listener listener(options);
    Server(listener, options.rules).run();
}
