// doorkeeper.hpp -- shuts down connections that send too much, or that never send a whole request.
//
// cpp-httplib reads a request's head for as long as bytes come, and as many as come. Until that
// head is whole, it gives no access to the connection. So the doorkeeper itself looks for the
// connections among this process's descriptors. It shuts down those that exceed their bounds. Then
// their reader sees the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <thread>

namespace ground::board {

struct DoorLimits {
    std::chrono::milliseconds to_ask{5'000};  // from the connection to the end of a request's head
    std::uint64_t bytes = 64 << 10;           // what one connection may send
    std::chrono::milliseconds to_leave{500};  // from close() until the rest is shut down
    std::chrono::milliseconds between_looks{50};
};

class Doorkeeper {
  public:
    // For the connections that a server in this process has accepted on that port.
    explicit Doorkeeper(std::uint16_t port, DoorLimits limits = {});
    // Destroy it after the server's threads have ended.
    ~Doorkeeper();
    Doorkeeper(const Doorkeeper&) = delete;
    Doorkeeper& operator=(const Doorkeeper&) = delete;

    // From any thread: the client with this port has sent its request.
    void has_asked(int port);
    // From any thread: no request is served from now on, and a connection that stays too long is
    // shut down.
    void close();

  private:
    using Clock = std::chrono::steady_clock;

    void watch(const std::stop_token& stop);
    void look();

    const std::uint16_t port_;
    const DoorLimits limits_;
    std::mutex mutex_;  // of what follows
    std::map<std::uint16_t, Clock::time_point>
        since_;  // by the client's port: when it was seen first
    std::set<std::uint16_t> asked_;
    Clock::time_point closes_ = Clock::time_point::max();
    std::jthread thread_;  // last: it uses all of the above
};

}  // namespace ground::board
