// support.hpp -- what the fault tests have in common.
#pragma once

#include "tests/suite.hpp"
#include "verdict.hpp"

#include <sys/resource.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>

namespace ground::test {

void check_serves(const Server& server);

// How many descriptors a server needs for itself: as many as with one client, minus one. (A server
// without clients may have just begun to listen, and not have opened all of them yet.)
[[nodiscard]] std::size_t own_descriptors(const Server& server);

// Waits until everything that the server has opened for its clients is closed.
void check_descriptors_return_to(std::size_t before, const Server& server);

// After a sudden death other processes clean up, which may take a moment.
void check_nothing_is_left(const Server& server);

// Call it right after the server's end: the server itself has ended its workers.
void check_nothing_was_left(const Server& server);

// Of clients that have asked one after the other, the one whose reply comes next. As a rule that is
// the first client. If each of several loops has its own queue of newcomers, it may be any client.
[[nodiscard]] std::deque<Client>::iterator next_served(std::deque<Client>& clients);

void check_port_is_free(const Server& server);

// The other clients, beside a client that is connected and causes a fault.
class Others {
  public:
    // They connect after the client at fault: a stage that serves one client serves that one.
    explicit Others(const Server& server) : client_(server) {}

    // They are served meanwhile. If the stage serves one client at a time, they are not.
    void check_now();
    // They are served in the end, whatever the stage.
    void check_when_it_has_left();

    // The result of check_now().
    void report(const std::string& reason_if_held = {}) const;

  private:
    Client client_;
    bool waiting_ = false;
};

[[nodiscard]] std::size_t count(std::string_view text, std::string_view word);

// Keeps one core busy for a while: a measure for what another process uses meanwhile.
void burn(std::chrono::milliseconds cpu_time);

void allow_descriptors(rlim_t number);

// The soft limit of a running process, which can be raised again. Name its user if that is not
// ours.
void set_limit(pid_t pid, __rlimit_resource resource, rlim_t limit, std::optional<uid_t> user = {});

}  // namespace ground::test
