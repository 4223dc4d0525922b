// broker_connection.hpp -- one conversation with a RabbitMQ, for the pool and for the worker.
//
// librabbitmq knows the protocol, AMQP 0-9-1; here is what the two need of it, as C++. A connection
// belongs to one thread. Others who want something from that thread ring a Bell.
//
// Both sides of a connection promise to be heard of every few seconds (heartbeats), however little
// there is to say. Who is not heard of for twice that time is taken for dead. So whoever holds a
// connection has to come back to wait() or next() again and again, and not compute in between.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"
#include "common/server/options.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ground {

// Wakes a thread that waits for a connection. It stays rung until somebody has waited for it.
class Bell {
  public:
    Bell();  // throws std::system_error

    // From any thread.
    void ring() const noexcept;

    [[nodiscard]] int fd() const noexcept { return eventfd_.get(); }
    void silence() const noexcept;

    // Until it is rung, but no longer than this. Silences it.
    void wait(std::chrono::milliseconds longest) const noexcept;

  private:
    Descriptor eventfd_;
};

// No connection, or none any more. what() is one line without the password.
class BrokerError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// There is no broker where it should be, or not yet: unlike being turned away, that may change.
class NoBroker : public BrokerError {
  public:
    using BrokerError::BrokerError;
};

// What came through the queue, for a log or for a client: anybody may have written it. One line of
// printable ASCII, and not more than so many characters.
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 200);

// What travels. The names are AMQP's.
struct Message {
    std::string routing_key;     // the queue that it goes to; empty once it has come
    std::string reply_to;        // the queue that the answer goes to
    std::string correlation_id;  // of the question, and of its answer
    std::string type;            // what the body is
    std::string body;
    int attempt = 1;                          // a header of ours, 1 or more: see 10_worker.cpp
    std::chrono::milliseconds expiration{0};  // how long anybody waits for it; 0: for ever
    bool persistent = false;                  // survives a restart in a durable queue

    // Only of what has come:
    std::uint64_t delivery_tag = 0;  // by which it is acknowledged
    bool redelivered = false;        // it had been given to somebody, who did not acknowledge it
};

class BrokerConnection {
  public:
    // A request's reply_to, where the broker writes an address that leads to this connection, and
    // the queue to consume the answers from: "direct reply-to". No queue is made for them; what
    // nobody is there to receive is dropped.
    static constexpr std::string_view direct_reply = "amq.rabbitmq.reply-to";

    // Connects, logs in, and declares the queue. Takes 30 s at most. Throws BrokerError, which then
    // says what to do.
    explicit BrokerConnection(const BrokerOptions& options);
    ~BrokerConnection();
    BrokerConnection(const BrokerConnection&) = delete;
    BrokerConnection& operator=(const BrokerConnection&) = delete;

    // Where it leads to, for people: "127.0.0.1:5672".
    [[nodiscard]] static std::string address(const BrokerOptions& options);

    // From now on next() returns what comes to this queue, as long as no more than so many have not
    // been acknowledged. 0: they need no acknowledgement.
    void consume(std::string_view queue, std::uint16_t prefetch);

    // Nothing more is to come than what has come already.
    void stop_consuming();

    // To the queue that it names. If there is no such queue it is dropped; a request's queue is one
    // that has to be there, so then the connection is given up.
    void publish(const Message& message, bool must_arrive = false);
    void acknowledge(const Message& message);

    // While there are several to be published: sends them together.
    void cork(bool on) const noexcept;

    // The next that has come, or nothing: never waits. Throws BrokerError if the connection is
    // lost.
    [[nodiscard]] std::optional<Message> next();

    // Waits until something may have come, or the bell rings, but not for so long that heartbeats
    // would be forgotten. Silences the bell.
    void wait(const Bell& bell, Here here = Here::at()) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The attempts to find a broker, or to come back to it. Says what is wrong, but not the same again
// at each attempt; and how long it took.
class Attempts {
  public:
    Attempts(std::string who, const BrokerOptions& options);

    // If it has never been let in, and the broker turns it away, it says why, and the program ends
    // with 1. Otherwise it returns how long to wait before the next: twice as long each time, up to
    // 5 s. A random part of it, so that all who have lost the same broker do not come back in the
    // same moment.
    [[nodiscard]] std::chrono::milliseconds failed(const BrokerError& error);

    // There is a connection.
    void succeeded();

  private:
    using Clock = std::chrono::steady_clock;

    std::string who_;
    BrokerOptions options_;
    bool connected_ = false;
    bool was_connected_ = false;
    std::string said_;
    std::optional<Clock::time_point> since_;  // the first that has failed
    std::chrono::milliseconds longest_{200};
};

}  // namespace ground
