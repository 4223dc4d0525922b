#include "common/compute/broker_pool.hpp"

#include "common/base/numbers.hpp"
#include "common/compute/broker_connection.hpp"
#include "common/server/log.hpp"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ground {

namespace {

using Clock = std::chrono::steady_clock;

// Has two threads. The connection's thread sends, receives and completes. The clock's thread fails
// requests that have waited for too long. The connection's thread can't do that: it may spend
// seconds in the library, connecting, or writing to a broker that does not read.
class BrokerPool final : public Pool {
  public:
    // Throws BrokerError, which says what to do.
    explicit BrokerPool(const Options& options);

    // The futures of requests under way fail with broken_promise.
    ~BrokerPool() override;

    BrokerPool(const BrokerPool&) = delete;
    BrokerPool& operator=(const BrokerPool&) = delete;

    // Futures complete on the connection's thread or on the clock's.
    [[nodiscard]] std::size_t waiting() const override;

  private:
    Future<Number> begin(unsigned n, Here here) override;

    // At most this many requests are in the queue or with workers; others wait here. That keeps a
    // few hundred workers busy. A request that waits here can still be dropped when its time is up.
    // And if the broker stops reading, the buffers on the way have room for this many requests, so
    // publishing does not block.
    static constexpr std::size_t window = 1024;

    struct Request {
        unsigned n;
        Clock::time_point deadline;
        Promise<Number> promise;
        observe::Who whose;
        std::string worker;  // that has begun it, if it has said so
    };
    // By ascending numbers. So they are also in the order of their deadlines, and published
    // requests come before unpublished ones.
    using Requests = std::map<std::uint64_t, Request>;

    void run_connection(std::unique_ptr<BrokerConnection> connection);
    void talk(BrokerConnection& connection);
    [[nodiscard]] std::unique_ptr<BrokerConnection> connect_again(const BrokerError& lost);
    [[nodiscard]] bool publish_what_waits(BrokerConnection& connection);
    void take_reply(const Message& reply);
    void enter_begun(std::uint64_t number, const Message& reply);
    void complete(const Message& reply);
    void fail_published(const std::string& why);
    void run_clock();
    [[nodiscard]] std::optional<Promise<Number>> take_back(std::uint64_t number);
    [[nodiscard]] bool pause(std::chrono::milliseconds length);

    const std::string stage_;
    const BrokerOptions options_;
    const std::string request_type_;
    const Bell bell_;  // there is something to publish, or the pool ends

    mutable std::mutex mutex_;  // guards all below
    std::condition_variable changed_;
    bool ending_ = false;
    bool connected_ = true;
    bool connection_sleeps_ = false;
    Requests requests_;
    std::uint64_t next_ = 1;
    std::uint64_t next_to_publish_ = 1;
    std::size_t published_ = 0;  // how many of requests_ have been sent

    // Only for a server that is watched: the workers that have said when they begin. A worker that
    // should have ended its request, and did not, is forgotten until it begins another one.
    static constexpr std::size_t most_workers = 256;
    std::map<std::string, observe::FarWorker> workers_;

    Attempts attempts_;  // only for the connection's thread
    std::thread connection_thread_;
    std::thread clock_thread_;
};

std::unique_ptr<BrokerConnection> connect(const BrokerOptions& options)
{
    auto connection = std::make_unique<BrokerConnection>(options);
    connection->consume(BrokerConnection::direct_reply, 0);
    return connection;
}

using std::chrono::duration_cast;
using std::chrono::milliseconds;

// "10s", "500ms": as users type it.
std::string length(std::chrono::microseconds time)
{
    const auto seconds = duration_cast<std::chrono::seconds>(time);
    return seconds == time ? fmt::format("{}", seconds)
                           : fmt::format("{}", duration_cast<milliseconds>(time));
}

std::exception_ptr error(const std::string& text)
{
    return std::make_exception_ptr(std::runtime_error(text));
}

BrokerPool::BrokerPool(const Options& options)
    : stage_(options.stage),
      options_(options.broker),
      request_type_(options.rules.fib == fib_fast ? "fib_fast" : "fib"),
      attempts_(options.stage, options.broker)
{
    auto connection = connect(options_);
    attempts_.succeeded();
    connection_thread_ = std::thread([this, connection = std::move(connection)]() mutable {
        run_connection(std::move(connection));
    });
    clock_thread_ = std::thread([this] { run_clock(); });
}

BrokerPool::~BrokerPool()
{
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    bell_.ring();
    connection_thread_.join();
    clock_thread_.join();

    // The remaining promises are broken outside the lock, because a broken promise calls callbacks.
    Requests broken;
    const std::lock_guard lock(mutex_);
    broken.swap(requests_);
}

Future<Number> BrokerPool::begin(unsigned n, Here here)
{
    observe::submits(n, here);
    std::unique_lock lock(mutex_);
    const std::uint64_t number = next_++;  // with the lock: see Requests
    Promise<Number> promise([this, number] { return take_back(number); });
    Future<Number> future = promise.future();
    const bool was_empty = requests_.empty();
    const bool slept = std::exchange(connection_sleeps_, false);
    requests_.emplace_hint(
        requests_.end(), number,
        Request{n, Clock::now() + options_.timeout, std::move(promise), observe::whose(), ""});
    lock.unlock();
    if (was_empty) {
        changed_.notify_all();  // the clock had nothing to wait for
    }
    if (slept) {
        bell_.ring();
    }
    return future;
}

// Called by Future::cancel(). A published request can't be taken back: the broker returns nothing,
// and does not say which requests a worker has begun.
std::optional<Promise<Number>> BrokerPool::take_back(std::uint64_t number)
{
    const std::lock_guard lock(mutex_);
    if (number < next_to_publish_) {
        return std::nullopt;
    }
    auto request = requests_.extract(number);
    if (!request) {
        return std::nullopt;
    }
    return std::move(request.mapped().promise);
}

// Counts the unpublished requests. Only the broker knows how many wait in the queue.
std::size_t BrokerPool::waiting() const
{
    const std::lock_guard lock(mutex_);
    return requests_.size() - published_;
}

// The connection's thread, from here on.

void BrokerPool::run_connection(std::unique_ptr<BrokerConnection> connection)
{
    while (connection) {
        try {
            talk(*connection);
            return;
        } catch (const BrokerError& lost) {
            fail_published("lost the broker, and perhaps the answer; ask again");
            connection = connect_again(lost);
        }
    }
}

void BrokerPool::talk(BrokerConnection& connection)
{
    for (;;) {
        while (const auto reply = connection.next()) {
            take_reply(*reply);
        }
        if (!publish_what_waits(connection)) {
            return;
        }
        connection.wait(bell_);
    }
}

// Returns nothing when the pool ends.
std::unique_ptr<BrokerConnection> BrokerPool::connect_again(const BrokerError& lost)
{
    auto length = attempts_.failed(lost);
    while (pause(length)) {
        try {
            auto connection = connect(options_);
            attempts_.succeeded();
            const std::lock_guard lock(mutex_);
            connected_ = true;
            return connection;
        } catch (const BrokerError& still) {
            length = attempts_.failed(still);
        }
    }
    return nullptr;
}

// False if the pool ends meanwhile.
bool BrokerPool::pause(std::chrono::milliseconds length)
{
    std::unique_lock lock(mutex_);
    const auto end = Clock::now() + length;
    return !changed_.wait_until(lock, end, [this] { return ending_; });
}

// False if the pool ends. Afterwards submit() rings the bell.
bool BrokerPool::publish_what_waits(BrokerConnection& connection)
{
    std::vector<std::pair<std::uint64_t, unsigned>> batch;
    for (;;) {
        {
            const std::lock_guard lock(mutex_);
            if (ending_) {
                return false;
            }
            batch.clear();
            auto request = requests_.lower_bound(next_to_publish_);
            for (; request != requests_.end() && published_ < window; ++request, ++published_) {
                batch.emplace_back(request->first, request->second.n);
                next_to_publish_ = request->first + 1;
            }
            if (batch.empty()) {
                connection_sleeps_ = true;
                return true;
            }
        }
        Message message;
        message.routing_key = options_.queue;
        message.reply_to = BrokerConnection::direct_reply;
        message.type = request_type_;
        // After this time no client waits for the reply, and the broker drops the request.
        message.expiration =
            std::max(duration_cast<milliseconds>(options_.timeout), milliseconds(1));
        message.persistent = options_.durable;
        message.announce = observe::watched();
        connection.cork(true);
        for (const auto& [number, n] : batch) {
            message.correlation_id = fmt::format("{}", number);
            message.body = fmt::format("{}", n);
            connection.publish(message, true);
        }
        connection.cork(false);
    }
}

void BrokerPool::take_reply(const Message& reply)
{
    if (reply.type != "begun") {
        complete(reply);
    } else if (const auto number = parse_number<std::uint64_t>(reply.correlation_id);
               number && observe::watched()) {
        enter_begun(*number, reply);
    }
}

// Any program may have written the reply.
void BrokerPool::enter_begun(std::uint64_t number, const Message& reply)
{
    const std::string worker = printable(reply.body);
    const std::lock_guard lock(mutex_);
    const auto request = requests_.find(number);
    if (request == requests_.end() || number >= next_to_publish_ ||
        (workers_.size() >= most_workers && !workers_.contains(worker))) {
        return;
    }
    if (std::string& before = request->second.worker; before != worker) {
        workers_.erase(before);  // the broker has lost it
        before = worker;
    }
    workers_[worker].computes(request->second.n, request->second.whose);
}

void BrokerPool::complete(const Message& reply)
{
    std::optional<Promise<Number>> promise;
    {
        const std::lock_guard lock(mutex_);
        const auto number = parse_number<std::uint64_t>(reply.correlation_id);
        const auto request = number ? requests_.find(*number) : requests_.end();
        if (request == requests_.end() || request->first >= next_to_publish_) {
            return;  // it came too late, or a second time
        }
        promise = std::move(request->second.promise);
        if (const auto worker = workers_.find(request->second.worker); worker != workers_.end()) {
            worker->second.rests();
        }
        requests_.erase(request);
        --published_;
    }
    // Without the lock: callbacks may do anything, for example submit() the next number.
    const auto result = parse_number<Number>(reply.body);
    if (reply.type == "result" && result) {
        promise->set_result(*result);
    } else if (reply.type == "error") {
        promise->set_exception(error(printable(reply.body)));
    } else {
        promise->set_exception(error("a worker sent an invalid reply"));
    }
}

void BrokerPool::fail_published(const std::string& why)
{
    std::vector<Promise<Number>> failed;
    {
        const std::lock_guard lock(mutex_);
        connected_ = false;
        const auto end = requests_.lower_bound(next_to_publish_);
        for (auto request = requests_.begin(); request != end; ++request) {
            failed.push_back(std::move(request->second.promise));
        }
        requests_.erase(requests_.begin(), end);
        published_ = 0;
        workers_.clear();
    }
    for (Promise<Number>& promise : failed) {
        promise.set_exception(error(why));
    }
}

// The clock's thread.
void BrokerPool::run_clock()
{
    std::unique_lock lock(mutex_);
    while (!ending_) {
        if (requests_.empty()) {
            changed_.wait(lock);
            continue;
        }
        const auto oldest = requests_.begin();
        if (Clock::now() < oldest->second.deadline) {
            changed_.wait_until(lock, Clock::time_point(oldest->second.deadline));
            continue;
        }
        Promise<Number> promise = std::move(oldest->second.promise);
        const bool published = oldest->first < next_to_publish_;
        if (published) {
            --published_;  // and perhaps another one can be published now
        }
        const bool connected = connected_;
        workers_.erase(oldest->second.worker);
        requests_.erase(oldest);
        const bool wake = std::exchange(connection_sleeps_, false);
        lock.unlock();
        if (wake) {
            bell_.ring();
        }
        promise.set_exception(
            error(connected ? fmt::format("no worker has answered within {}; is one running?",
                                          length(options_.timeout))
                            : "no connection to the broker"));
        lock.lock();
    }
}

}  // namespace

std::unique_ptr<Pool> make_broker_pool(const Options& options)
try {
    return std::make_unique<BrokerPool>(options);
} catch (const BrokerError& error) {
    log("{}: {}", options.stage, error.what());
    std::exit(EXIT_FAILURE);
}

}  // namespace ground
