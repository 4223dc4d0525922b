// suite.hpp -- the program that has the test cases, `promises`, run in processes of its own.
#pragma once

#include "clients/compare/measure/child.hpp"
#include "clients/judge/judge_options.hpp"
#include "clients/judge/verdict.hpp"

#include <string>
#include <vector>

namespace ground::judge {

class Suite {
  public:
    // Throws ClientError if there is no such program beside this one.
    Suite(Supervisor& supervisor, const JudgeOptions& options);

    // Throws ClientError if the suite refuses the options.
    [[nodiscard]] std::vector<Promise> list();

    // The server ignores SIGTERM, so asking it costs time only.
    void kill_at_once() { grace_ = std::chrono::milliseconds(0); }

    // Runs it that many times, at the same time. A run that has not ended by the end is undecided.
    // Throws Interrupted. Afterwards nothing is left of the servers.
    [[nodiscard]] std::vector<Run> run(const Promise& promise, unsigned times,
                                       Supervisor::Time end);

    // What the last runs said on stderr, for --verbose.
    [[nodiscard]] const std::string& said() const noexcept { return said_; }

  private:
    [[nodiscard]] Command command(std::vector<std::string> words) const;

    Supervisor& supervisor_;
    const JudgeOptions& options_;
    std::string program_;
    std::chrono::milliseconds grace_{1000};
    std::string said_;
};

// Ends all processes that this one has started, and theirs. They are its children, because orphans
// become its children (PR_SET_CHILD_SUBREAPER).
void end_all_children() noexcept;

}  // namespace ground::judge
