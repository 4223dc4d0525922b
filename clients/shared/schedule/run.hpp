// run.hpp -- one run of a story: a server that is started for it, its clients, and their steps.
//
// At every moment at which all threads of the server sleep, some of them are held at the gate (see
// common/observe), and some clients could send something. One of these actors is chosen and takes a
// step. So the run is decided by the choices alone, and the same choices give the same run.
#pragma once

#include "clients/shared/schedule/story.hpp"
#include "common/observe/watcher.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ground::explore {

// What an actor would do next.
struct Act {
    std::string actor;         // "client 1", "thread 1" (of client 1), "main", "worker 1"
    std::string on_behalf_of;  // "client 1" if main or a worker runs its conversation
    bool outside = false;      // a client's program does it
    std::string text;          // of a client: "sends 7"
    observe::Deed deed = observe::Deed::passes;
    std::string file;  // "stages/02d_shared_state.cpp"; empty: not known
    unsigned line = 0;
    std::uint32_t entry = 0;   // in the watcher's table
    std::uint32_t object = 0;  // numbered in the order in which they came; 0: none
    std::uint32_t value = 0;   // read or written

    [[nodiscard]] bool is_shared() const noexcept { return object != 0; }
    [[nodiscard]] bool writes() const noexcept
    {
        return deed == observe::Deed::writes || deed == observe::Deed::changes;
    }
};

struct Step {
    std::vector<Act> enabled;
    std::size_t chosen = 0;
    // The actor of the step before could have gone on, and another one was chosen.
    bool preempts = false;
    std::string waits;  // what the actor came to wait for in this step; empty: it is held again

    [[nodiscard]] const Act& act() const { return enabled[chosen]; }
};

// An actor that could not go on when a story got stuck.
struct Stuck {
    std::string actor;
    std::string why;  // "waits for a lock that thread 2 holds"
    std::string file;
    unsigned line = 0;
};

enum class Outcome {
    kept,     // all promises
    broken,   // one of them
    strange,  // the run could not be judged: see `seen`
};

struct Run {
    Outcome outcome = Outcome::kept;
    std::string promise;  // that was broken
    std::string seen;     // in its place
    std::vector<Step> steps;
    std::vector<Stuck> stuck;
    // What is broken is that something has not come. Perhaps it would have come later.
    bool silent = false;
};

// Which of these goes next? `last` is the index of the actor of the step before; enabled.size() if
// it can't go on.
using Choose = std::function<std::size_t(const std::vector<Act>& enabled, std::size_t last)>;

// Goes on with the actor of the step before, or else with the first: never a pre-emption.
[[nodiscard]] std::size_t choose_by_default(const std::vector<Act>& enabled, std::size_t last);

struct Server {
    std::string name;
    std::string program;
    std::vector<std::string> options;
    std::string file;  // its source, as the seams name it
    // A program of one's own: its command, in place of program and options. {port} stands for the
    // port, or --port is appended.
    std::vector<std::string> command = {};
};

// A run that goes on as its owner chooses, and waits in between. For one thread.
class Play {
  public:
    // Throws ClientError if the server does not start.
    Play(const Server& server, const Story& story);
    ~Play();  // kills the server
    Play(const Play&) = delete;
    Play& operator=(const Play&) = delete;

    [[nodiscard]] bool over() const noexcept;
    [[nodiscard]] const Run& run() const noexcept;  // so far
    // The next steps that are possible; none if it is over.
    [[nodiscard]] const std::vector<Act>& enabled() const noexcept;
    // Of these, the actor of the step before; enabled().size() if it can't go on.
    [[nodiscard]] std::size_t last() const;
    // This one takes a step. Returns when all sleep again. One that is not there ends the run as
    // Outcome::strange.
    void choose(std::size_t chosen);

    // After a silent run: whether a reply comes by itself within this time. The server may have
    // waited for time to pass, or a thread may have waited in a loop for one that was held.
    [[nodiscard]] bool goes_on(std::chrono::milliseconds time);

    // To look at it. While it waits for a choice, call renew() every minute.
    [[nodiscard]] observe::Watcher& watcher() noexcept;
    [[nodiscard]] pid_t pid() const noexcept;
    [[nodiscard]] std::uint16_t port() const noexcept;
    // Of the clients' ends, in the order of the story; 0: it is not there.
    [[nodiscard]] std::vector<std::uint16_t> client_ports() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// Throws ClientError if the server does not start.
[[nodiscard]] Run run(const Server& server, const Story& story, const Choose& choose);

}  // namespace ground::explore
