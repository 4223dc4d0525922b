// broker_connection.hpp -- a connection to RabbitMQ, for the pool and for the worker.
//
// librabbitmq knows the protocol, AMQP 0-9-1. BrokerConnection wraps what the pool and the worker
// need of the library. A connection belongs to one thread. Other threads wake that thread by
// ringing a Bell.
//
// Both sides of a connection must send something every few seconds, if only a heartbeat. A side
// that is silent for twice that time counts as dead. So the thread of a connection must call wait()
// or next() again and again, and must not compute in between.
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

// Wakes a thread that waits for a connection. A bell stays rung until a thread has waited for it.
class Bell {
  public:
    Bell();  // throws std::system_error

    // From any thread.
    void ring() const noexcept;

    [[nodiscard]] int fd() const noexcept { return eventfd_.get(); }
    void silence() const noexcept;

    // Waits until the bell is rung, but no longer than `longest`. Silences the bell.
    void wait(std::chrono::milliseconds longest) const noexcept;

  private:
    Descriptor eventfd_;
};

// There is no connection, or the connection is lost. what() is one line without the password.
class BrokerError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// There is no broker at the address, or not yet. Unlike a refusal, that may change.
class NoBroker : public BrokerError {
  public:
    using BrokerError::BrokerError;
};

// A text from the queue, made fit for a log or a client: one line of printable ASCII, cut to this
// many characters. (Any program may have written the text.)
[[nodiscard]] std::string printable(std::string_view text, std::size_t longest = 200);

// A message. The names are AMQP's.
struct Message {
    std::string routing_key;     // the queue that it goes to; empty in a received message
    std::string reply_to;        // the queue that the reply goes to
    std::string correlation_id;  // the same in a request and its reply
    std::string type;            // what the body is
    std::string body;
    int attempt = 1;                          // a header of ours, 1 or more: see 10_worker.cpp
    bool announce = false;                    // another one: the worker is to say when it begins
    std::chrono::milliseconds expiration{0};  // after this the queue drops it; 0: never
    bool persistent = false;                  // survives a restart in a durable queue

    // Only in a received message:
    std::uint64_t delivery_tag = 0;  // names the message in its acknowledgement
    bool redelivered = false;        // delivered before, but not acknowledged
};

// Host and process: "lab7 4711". Nothing else that is connected to the broker has the same name.
[[nodiscard]] std::string name_of_this_program();

class BrokerConnection {
  public:
    // "Direct reply-to": use this as a request's reply_to, and as the queue from which to consume
    // the replies. The broker replaces it in the request with an address that leads to this
    // connection. There is no real queue: replies are dropped if this connection has gone.
    static constexpr std::string_view direct_reply = "amq.rabbitmq.reply-to";

    // Connects, logs in, and declares the queue. Takes 30 s at most. Throws BrokerError, whose
    // what() says what to do.
    explicit BrokerConnection(const BrokerOptions& options);
    ~BrokerConnection();
    BrokerConnection(const BrokerConnection&) = delete;
    BrokerConnection& operator=(const BrokerConnection&) = delete;

    // The broker's address for messages: "127.0.0.1:5672".
    [[nodiscard]] static std::string address(const BrokerOptions& options);

    // From now on next() returns messages from this queue. No more than prefetch of them may be
    // unacknowledged at a time. If prefetch is 0, messages need no acknowledgement.
    void consume(std::string_view queue, std::uint16_t prefetch);

    // Asks for no more messages. next() still returns those that have arrived already.
    void stop_consuming();

    // Sends the message to the queue that it names. If there is no such queue, the message is
    // dropped or, with must_arrive, the connection is given up.
    void publish(const Message& message, bool must_arrive = false);

    // For a worker that begins this request: if the server asks for that, because it is watched,
    // tells it so.
    void announce(const Message& request);
    void acknowledge(const Message& message);

    // From cork(true) to cork(false) published messages are collected. Then they are sent together.
    void cork(bool on) const noexcept;

    // Returns the next message that has arrived, or nothing. Never waits. Throws BrokerError if the
    // connection is lost.
    [[nodiscard]] std::optional<Message> next();

    // Waits until a message may have arrived or the bell rings, but returns in time for the next
    // heartbeat. Silences the bell.
    void wait(const Bell& bell, Here here = Here::at()) const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The attempts to connect to a broker, or to connect again. Logs what is wrong (the same error only
// once) and, in the end, how long it took.
class Attempts {
  public:
    Attempts(std::string who, const BrokerOptions& options);

    // If there never was a connection and the broker refuses this one, it logs why, and the program
    // ends with 1. Otherwise it returns how long to wait before the next attempt: twice as long
    // each time, up to 5 s. The time is partly random, so that not all programs which have lost the
    // same broker come back at the same moment.
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
    std::optional<Clock::time_point> since_;  // the first attempt that failed
    std::chrono::milliseconds longest_{200};
};

}  // namespace ground
