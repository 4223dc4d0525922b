// 05_futures.cpp -- one thread for all clients; a callback writes into a pipe whose result is there.
//
// Changed since 04_generators: a second solution of the lab. It has no lock and no list of tasks:
//         the pipe is the queue, and what is in it is the number of the client's descriptor.
// Buys:   the kernel keeps what two threads share.
// Costs:  a system call for each result, even if the scheduler is awake.
// Leaves: nothing.

#include "common/base/pipe.hpp"
#include "common/compute/pool.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/select.hpp"

#include <array>
#include <map>
#include <optional>
#include <string>

using namespace ground;

namespace {

// What a conversation waits for.
enum class Waits { to_read, to_write, for_result, for_nothing };

class Conversation {
  public:
    Conversation(tcp::socket client, Rules rules, Pool& pool, int pipe)
        : client_(std::move(client)), log_(client_), requests_(rules), pool_(pool), pipe_(pipe)
    {
    }

    [[nodiscard]] Waits waits() const noexcept { return waits_; }

    // What it has waited for has happened.
    void continue_now()
    {
        if (waits_ == Waits::for_result) {
            unsent_ = format_reply(*future_);
            future_.reset();
        } else if (waits_ == Waits::to_read) {
            const auto size = try_recv(client_, requests_.buffer());
            if (!size) {
                return;
            }
            requests_.received(*size);
        }
        while (send_what_fits()) {
            const auto request = requests_.next();
            if (!request) {
                waits_ = requests_.ended() ? Waits::for_nothing : Waits::to_read;
                return;
            }
            if (!request->valid()) {
                unsent_ = request->error;
                continue;
            }
            future_ = pool_.submit(request->n);
            if (!future_->done()) {
                waits_ = Waits::for_result;
                wake_when_done();
                return;
            }
            unsent_ = format_reply(*future_);
        }
    }

  private:
    // The callback runs on the pool's thread. A conversation that waits for a result is not closed,
    // so the number still means it. The pipe never fills up: there is one number for each of these
    // conversations, of which select() allows 1,024.
    void wake_when_done()
    {
        future_->add_done_callback([fd = client_.native_handle(), pipe = pipe_](const auto&) {
            [[maybe_unused]] const auto size = ::write(pipe, &fd, sizeof fd);
        });
    }

    // Whether nothing is left to send.
    bool send_what_fits()
    {
        while (!unsent_.empty()) {
            const std::size_t size = try_send(client_, unsent_);
            if (size == 0) {
                waits_ = Waits::to_write;
                return false;
            }
            unsent_.erase(0, size);
        }
        return true;
    }

    tcp::socket client_;
    ConnectionLog log_;
    Requests requests_;
    Pool& pool_;
    int pipe_;
    Waits waits_ = Waits::to_read;
    std::optional<Future<Number>> future_;
    std::string unsent_;
};

class Server {
  public:
    Server(Listener& listener, Rules rules, Pool& pool)
        : listener_(listener), rules_(rules), pool_(pool)
    {
    }

    void run()
    {
        for (;;) {
            const int listening = listener_.native_handle();
            const int results = results_.read_end.get();
            std::map<int, Conversation*> to_recv{{listening, nullptr}, {results, nullptr}};
            std::map<int, Conversation*> to_send;
            for (auto& [fd, conversation] : conversations_) {
                if (conversation.waits() == Waits::to_read) {
                    to_recv[fd] = &conversation;
                } else if (conversation.waits() == Waits::to_write) {
                    to_send[fd] = &conversation;
                }
            }
            auto [ready, can_send] = select(to_recv, to_send);
            ready.insert(ready.end(), can_send.begin(), can_send.end());
            for (const int fd : ready) {
                if (fd == listening) {
                    accept_all();
                } else if (fd == results) {
                    take_results();
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
                conversations_.try_emplace(fd, std::move(*client), rules_, pool_,
                                           results_.write_end.get());
            } else {
                refuse(*client, "server full");
            }
        }
    }

    void take_results()
    {
        std::array<int, 256> whose{};
        const auto size = ::read(results_.read_end.get(), whose.data(), sizeof whose);
        for (std::size_t i = 0; i < static_cast<std::size_t>(size) / sizeof(int); ++i) {
            let_continue(whose.at(i));
        }
    }

    void let_continue(int fd)
    {
        const auto found = conversations_.find(fd);
        bool ended = true;
        try {
            found->second.continue_now();
            ended = found->second.waits() == Waits::for_nothing;
        } catch (...) {
            log_error(std::current_exception());
        }
        if (ended) {
            conversations_.erase(found);
        }
    }

    Listener& listener_;
    Rules rules_;
    Pool& pool_;
    Pipe results_;
    std::map<int, Conversation> conversations_;
};

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about, {.pool = true});
    const auto pool = make_pool(options);  // forks, so it comes before threads and sockets
    exit_on_signals();
    Listener listener(options);
    Server(listener, options.rules, *pool).run();
}
