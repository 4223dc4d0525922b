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

// How many descriptors it needs for itself: as many as with one client, but for that one. (With
// none it may have just begun to listen, and not have opened all that it will.)
[[nodiscard]] std::size_t own_descriptors(const Server& server);

// All that it has opened for its clients is closed again.
void check_descriptors_return_to(std::size_t before, const Server& server);

// After its sudden death others have to see to that, which may take a moment.
void check_nothing_is_left(const Server& server);

// Right after its end: it has not left its workers to die by themselves.
void check_nothing_was_left(const Server& server);

// Of clients who come in a row and have asked, the one whose reply comes next. The first, as a
// rule; where each of several loops has a queue of newcomers of its own, whoever has one.
[[nodiscard]] std::deque<Client>::iterator next_served(std::deque<Client>& clients);

void check_port_is_free(const Server& server);

// Everybody else, beside a client that is connected and up to no good.
class Others {
  public:
    // Connect after that client: where only one is served, that shall be it.
    explicit Others(const Server& server) : client_(server) {}

    // They are served meanwhile. Or, where one client is served at a time, they are not.
    void check_now();
    // They are served in the end, whatever the stage.
    void check_when_it_has_left();

    // What check_now() has seen.
    void report(const std::string& reason_if_held = {}) const;

  private:
    Client client_;
    bool waiting_ = false;
};

[[nodiscard]] std::size_t count(std::string_view text, std::string_view word);

// Keeps one core busy for a while: the measure for what somebody else uses meanwhile.
void burn(std::chrono::milliseconds cpu_time);

void allow_descriptors(rlim_t number);

// The soft limit of a process that runs: it can be lifted again. Name its user if that is not ours.
void set_limit(pid_t pid, __rlimit_resource resource, rlim_t limit, std::optional<uid_t> user = {});

}  // namespace ground::test
