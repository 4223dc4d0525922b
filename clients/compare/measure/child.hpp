// child.hpp -- the programs that compare starts, and waiting for them.
//
// A child is the leader of a process group of its own. So Ctrl-C reaches compare alone, which then
// ends its children in the right order. However compare ends, its children end, too. A destructor
// kills the whole group. If compare is killed, the kernel kills the child (PR_SET_PDEATHSIG). The
// kernel does not kill the child's own children, but a stage ends its pool's workers.
//
// All of it belongs to one thread. (Other threads do no harm, because between fork and exec there
// are only system calls.)
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ground {

class Child;

// The user wants to stop. Every wait may throw this.
struct Interrupted {};

// Waits for events of all children, and for signals of the user. It must outlive its children.
class Supervisor {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // From now on SIGINT, SIGTERM and SIGHUP are blocked, and wait() notices them. wait() also
    // calls tick a few times a second, so that the display can show that time passes.
    explicit Supervisor(std::function<void()> tick);
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;

    // Returns whether the condition became true before the deadline. It is checked whenever a child
    // has written something or has ended. Throws Interrupted.
    bool wait(const std::function<bool()>& condition, Time deadline);

  private:
    friend class Child;

    static constexpr std::chrono::milliseconds tick_period{200};

    Descriptor signals_;  // a signalfd
    std::function<void()> tick_;
    Time next_tick_ = Time::min();
    std::vector<Child*> children_;
};

struct Command {
    std::vector<std::string> arguments;         // the first is the program's path
    std::vector<int> cpus;                      // where it may run; empty: anywhere
    std::vector<std::string> environment = {};  // "NAME=value", beside ours
};

class Child {
  public:
    // Its standard input is empty. If the program cannot be executed, the child says so and ends
    // with status 127.
    Child(Supervisor& supervisor, const Command& command);
    // Kills its group and waits for it.
    ~Child();
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] bool ended() const noexcept { return ending_.has_value(); }
    // "exit status 3", "signal 9 (Killed)"
    [[nodiscard]] std::string ending() const;
    void signal(int number) noexcept;

    // What it has written so far, or only the end of it if that was too much.
    [[nodiscard]] const std::string& out() const noexcept { return out_.text; }
    [[nodiscard]] const std::string& err() const noexcept { return err_.text; }

    // Asks the child to end (SIGTERM) and waits for its end, but not for long. The user can't
    // interrupt this wait.
    void terminate() noexcept;

  private:
    friend class Supervisor;

    struct Stream {
        Descriptor pipe;
        std::string text;
        void read();
    };
    struct Ending {
        bool killed = false;
        int status = 0;  // the signal's number if it was killed
    };
    void look_whether_ended() noexcept;

    Supervisor& supervisor_;
    pid_t pid_ = -1;
    Descriptor pidfd_;
    Stream out_;
    Stream err_;
    std::optional<Ending> ending_;  // no waitpid() yet, so no other process gets its pid
};

}  // namespace ground
