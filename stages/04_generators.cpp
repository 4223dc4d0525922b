// 04_generators.cpp -- one thread for all clients; a scheduler on select() resumes ready tasks.
//
// Changed since 03_process_pool: no threads, no pool. handle() and serve() are generators: they
//         yield a socket and wait for it. A scheduler resumes them when select() reports it ready.
// Buys:   hundreds of clients on one thread, without a lock, because tasks switch only at a yield.
// Costs:  one big request stops all clients. select() holds 1,024 sockets at most, and each call
//         checks all of them.
// Leaves: can a task wait for computing as it waits for a socket? In 05_futures it can.

#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"
#include "common/server/protocol.hpp"
#include "common/server/signals.hpp"
#include "common/wait/generator.hpp"
#include "common/wait/select.hpp"

#include <deque>
#include <map>
#include <variant>

using namespace ground;

namespace {

// What a task can wait for: bytes to read from a socket, room to write to it.
struct ReadReady {
    int fd;
};
struct WriteReady {
    int fd;
};
using Wait = std::variant<ReadReady, WriteReady>;
using Task = Generator<Wait>;

// Runs tasks one at a time, each until it waits. A task that is not running is in one place: in the
// ready queue, or with the socket that it waits for. One thread owns all of this.
class Scheduler {
  public:
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

    std::deque<Task> ready_;
    std::map<int, Task> recv_wait_;
    std::map<int, Task> send_wait_;
};

// The conversation with one client. It owns the client's socket: returning closes the socket.
Task handle(tcp::socket client, Rules rules)
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
                reply = format_reply(rules.fib(request->n));
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
Task serve(Listener& listener, Rules rules, Scheduler& scheduler)
{
    for (;;) {
        co_yield ReadReady{listener.native_handle()};
        while (auto client = listener.try_accept()) {
            if (is_selectable(client->native_handle())) {
                scheduler.spawn(handle(std::move(*client), rules));
            } else {
                refuse(*client, "server full");
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv)
{
    const Options options = parse_options(argc, argv, about);
    exit_on_signals();
    Listener listener(options);
    Scheduler scheduler;
    scheduler.spawn(serve(listener, options.rules, scheduler));
    scheduler.run();
}
