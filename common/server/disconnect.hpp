// disconnect.hpp -- what ends a wait early: the client has left, or the time is over.
//
// Call all functions of this file on the thread that runs the io_context of the socket.
#pragma once

#include "common/server/net.hpp"

#include <chrono>
#include <functional>
#include <memory>

namespace ground {

// Notices when the connection of a client is lost, whatever its conversation waits for at that
// moment. A client that has finished sending is not lost: it may still wait for replies. TCP has
// the same word, FIN, for "I have sent my last request" and "I have left". Only a reset is certain.
// (An urgent byte is no loss either.)
class DisconnectWatch {
  public:
    explicit DisconnectWatch(tcp::socket& client);
    ~DisconnectWatch();
    DisconnectWatch(const DisconnectWatch&) = delete;
    DisconnectWatch& operator=(const DisconnectWatch&) = delete;

    // Opens the descriptor with which a loop notices losses. Without this call the loop's first
    // client opens it.
    static void prepare(const Executor& executor);

  private:
    friend class OnDisconnect;
    friend class DisconnectService;

    void notify() noexcept;

    int fd_;
    class DisconnectService& watches_;
    bool lost_ = false;
    std::function<void()> callback_;
};

// Calls back exactly once: when the client has left, or at the latest when this object goes out of
// scope. (The call at the end of the scope is a safeguard. If the future is done, its give_up()
// does nothing.) A client may have at most one OnDisconnect at a time.
class OnDisconnect {
  public:
    OnDisconnect(DisconnectWatch& client, std::function<void()> call_back);
    ~OnDisconnect() { client_.notify(); }
    OnDisconnect(const OnDisconnect&) = delete;
    OnDisconnect& operator=(const OnDisconnect&) = delete;

  private:
    DisconnectWatch& client_;
};

// Calls back after that time, unless this object has gone out of scope by then. A time of 0 means
// never.
class OnTimeout {
  public:
    OnTimeout(const Executor& executor, std::chrono::microseconds time,
              std::function<void()> call_back);
    ~OnTimeout();
    OnTimeout(const OnTimeout&) = delete;
    OnTimeout& operator=(const OnTimeout&) = delete;

  private:
    struct Alarm;
    std::shared_ptr<Alarm> alarm_;  // shared with the loop, which may already be about to ring it
};

}  // namespace ground
