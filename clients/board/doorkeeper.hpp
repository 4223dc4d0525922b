// doorkeeper.hpp -- puts out connections that ask for too much, or that never come to ask.
//
// cpp-httplib reads a request's head for as long as bytes come, and as many as come. It lets nobody
// look at a connection before that head is whole. So the doorkeeper finds the connections by
// itself, among this process's descriptors, and shuts those down that are beyond their bounds:
// their reader then sees the end.
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
    std::uint64_t bytes = 64 << 10;           // that one connection may send
    std::chrono::milliseconds to_leave{500};  // from close() until whoever is there is put out
    std::chrono::milliseconds between_looks{50};
};

class Doorkeeper {
  public:
    // Of the connections that a server in this process has accepted on that port.
    explicit Doorkeeper(std::uint16_t port, DoorLimits limits = {});
    // To be destroyed when the server's threads have ended.
    ~Doorkeeper();
    Doorkeeper(const Doorkeeper&) = delete;
    Doorkeeper& operator=(const Doorkeeper&) = delete;

    // From any thread: the client that has this port has asked.
    void has_asked(int port);
    // From any thread: nobody is served any more; whoever stays too long is put out.
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
