// The pool at a real RabbitMQ: `scripts/broker --restart -- broker_test SERVER --pool broker`, with
// the worker's executable beside the server's.
#include "common/base/limits.hpp"
#include "common/compute/broker_connection.hpp"
#include "common/observe/watcher.hpp"
#include "tests/suite.hpp"

#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <list>
#include <memory>
#include <set>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

using namespace ground;
using namespace ground::test;
using std::chrono::milliseconds;

namespace {

// Read once, before any parse_options() could overwrite it.
const std::string& broker_url()
{
    static const std::string url = [] {
        const char* const value = std::getenv("GROUND_BROKER");
        return std::string(value == nullptr ? "" : value);
    }();
    return url;
}

// The same place for another user: amqp://NAME:PASSWORD@127.0.0.1:port/vhost
std::string url_of(std::string_view user_and_password, std::string_view vhost = "")
{
    return fmt::format("amqp://{}{}{}", user_and_password,
                       broker_url().substr(broker_url().find('@')), vhost);
}

// Every test has a queue of its own.
std::string new_queue()
{
    static int count = 0;
    return fmt::format("test.{}.{}", ::getpid(), ++count);
}

BrokerOptions options_for(const std::string& queue)
{
    BrokerOptions options;
    options.url = broker_url();
    options.queue = queue;
    return options;
}

std::string worker_executable()
{
    return stage().executable().substr(0, stage().executable().find_last_of('/') + 1) + "10_worker";
}

Start worker_start(const std::string& queue, std::vector<std::string> options = {})
{
    Start start{{worker_executable(), "--queue", queue}};
    start.command.insert(start.command.end(), options.begin(), options.end());
    return start;
}

class Worker : public Program {
  public:
    explicit Worker(const std::string& queue) : Program(worker_start(queue))
    {
        out().wait_for("10_worker takes requests");
    }
};

class ServerOn : public Server {
  public:
    explicit ServerOn(const std::string& queue, const std::string& timeout = "600s")
        : Server({"--quiet", "--queue", queue, "--broker-timeout", timeout})
    {
    }
};

pid_t broker_pid()
{
    std::ifstream file(std::getenv("GROUND_BROKER_PID_FILE"));
    pid_t pid = 0;
    file >> pid;
    return pid;
}

// The broker stands still for as long as this lives.
class StoppedBroker {
  public:
    StoppedBroker() : StoppedBroker(broker_pid())
    {
        // Its threads go on until one of them runs and has taken the signal.
        eventually("the broker stands still", [this] {
            const auto threads = threads_of(pid_);
            return std::all_of(threads.begin(), threads.end(),
                               [](const ProcessInfo& thread) { return thread.state == 'T'; });
        });
    }
    ~StoppedBroker() { ::kill(pid_, SIGCONT); }
    StoppedBroker(const StoppedBroker&) = delete;
    StoppedBroker& operator=(const StoppedBroker&) = delete;

  private:
    explicit StoppedBroker(pid_t pid) : pid_(pid) { REQUIRE(::kill(pid_, SIGSTOP) == 0); }

    const pid_t pid_;
};

// How long scripts/broker allows RabbitMQ to take.
constexpr std::chrono::seconds time_to_start{300};

bool is_up(const std::string& queue)
{
    try {
        const BrokerConnection connection(options_for(queue));
        return true;
    } catch (const BrokerError&) {
        return false;
    }
}

// For a line that may need RabbitMQ to start first. A Client alone does not wait that long.
std::string patient_line(Client& client, std::chrono::seconds patience_of_each = time_to_start)
{
    client.wait_readable(Deadline(patience_of_each));
    return client.read_line();
}

// rabbitmqctl is a program in Erlang as well, and starts as slowly.
Outcome rabbitmqctl(std::vector<std::string> arguments)
{
    arguments.insert(arguments.begin(), {"/usr/bin/env", "rabbitmqctl"});
    return run({arguments}, Deadline(time_to_start));
}

void call_rabbitmqctl(const std::vector<std::string>& arguments)
{
    const Outcome outcome = rabbitmqctl(arguments);
    CAPTURE(outcome.out);
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
}

// A queue with a property that ours lack.
const std::string short_queue = "test.short";

// Users and that queue, all at once, for the reason above. Each user lacks a permission, except
// the last two. erin has those that scripts/broker --shell names.
void import_definitions()
{
    static bool done = false;
    if (std::exchange(done, true)) {
        return;
    }
    const std::string path = fmt::format("{}.users", std::getenv("GROUND_BROKER_PID_FILE"));
    std::ofstream(path) << R"({
        "users": [
            {"name": "alex", "password": "s3cret", "tags": ""},
            {"name": "brenda", "password": "s3cret", "tags": ""},
            {"name": "carol", "password": "s3cret", "tags": ""},
            {"name": "dave", "password": "s3cret", "tags": ""},
            {"name": "erin", "password": "s3cret", "tags": ""},
            {"name": "frank", "password": "s3cret", "tags": ""}
        ],
        "permissions": [
            {"user": "brenda", "vhost": "/", "configure": "", "write": ".*", "read": ".*"},
            {"user": "carol", "vhost": "/", "configure": ".*", "write": "", "read": ".*"},
            {"user": "dave", "vhost": "/", "configure": ".*", "write": ".*", "read": ""},
            {"user": "erin", "vhost": "/", "configure": "^ground\\.fib$",
             "write": "^(ground\\.fib|amq\\.default)$", "read": "^ground\\.fib$"},
            {"user": "frank", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        ],
        "queues": [
            {"name": "test.short", "vhost": "/", "durable": true, "auto_delete": false,
             "arguments": {"x-max-length": 5}}
        ]
    })";
    call_rabbitmqctl({"import_definitions", path});
}

bool is_computing(const Program& worker) { return worker.info().cpu >= milliseconds(300); }

// Of some idle, young workers, the one that has begun to compute.
std::list<Worker>::iterator wait_for_busy(std::list<Worker>& workers)
{
    auto busy = workers.end();
    eventually("a worker computes", [&] {
        busy = std::find_if(workers.begin(), workers.end(), is_computing);
        return busy != workers.end();
    });
    return busy;
}

// Clients that send one request after another and check each reply.
class Load {
  public:
    struct Verdict {
        unsigned right = 0;
        unsigned wrong = 0;
        unsigned errors = 0;
        unsigned broken = 0;  // connections
    };

    // This many requests each; 0: until it is told to end. A client that waits longer than that for
    // a reply leaves, and counts as broken.
    Load(const std::vector<const Server*>& servers, unsigned clients, unsigned questions,
         std::chrono::seconds patience_of_each = patience)
        : patience_of_each_(patience_of_each)
    {
        for (unsigned c = 0; c < clients; ++c) {
            clients_.emplace_back(*servers[c % servers.size()]);
        }
        for (unsigned c = 0; c < clients; ++c) {
            threads_.emplace_back([this, c, questions] { ask(clients_[c], c, questions); });
        }
    }
    ~Load() { end(); }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    Verdict end()
    {
        ending_ = true;
        return wait();
    }
    Verdict wait()
    {
        for (std::thread& thread : threads_) {
            thread.join();
        }
        threads_.clear();
        return {right_, wrong_, errors_, broken_};
    }
    [[nodiscard]] unsigned right() const { return right_; }
    [[nodiscard]] unsigned errors() const { return errors_; }
    [[nodiscard]] unsigned answers() const { return right_ + wrong_ + errors_; }
    [[nodiscard]] std::string an_error() const
    {
        const std::lock_guard lock(mutex_);
        return an_error_;
    }

  private:
    void ask(Client& client, unsigned number, unsigned questions)
    try {
        // Neighbours ask for different numbers, so a reply to the wrong client is a wrong one.
        for (unsigned i = 0; (questions == 0 && !ending_) || i < questions; ++i) {
            const unsigned n = (7 * number + i) % 20 + 3;
            client.send(fmt::format("{}\n", n));
            const std::string reply = patient_line(client, patience_of_each_);
            if (reply == fmt::format("{}", fib_fast(n))) {
                ++right_;
            } else if (reply.starts_with("[Error] ")) {
                ++errors_;
                const std::lock_guard lock(mutex_);
                an_error_ = reply;
            } else {
                ++wrong_;
            }
        }
        client.shutdown_send();
        if (!client.read_all().empty()) {  // a reply too many
            ++wrong_;
        }
    } catch (const std::exception&) {
        ++broken_;
    }

    const std::chrono::seconds patience_of_each_;
    std::deque<Client> clients_;
    std::atomic<bool> ending_ = false;
    std::atomic<unsigned> right_ = 0;
    std::atomic<unsigned> wrong_ = 0;
    std::atomic<unsigned> errors_ = 0;
    std::atomic<unsigned> broken_ = 0;
    mutable std::mutex mutex_;
    std::string an_error_;
    std::vector<std::thread> threads_;
};

// Waits as long as there is progress.
void wait_for_answers(const Load& load, unsigned answers)
{
    while (load.answers() < answers) {
        const unsigned before = load.answers();
        eventually("there are answers", [&] { return load.answers() > before; });
    }
}

void check_refusal(const Start& start, std::string_view reason, std::string_view password)
{
    const Outcome outcome = run(start);
    CAPTURE(reason);
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
    CHECK(outcome.err.find(reason) != std::string::npos);
    CHECK((password.empty() || outcome.err.find(password) == std::string::npos));
}

// The same from the server and from the worker.
void check_refusals(const std::vector<std::string>& options, std::string_view reason,
                    std::string_view password = "")
{
    Start server{{stage().executable(), "--port", "0", "--pool", "broker"}};
    server.command.insert(server.command.end(), options.begin(), options.end());
    check_refusal(server, reason, password);
    Start worker{{worker_executable()}};
    worker.command.insert(worker.command.end(), options.begin(), options.end());
    check_refusal(worker, reason, password);
}

// A worker of the test's own, on this thread, which does what the test says.
class OddWorker {
  public:
    explicit OddWorker(const std::string& queue) : connection_(options_for(queue))
    {
        connection_.consume(queue, 10);
    }
    Message take()
    {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (std::chrono::steady_clock::now() < end) {
            if (auto request = connection_.next()) {
                return *request;
            }
            connection_.wait(bell_);
        }
        throw std::runtime_error("no request has come");
    }
    void reply(const Message& request, std::string_view correlation_id, std::string_view body,
               std::string_view type = "result")
    {
        Message reply;
        reply.routing_key = request.reply_to;
        reply.correlation_id = correlation_id;
        reply.type = type;
        reply.body = body;
        connection_.publish(reply);
    }
    void acknowledge(const Message& request) { connection_.acknowledge(request); }

  private:
    Bell bell_;
    BrokerConnection connection_;
};

// A client of the broker without a server.
class Asker {
  public:
    explicit Asker(const std::string& queue) : queue_(queue), connection_(options_for(queue))
    {
        connection_.consume(BrokerConnection::direct_reply, 0);
    }
    void send(std::string_view type, std::string_view body, int attempt = 1,
              std::string_view reply_to = BrokerConnection::direct_reply, bool announce = false)
    {
        Message request;
        request.routing_key = queue_;
        request.reply_to = reply_to;
        request.correlation_id = "1";
        request.type = type;
        request.body = body;
        request.attempt = attempt;
        request.announce = announce;
        connection_.publish(request, true);
    }
    Message reply(std::chrono::seconds longest = patience)
    {
        const auto end = std::chrono::steady_clock::now() + longest;
        while (std::chrono::steady_clock::now() < end) {
            if (const auto reply = connection_.next()) {
                return *reply;
            }
            connection_.wait(bell_);
        }
        throw std::runtime_error("no answer has come");
    }
    Message ask(std::string_view type, std::string_view body)
    {
        send(type, body);
        return reply();
    }

  private:
    const std::string queue_;
    Bell bell_;
    BrokerConnection connection_;
};

sockaddr_in loopback(std::uint16_t port)
{
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// Stands between a worker and the broker, and knows in which order the worker has published and
// acknowledged. It can go away and come back. One connection at a time.
class Proxy {
  public:
    Proxy()
    {
        come();
        sockaddr_in address{};
        socklen_t size = sizeof address;
        check(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size),
              "getsockname");
        port_ = ntohs(address.sin_port);
    }
    ~Proxy() { go(); }
    Proxy(const Proxy&) = delete;
    Proxy& operator=(const Proxy&) = delete;

    [[nodiscard]] std::string url() const
    {
        return fmt::format("amqp://guest:guest@127.0.0.1:{}", port_);
    }

    void come()
    {
        listener_ = Descriptor(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
        const int on = 1;
        ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        const sockaddr_in address = loopback(port_);
        check(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              "bind");
        check(::listen(listener_.get(), 5), "listen");
        ending_ = false;
        thread_ = std::thread([this] { run(); });
    }
    void go()
    {
        ending_ = true;
        if (thread_.joinable()) {
            thread_.join();
        }
        listener_.reset();
    }

    // "publish", "ack": what the worker has sent since the last call.
    std::vector<std::string> methods()
    {
        const std::lock_guard lock(mutex_);
        return std::exchange(methods_, {});
    }
    [[nodiscard]] std::size_t count() const
    {
        const std::lock_guard lock(mutex_);
        return methods_.size();
    }

  private:
    static bool readable(int fd)
    {
        pollfd waits{fd, POLLIN, 0};
        return ::poll(&waits, 1, 0) == 1;
    }
    // Returns what has come; "" at the end.
    static std::string pass_on(int from, int to)
    {
        std::string bytes(65'536, '\0');
        const ssize_t size = ::recv(from, bytes.data(), bytes.size(), 0);
        bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
        for (std::size_t sent = 0; sent < bytes.size();) {
            const ssize_t some = ::send(to, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (some <= 0) {
                return "";
            }
            sent += static_cast<std::size_t>(some);
        }
        return bytes;
    }
    void run()
    {
        while (!ending_) {
            pollfd waits{listener_.get(), POLLIN, 0};
            if (::poll(&waits, 1, 20) == 1) {
                const Descriptor worker(::accept(listener_.get(), nullptr, nullptr));
                connect(worker.get());
            }
        }
    }
    void connect(int worker)
    {
        const Descriptor broker(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const std::string& url = broker_url();
        const auto port = std::atoi(url.c_str() + url.find_last_of(':') + 1);
        const sockaddr_in address = loopback(static_cast<std::uint16_t>(port));
        if (::connect(broker.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
            0) {
            return;
        }
        bool header = true;
        std::string frames;
        while (!ending_) {
            pollfd either[]{{worker, POLLIN, 0}, {broker.get(), POLLIN, 0}};
            ::poll(either, 2, 20);
            if (readable(worker)) {
                const std::string bytes = pass_on(worker, broker.get());
                if (bytes.empty()) {
                    return;
                }
                frames += bytes;
                if (header && frames.size() >= 8) {  // "AMQP", and a version
                    frames.erase(0, 8);
                    header = false;
                }
                if (!header) {
                    read(frames);
                }
            }
            if (readable(broker.get()) && pass_on(broker.get(), worker).empty()) {
                return;
            }
        }
    }
    // A frame: its type (1: a method), a channel, a length, that many bytes, and one at its end.
    void read(std::string& frames)
    {
        const auto number = [&](std::size_t at, std::size_t size) {
            std::size_t value = 0;
            for (std::size_t i = 0; i < size; ++i) {
                value = value << 8U | static_cast<unsigned char>(frames[at + i]);
            }
            return value;
        };
        while (frames.size() >= 7 && frames.size() >= number(3, 4) + 8) {
            constexpr std::size_t basic = 60;
            if (frames[0] == 1 && number(7, 2) == basic) {
                const std::size_t method = number(9, 2);
                const std::lock_guard lock(mutex_);
                if (method == 40) {
                    methods_.emplace_back("publish");
                } else if (method == 80) {
                    methods_.emplace_back("ack");
                }
            }
            frames.erase(0, number(3, 4) + 8);
        }
    }

    std::uint16_t port_ = 0;
    Descriptor listener_;
    std::atomic<bool> ending_ = false;
    mutable std::mutex mutex_;
    std::vector<std::string> methods_;
    std::thread thread_;
};

std::size_t count_of(std::string_view part, std::string_view text)
{
    std::size_t count = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) {
        ++count;
    }
    return count;
}

std::string contents(const std::string& path)
{
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

// One worker and its clients: in a run of their own, which takes seconds (see CMakeLists.txt).
TEST_SUITE_BEGIN("worker");

TEST_CASE("worker: the reply leaves before the acknowledgement, and both after the computing")
{
    const std::string queue = new_queue();
    Proxy proxy;
    const Program worker(worker_start(queue, {"--broker", proxy.url()}));
    worker.out().wait_for("10_worker takes requests");
    static_cast<void>(proxy.methods());
    Asker asker(queue);
    CHECK(asker.ask("fib", "20").body == "6765");
    eventually("it has acknowledged", [&] { return proxy.count() >= 2; });
    CHECK(proxy.methods() == std::vector<std::string>{"publish", "ack"});

    const LongRequest request(milliseconds(1500));
    const std::string n = request.text().substr(0, request.text().size() - 1);
    asker.send("fib", n);
    eventually("it computes", [&] { return is_computing(worker); });
    CHECK(proxy.count() == 0);
    CHECK(asker.reply().body == request.reply());
    eventually("it has acknowledged", [&] { return proxy.count() >= 2; });
    CHECK(proxy.methods() == std::vector<std::string>{"publish", "ack"});
}

TEST_CASE("worker: if it is started before its broker it waits for it, and says so once")
{
    const std::string queue = new_queue();
    Proxy proxy;
    proxy.go();
    Program worker(worker_start(queue, {"--broker", proxy.url()}));
    worker.err().wait_for("trying again");
    proxy.come();
    worker.out().wait_for("10_worker takes requests");
    worker.err().wait_for("10_worker: found the broker after");
    CHECK(worker.err().text().starts_with("10_worker: no broker at 127.0.0.1:"));
    CHECK(count_of("\n", worker.err().text()) == 2);
    Asker asker(queue);
    CHECK(asker.ask("fib", "20").body == "6765");
    worker.signal(SIGTERM);
    CHECK(worker.wait(Deadline(time_to_end)) == 0);
}

TEST_CASE("worker: it ends on SIGTERM while it waits for its broker")
{
    Proxy proxy;
    proxy.go();
    Program worker(worker_start(new_queue(), {"--broker", proxy.url()}));
    worker.err().wait_for("trying again");
    worker.signal(SIGTERM);
    CHECK(worker.wait(Deadline(time_to_end)) == 0);
}

TEST_CASE("worker: it says once that its broker is lost, and finds it again")
{
    const std::string queue = new_queue();
    Proxy proxy;
    const Program worker(worker_start(queue, {"--broker", proxy.url()}));
    worker.out().wait_for("10_worker takes requests");
    proxy.go();
    worker.err().wait_for("10_worker: lost the broker at 127.0.0.1:");
    worker.err().wait_for("10_worker: no broker at 127.0.0.1:");
    ::usleep(1'500'000);  // it tries again, three times or so
    proxy.come();
    worker.err().wait_for("10_worker: back at the broker after");
    CHECK(count_of("\n", worker.err().text()) == 3);
    Asker asker(queue);
    CHECK(asker.ask("fib", "20").body == "6765");
}

TEST_CASE("worker: after each loss it begins again to try often")
{
    Proxy proxy;
    const Program worker(worker_start(new_queue(), {"--broker", proxy.url()}));
    worker.out().wait_for("10_worker takes requests");
    constexpr std::string_view back = "back at the broker after ";
    double shortest = 1e9;  // of the last losses
    for (std::size_t loss = 1; loss <= 7; ++loss) {
        proxy.go();
        eventually("it is lost",
                   [&] { return count_of("lost the broker", worker.err().text()) == loss; });
        proxy.come();
        eventually("it is back", [&] { return count_of(back, worker.err().text()) == loss; });
        const std::string text = worker.err().text();
        if (loss > 5) {  // otherwise it would by now wait for 2.5 s and more each time
            shortest = std::min(shortest, std::atof(&text[text.rfind(back) + back.size()]));
        }
    }
    CHECK(shortest < 2);
}

// RabbitMQ closes the connection of a worker that replies to such an address.
TEST_CASE("worker: a request whose reply can't be sent is dropped, and others are answered")
{
    const std::string queue = new_queue();
    const Worker worker(queue);
    Asker asker(queue);
    asker.send("fib", "20", 1, "amq.rabbitmq.reply-to.!!!.x");
    const auto losses = [&] { return count_of("lost the broker", worker.err().text()); };
    eventually("it has been tried", [&] { return losses() >= 3; });
    // If it were still there, it would come before this one.
    CHECK(asker.ask("fib", "20").body == "6765");
    CHECK(losses() == 3);
    CHECK(count_of("\n", worker.err().text()) <= 2 * 3 + 1);
}

TEST_CASE("worker: a request with a forged mark kills no more workers than others")
{
    const std::string queue = new_queue();
    for (const int mark : {0, -3}) {
        CAPTURE(mark);
        std::list<Worker> workers;
        for (int i = 0; i < 3; ++i) {
            workers.emplace_back(queue);
        }
        Asker asker(queue);
        asker.send("fib", "50", mark);
        for (int i = 0; i < 2; ++i) {
            const auto busy = wait_for_busy(workers);
            busy->signal(SIGKILL);
            workers.erase(busy);
        }
        CHECK(asker.reply().body == "worker died");
        CHECK(asker.ask("fib", "20").body == "6765");
    }
}

TEST_CASE("worker: the text of a request is one short line in its log")
{
    const std::string queue = new_queue();
    Asker asker(queue);
    asker.send("fib", "1\n\x1b[31mred" + std::string(1'000'000, '\x80'));
    {
        OddWorker dies(queue);
        static_cast<void>(dies.take());
    }
    const Worker worker(queue);
    CHECK(asker.reply().body == "the worker does not know this request");
    worker.err().wait_for("one more\n");
    CHECK(worker.err().text() ==
          "10_worker: fib(1??[31mred??????????...) has been with a worker that is gone; it gets "
          "one more\n");
}

TEST_CASE("worker: it can be traced like a server")
{
    const std::string queue = new_queue();
    std::string file = std::filesystem::temp_directory_path() / "worker-trace-XXXXXX";
    const Descriptor made(check(::mkstemp(file.data()), "mkstemp"));
    Program worker(worker_start(queue, {"--trace", file}));
    worker.out().wait_for("10_worker takes requests");
    Asker asker(queue);
    CHECK(asker.ask("fib", "20").body == "6765");
    worker.signal(SIGTERM);
    CHECK(worker.wait(Deadline(time_to_end)) == 0);
    const auto trace = nlohmann::json::parse(contents(file));
    std::filesystem::remove(file);
    CHECK(std::count_if(trace.begin(), trace.end(), [](const auto& entry) {
              return entry["ph"] == "X" && entry["name"] == "fib(20)";
          }) == 1);
}

TEST_CASE("worker: it says when it begins, if it is asked to")
{
    const std::string queue = new_queue();
    const Worker worker(queue);
    Asker asker(queue);
    asker.send("fib", "20", 1, BrokerConnection::direct_reply, true);
    const Message begun = asker.reply();
    CHECK(begun.type == "begun");
    CHECK(begun.correlation_id == "1");
    CHECK(begun.body.ends_with(fmt::format(" {}", worker.pid())));
    CHECK(asker.reply().body == "6765");
    CHECK(asker.ask("fib", "10").body == "55");  // not asked to
}

TEST_SUITE_END();

TEST_CASE("broker: workers that are killed under load cause no lost, doubled or confused reply")
{
    // 20,000 requests, and a worker is killed for each 1,000 of them. A sanitizer's build is slow
    // and has fewer. GROUND_BROKER_REQUESTS=100000 asks for more.
    constexpr unsigned clients = 50;
    const char* const asked_for = std::getenv("GROUND_BROKER_REQUESTS");
    const unsigned total = asked_for != nullptr ? static_cast<unsigned>(std::atoi(asked_for))
                           : sanitized          ? 2'500
                                                : 20'000;
    const unsigned questions = std::max(total / clients, 1U);
    const unsigned kills = sanitized ? 5 : std::max(total / 1000, 1U);
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::list<Worker> workers;
    for (int i = 0; i < 3; ++i) {
        workers.emplace_back(queue);
    }
    Load load({&server}, clients, questions);
    for (unsigned kill = 1; kill <= kills; ++kill) {
        wait_for_answers(load, kill * (clients * questions / (kills + 1)));
        workers.front().signal(SIGKILL);
        workers.pop_front();
        workers.emplace_back(queue);
    }
    const Load::Verdict verdict = load.wait();
    CAPTURE(load.an_error());
    CHECK(verdict.right == clients * questions);
    CHECK(verdict.wrong == 0);
    CHECK(verdict.errors == 0);
    CHECK(verdict.broken == 0);
}

TEST_CASE("broker: a request whose worker is killed twice gets an error, and other workers live")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::list<Worker> workers;
    for (int i = 0; i < 3; ++i) {
        workers.emplace_back(queue);
    }
    Client client(server);
    client.send(endless_request);
    for (int i = 0; i < 2; ++i) {
        CHECK_FALSE(client.readable());
        const auto busy = wait_for_busy(workers);
        busy->signal(SIGKILL);
        workers.erase(busy);
    }
    CHECK(client.read_line() == "[Error] worker died");
    CHECK(workers.front().info().state != 'Z');
    CHECK(client.ask("20\n") == "6765");
}

TEST_CASE("broker: a request whose worker is killed once is computed by another")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::list<Worker> workers;
    workers.emplace_back(queue);
    workers.emplace_back(queue);
    const LongRequest request(milliseconds(1500));
    Client client(server);
    client.send(request.text());
    const auto busy = wait_for_busy(workers);
    CHECK_FALSE(client.readable());
    busy->signal(SIGKILL);
    workers.erase(busy);
    CHECK(client.read_line() == request.reply());
    CHECK(workers.front().err().text().find("it gets one more") != std::string::npos);
}

TEST_CASE("broker: a small request does not wait behind a big one that another worker computes")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::list<Worker> workers;
    workers.emplace_back(queue);
    workers.emplace_back(queue);
    Client big(server);
    big.send(endless_request);
    wait_for_busy(workers);
    Client small(server);
    for (int i = 0; i < 20; ++i) {  // a worker with more than one at a time would get some of these
        CHECK(small.ask("10\n") == "55");
    }
}

TEST_CASE(
    "broker: a worker that gets SIGTERM finishes its request, and the broker sends it to no other")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::list<Worker> workers;
    workers.emplace_back(queue);
    Client client(server);
    Client next(server);
    const LongRequest request(milliseconds(500));
    client.send(request.text());
    wait_for_busy(workers);
    next.send("20\n");
    wait_until_read(server, next);
    workers.front().signal(SIGTERM);
    // It has 1.5 s. On a busy machine that may be too little, and then another worker does it, as
    // always.
    CHECK(workers.front().wait() == 0);
    const bool finished = client.readable();
    const Worker other(queue);
    CHECK(client.read_line() == request.reply());
    CHECK(next.read_line() == "6765");
    if (finished) {
        CHECK(other.err().text().find("it gets one more") == std::string::npos);
    }
}

TEST_CASE("broker: an idle worker ends at once with status 0")
{
    for (const int number : {SIGTERM, SIGINT}) {
        Worker worker(new_queue());
        worker.signal(number);
        CHECK(worker.wait(Deadline(time_to_end)) == 0);
        CHECK(worker.err().read_all().empty());
    }
}

TEST_CASE("broker: two servers share three workers, and each gets its own replies")
{
    const std::string queue = new_queue();
    const ServerOn one(queue);
    const ServerOn other(queue);
    const Worker workers[]{Worker(queue), Worker(queue), Worker(queue)};
    constexpr unsigned questions = sanitized ? 50 : 300;
    Load load({&one, &other}, 20, questions);
    const Load::Verdict verdict = load.wait();
    CHECK(verdict.right == 20 * questions);
    CHECK(verdict.wrong + verdict.errors + verdict.broken == 0);
}

TEST_CASE("broker: without a worker requests wait, then get an error, and are not computed later")
{
    const std::string queue = new_queue();
    const ServerOn server(queue, "500ms");
    std::deque<Client> clients;
    for (int i = 0; i < 10; ++i) {
        clients.emplace_back(server).send(endless_request);
    }
    for (Client& client : clients) {
        CHECK(client.read_line() == "[Error] no worker has answered within 500ms; is one running?");
    }
    // The only worker would be busy for ever if the broker gave it requests that no client waits
    // for.
    const Worker worker(queue);
    const ServerOn patient(queue);
    Client client(patient);
    CHECK(client.ask("20\n") == "6765");
}

TEST_CASE("broker: if there are more requests than may be sent at a time, all are answered")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::deque<Client> clients;
    REQUIRE(ground::raise_descriptor_limit() > 1400);
    // 07 has one request of each client under way. The pool sends 1,024 and keeps the others.
    for (int i = 0; i < 1300; ++i) {
        clients.emplace_back(server).send("20\n");
    }
    wait_until_read(server, clients.back());
    const Worker worker(queue);
    for (Client& client : clients) {
        REQUIRE(client.read_line() == "6765");
    }
}

TEST_CASE("broker: requests that were not answered in time leave room for others")
{
    // The pool sends 1,024 at a time. More than that wait in vain, and then a worker comes.
    const std::string queue = new_queue();
    const ServerOn server(queue, "500ms");
    constexpr int clients = 420;
    std::deque<Client> waiting;
    for (int i = 0; i < clients; ++i) {
        waiting.emplace_back(server);
    }
    for (int round = 0; round < 3; ++round) {
        for (Client& client : waiting) {
            client.send("20\n");
        }
        for (Client& client : waiting) {
            REQUIRE(client.read_line().starts_with("[Error] no worker has answered"));
        }
    }
    const Worker worker(queue);
    eventually("it is served again", [&] { return waiting.front().ask("20\n") == "6765"; });
}

TEST_CASE("broker: requests that were lost with a connection leave room for others")
{
    // The pool sends 1,024 at a time. More than that are lost, and then a worker comes.
    const std::string queue = new_queue();
    Proxy proxy;
    const Server server(
        {"--quiet", "--queue", queue, "--broker", proxy.url(), "--broker-timeout", "600s"});
    constexpr int clients = 420;
    std::deque<Client> waiting;
    for (int i = 0; i < clients; ++i) {
        waiting.emplace_back(server);
    }
    for (int round = 0; round < 3; ++round) {
        static_cast<void>(proxy.methods());
        for (Client& client : waiting) {
            client.send("20\n");
        }
        eventually("all have been sent", [&] { return proxy.count() >= clients; });
        proxy.go();
        for (Client& client : waiting) {
            REQUIRE(client.read_line().starts_with("[Error] lost the broker"));
        }
        proxy.come();
    }
    const Worker worker(queue);
    for (Client& client : waiting) {
        client.send("20\n");
    }
    for (Client& client : waiting) {
        REQUIRE(client.read_line() == "6765");
    }
}

TEST_CASE("broker: the text of a worker's error is one line at the client")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    OddWorker worker(queue);
    Client client(server);
    client.send("20\n21\n");
    const Message first = worker.take();
    worker.reply(first, first.correlation_id, "x\n111\r\n222\x1b[2J" + std::string(100'000, 'y'),
                 "error");
    worker.acknowledge(first);
    CHECK(client.read_line() == "[Error] x?111??222?[2J" + std::string(186, 'y') + "...");
    const Message second = worker.take();
    worker.reply(second, second.correlation_id, "10946");
    worker.acknowledge(second);
    CHECK(client.read_line() == "10946");
}

TEST_CASE("broker: replies that come twice, too late, or without a request are ignored")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    OddWorker worker(queue);
    Client client(server);
    client.send("20\n21\n");
    const Message first = worker.take();
    for (const char* const stranger : {"999999", "0", "", "x", "18446744073709551616", "-1", "2"}) {
        worker.reply(first, stranger, "1");
    }
    worker.reply(first, first.correlation_id, "6765");
    worker.reply(first, first.correlation_id, "1");
    worker.acknowledge(first);
    CHECK(client.read_line() == "6765");
    const Message second = worker.take();
    worker.reply(second, first.correlation_id, "2");
    worker.reply(second, second.correlation_id, "10946");
    worker.acknowledge(second);
    CHECK(client.read_line() == "10946");
    // A reply that can't be read is an error, and the server keeps running.
    for (const auto& [type, body] : {std::pair{"result", "no number"}, {"result", ""}, {"", "1"}}) {
        client.send("22\n");
        const Message request = worker.take();
        worker.reply(request, request.correlation_id, body, type);
        worker.acknowledge(request);
        CHECK(client.read_line() == "[Error] a worker sent an invalid reply");
    }
}

// What the board and --trace get.
class WatchedOn {
  public:
    explicit WatchedOn(const std::string& queue, const std::string& timeout = "600s")
        : server_({"--quiet", "--queue", queue, "--broker-timeout", timeout},
                  Start{.command = {},
                        .environment = {fmt::format("GROUND_WATCH={}", watcher_.descriptor())},
                        .keep = watcher_.descriptor()})
    {
    }
    [[nodiscard]] const Server& server() const { return server_; }
    [[nodiscard]] std::vector<observe::Seen> all(observe::Kind kind) const
    {
        std::vector<observe::Seen> all = watcher_.look();
        std::erase_if(all, [kind](const observe::Seen& seen) { return seen.kind != kind; });
        return all;
    }
    [[nodiscard]] std::vector<observe::Seen> workers() const { return all(observe::Kind::worker); }
    // Waits until there are as many workers as this, each in one of these states.
    void wait_for(const std::vector<observe::State>& states) const
    {
        eventually("the workers are as they should be", [&] {
            std::vector<observe::State> found;
            for (const observe::Seen& seen : workers()) {
                found.push_back(seen.where.state);
            }
            return std::is_permutation(found.begin(), found.end(), states.begin(), states.end());
        });
    }

  private:
    observe::Watcher watcher_;
    Server server_;
};

TEST_CASE("broker: a watched server shows which worker has its request")
{
    using enum observe::State;
    const std::string queue = new_queue();
    const WatchedOn watched(queue);
    std::list<Worker> workers;
    workers.emplace_back(queue);
    Client first(watched.server());
    const LongRequest request(milliseconds(1500));
    first.send(request.text());
    watched.wait_for({computes});
    const observe::Seen worker = watched.workers().front();
    const observe::Seen conversation = watched.all(observe::Kind::conversation).front();
    CHECK(worker.for_id == conversation.id);
    CHECK(conversation.for_id == worker.id);
    CHECK(fmt::format("{}\n", worker.n) == request.text());
    CHECK(worker.pid == 0);  // it is no process of the server's
    // The worker is killed. The next one gets the request, and the lane of the first ends.
    workers.front().signal(SIGKILL);
    workers.pop_front();
    workers.emplace_back(queue);
    eventually("another one has it", [&] {
        const auto now = watched.workers();
        return now.size() == 1 && now.front().id != worker.id;
    });
    CHECK(first.read_line() == request.reply());
    watched.wait_for({idles});
    CHECK(first.ask("20\n") == "6765");
    // And two at once.
    workers.emplace_back(queue);
    Client second(watched.server());
    first.send(endless_request);
    second.send(endless_request);
    watched.wait_for({computes, computes});
}

TEST_CASE("broker: what a worker says of itself may be anything")
{
    using enum observe::State;
    const std::string queue = new_queue();
    const WatchedOn watched(queue, "2s");
    OddWorker worker(queue);
    Client client(watched.server());
    client.send("20\n");
    const Message request = worker.take();
    CHECK(request.announce);
    for (const char* const stranger : {"999999", "0", "", "x", "18446744073709551616", "-1"}) {
        worker.reply(request, stranger, "a worker", "begun");
    }
    for (int i = 0; i < 1000; ++i) {
        worker.reply(request, request.correlation_id, fmt::format("\x01 {}", i), "begun");
    }
    worker.reply(request, request.correlation_id, std::string(100'000, 'x'), "begun");
    watched.wait_for({computes});
    // It does not answer in time, so it is forgotten.
    CHECK(client.read_line().starts_with("[Error] no worker has answered"));
    watched.wait_for({});
    worker.acknowledge(request);
    client.send("21\n");
    const Message next = worker.take();
    worker.reply(next, next.correlation_id, "", "begun");
    watched.wait_for({computes});
    worker.reply(next, next.correlation_id, "10946");
    CHECK(client.read_line() == "10946");
    watched.wait_for({idles});
}

TEST_CASE("broker: an unwatched server does not ask when its request begins")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    OddWorker worker(queue);
    Client client(server);
    client.send("20\n");
    const Message request = worker.take();
    CHECK_FALSE(request.announce);
    worker.reply(request, request.correlation_id, "a worker", "begun");  // says it unasked
    worker.reply(request, request.correlation_id, "6765");
    CHECK(client.read_line() == "6765");
}

TEST_CASE("broker: a reply to a request that has not been sent yet is ignored")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    std::deque<Client> clients;
    REQUIRE(ground::raise_descriptor_limit() > 1200);
    for (int i = 0; i < 1'100; ++i) {  // of which 1,024 are sent
        clients.emplace_back(server).send("20\n");
    }
    wait_until_read(server, clients.back());
    {
        OddWorker worker(queue);
        const Message first = worker.take();
        worker.reply(first, "1100", "1");
        worker.reply(first, first.correlation_id, "6765");
        worker.acknowledge(first);
        CHECK(clients.front().read_line() == "6765");
        clients.pop_front();
    }
    const Worker worker(queue);
    for (Client& client : clients) {
        REQUIRE(client.read_line() == "6765");
    }
}

TEST_CASE("broker: a worker answers an unknown request with an error, and keeps running")
{
    const std::string queue = new_queue();
    const Worker worker(queue);
    Asker asker(queue);
    for (const auto& [type, body] : {std::pair{"fib", "94"},
                                     {"fib", "-1"},
                                     {"fib", "x"},
                                     {"fib", ""},
                                     {"rm", "1"},
                                     {"", "1"}}) {
        const Message reply = asker.ask(type, body);
        CHECK(reply.type == "error");
        CHECK(reply.body == "the worker does not know this request");
    }
    CHECK(asker.ask("fib", "20").body == "6765");
    CHECK(asker.ask("fib_fast", "93").body == "12200160415121876738");
}

TEST_CASE("broker: after a crash under load, server and workers find the new one")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    Worker workers[]{Worker(queue), Worker(queue)};
    Load load({&server}, 20, 0, time_to_start);
    // The second time the broker stays and closes all connections: it takes 8 s of a CPU to start.
    for (const bool crashes : {true, false}) {
        const unsigned right = load.right();
        eventually(
            "there are answers", [&] { return load.right() > right + 100; },
            Deadline(6 * patience));
        const unsigned errors = load.errors();
        const pid_t before = broker_pid();
        if (crashes) {
            REQUIRE(::kill(before, SIGKILL) == 0);
        } else {
            call_rabbitmqctl({"close_all_connections", "a test"});
        }
        eventually("requests under way fail", [&] { return load.errors() > errors; });
        CHECK(load.an_error().find("lost the broker") != std::string::npos);
        if (crashes) {
            eventually("it is started again", [&] { return broker_pid() != before; });
        }
        // This does not test how long RabbitMQ takes to start: minutes on a busy machine.
        eventually(
            "it is there again", [&] { return is_up(queue); }, Deadline(time_to_start));
        const unsigned then = load.right();
        eventually(
            "there are answers again", [&] { return load.right() > then + 100; },
            Deadline(6 * patience));
        for (const Worker& worker : workers) {
            CHECK(worker.info().state != 'Z');
        }
    }
    const Load::Verdict verdict = load.end();
    CHECK(verdict.wrong == 0);
    CHECK(verdict.broken == 0);
    CHECK(verdict.errors <= 2 * 20);  // what was under way: one request of each client, each time
    CHECK(server.err().text().find("back at the broker") != std::string::npos);
}

TEST_CASE("broker: the server notices one that accepts and never answers")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);  // its requests may wait for ten minutes
    const Worker worker(queue);
    Client client(server);
    REQUIRE(client.ask("20\n") == "6765");
    {
        const StoppedBroker stopped;
        client.send("21\n");
        server.err().wait_for("lost the broker");  // two heartbeats have not come: 10 s
        worker.err().wait_for("heartbeat");
        CHECK(client.read_line() == "[Error] lost the broker, and perhaps the answer; ask again");
        // A request that comes now waits for the next connection.
        client.send("22\n");
        wait_until_read(server, client);
    }
    CHECK(patient_line(client) == "17711");
}

TEST_CASE("broker: while it does not answer, requests still get their error in time")
{
    const std::string queue = new_queue();
    const ServerOn server(queue, "300ms");
    Client client(server);
    const StoppedBroker stopped;
    client.send("21\n");
    CHECK(client.read_line().starts_with("[Error] no worker has answered within 300ms"));
}

TEST_CASE("broker: a queue that was deleted is made again")
{
    const std::string queue = new_queue();
    const ServerOn server(queue);
    const Worker worker(queue);
    Client client(server);
    REQUIRE(client.ask("20\n") == "6765");
    REQUIRE(rabbitmqctl({"delete_queue", queue}).status == 0);
    worker.err().wait_for("the queue has been deleted");  // although it is idle
    eventually("it serves again", [&] {
        client.send("20\n");
        return patient_line(client) == "6765";
    });
}

TEST_CASE("broker: a queue is always durable, and one with other properties is refused")
{
    std::vector<std::string> queues;
    for (const bool durable : {true, false}) {
        const std::string& queue = queues.emplace_back(new_queue());
        const std::vector<std::string> options =
            durable ? std::vector<std::string>{"--durable"} : std::vector<std::string>{};
        Server::Arguments arguments{"--queue", queue};
        arguments.insert(arguments.end(), options.begin(), options.end());
        const Server server(arguments);
        const Program worker(worker_start(queue, options));
        Client client(server);
        CHECK(client.ask("20\n") == "6765");
    }
    const std::string listed = rabbitmqctl({"-q", "list_queues", "name", "durable"}).out;
    for (const std::string& queue : queues) {
        CHECK(listed.find(queue + "\ttrue") != std::string::npos);
    }
    import_definitions();
    check_refusals({"--queue", short_queue}, "x-max-length");  // in the broker's words
}

TEST_CASE("broker: a refused login is one line that says why, without the password")
{
    check_refusals({"--broker", url_of("guest:wr0ng")},
                   "does not let 'guest' in with this password", "wr0ng");
    check_refusals({"--broker", url_of("nobody:wr0ng")}, "does not let 'nobody' in", "wr0ng");
    check_refusals({"--broker", url_of("guest:guest", "/nowhere")}, "vhost nowhere not found");
    check_refusal({{stage().executable(), "--port", "0", "--pool", "broker", "--broker",
                    "amqp://guest:wr0ng@127.0.0.1:1"}},
                  "no broker at 127.0.0.1:1", "wr0ng");  // a worker waits for it
    check_refusals({"--broker", "amqp//guest:wr0ng@127.0.0.1"}, "is not an address", "wr0ng");

    import_definitions();
    check_refusals({"--broker", url_of("alex:s3cret")}, "does not let 'alex' use vhost '/'",
                   "s3cret");
    check_refusals({"--broker", url_of("brenda:s3cret"), "--queue", "brenda"},
                   "does not let 'brenda' have queue 'brenda'", "s3cret");
    check_refusals({"--broker", url_of("carol:s3cret"), "--queue", "carol"},
                   "does not let 'carol' write to amq.default", "s3cret");
    check_refusal({{worker_executable(), "--broker", url_of("dave:s3cret"), "--queue", "dave"}},
                  "does not let 'dave' read from queue 'dave'", "s3cret");
}

TEST_CASE("broker: the permissions that scripts/broker --shell names suffice")
{
    import_definitions();
    const Server server({"--broker", url_of("erin:s3cret"), "--queue", "ground.fib"});
    const Program worker({{worker_executable(), "--broker", url_of("erin:s3cret")}});
    Client client(server);
    CHECK(client.ask("20\n") == "6765");
}

TEST_CASE("broker: the password is neither in the list of processes nor in the log")
{
    import_definitions();
    const std::string queue = new_queue();
    const std::string url = url_of("frank:s3cret");
    const auto check_hidden = [](const Program& program) {
        const std::string proc = fmt::format("/proc/{}/", program.pid());
        CHECK(contents(proc + "cmdline").find("s3cret") == std::string::npos);
        CHECK(contents(proc + "environ").find("s3cret") == std::string::npos);
        CHECK(program.err().text().find("s3cret") == std::string::npos);
        CHECK(program.out().text().find("s3cret") == std::string::npos);
    };
    for (const bool in_environment : {false, true}) {
        CAPTURE(in_environment);
        Start start;
        Server::Arguments arguments{"--queue", queue};
        Start worker_start{{worker_executable(), "--queue", queue}};
        if (in_environment) {
            start.environment = worker_start.environment = {"GROUND_BROKER=" + url};
        } else {
            arguments.push_back("--broker=" + url);
            worker_start.command.insert(worker_start.command.end(), {"--broker", url});
        }
        const Server server(arguments, start);
        const Program worker(worker_start);
        worker.out().wait_for("takes requests");
        Client client(server);
        CHECK(client.ask("20\n") == "6765");
        check_hidden(server);
        check_hidden(worker);
    }
    // Where a mistake is repeated to the client that has made it.
    const Outcome outcome = run({{stage().executable(), url}});
    CHECK(outcome.status == 2);
    CHECK(outcome.err.find("s3cret") == std::string::npos);
}
