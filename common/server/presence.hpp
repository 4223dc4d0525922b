// presence.hpp -- what ends a wait before its time: the client has left, or it takes too long.
//
// All of it is for the thread that runs the io_context of the socket.
#pragma once

#include "common/server/net.hpp"

#include <chrono>
#include <functional>
#include <memory>

namespace ground {

// Notices when the connection of a client is lost, whatever its conversation waits for meanwhile.
// That the client has sent its last, or an urgent byte, is no loss: it may still wait for replies.
// TCP has the same word, FIN, for "I have asked my last" and "I have left"; only a reset is
// certain.
class Presence {
  public:
    explicit Presence(tcp::socket& client);
    ~Presence();
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

    // Opens what a loop needs for that. Otherwise its first client does.
    static void prepare(const Executor& executor);

  private:
    friend class OnLeaving;
    friend class Register;

    void ends() noexcept;

    int fd_;
    class Register& register_;
    bool lost_ = false;
    std::function<void()> tell_;
};

// Calls back once: when the client has left, or else when this goes out of scope. Of each client at
// most one at a time.
class OnLeaving {
  public:
    OnLeaving(Presence& client, std::function<void()> call_back);
    ~OnLeaving() { client_.ends(); }
    OnLeaving(const OnLeaving&) = delete;
    OnLeaving& operator=(const OnLeaving&) = delete;

  private:
    Presence& client_;
};

// Calls back when so much time is over, unless it has gone out of scope by then. Never if it is 0.
class After {
  public:
    After(const Executor& executor, std::chrono::microseconds time,
          std::function<void()> call_back);
    ~After();
    After(const After&) = delete;
    After& operator=(const After&) = delete;

  private:
    struct Alarm;
    std::shared_ptr<Alarm> alarm_;  // the loop has it, too: it may have rung already
};

}  // namespace ground
