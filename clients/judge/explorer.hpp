// explorer.hpp -- the program `explore`, for promises that a server keeps or breaks by chance.
//
// Load finds a wrong order of threads only with luck. If the server is built on common/, explore
// can choose the order.
#pragma once

#include "clients/compare/measure/child.hpp"
#include "clients/judge/judge_options.hpp"
#include "clients/judge/verdict.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace ground::judge {

class Explorer {
  public:
    // `slowdown`: how much longer than its CPU time a computation takes here. explore gets more
    // time on a busy machine.
    Explorer(Supervisor& supervisor, const JudgeOptions& options, double slowdown);

    // A run that has broken the promise, in an order that breaks it each time. Nothing if none was
    // found, or if explore can't tell. Each story takes a quarter of the time that is left, at
    // most. Throws Interrupted. Afterwards nothing is left of the servers.
    [[nodiscard]] std::optional<Run> run(const Promise& promise, Supervisor::Time end);

  private:
    Supervisor& supervisor_;
    const JudgeOptions& options_;
    const double seconds_;  // for each story
    std::string program_;   // empty: the server can't be explored
};

// Whether this program, as a shell finds it, is linked with common/. A script that starts such a
// program is not.
[[nodiscard]] bool is_built_on_common(const std::string& program);

// What `explore --json` says was found. Nothing if there is nothing, or if it is not certain.
[[nodiscard]] std::optional<Run> run_of_report(std::string_view json);

}  // namespace ground::judge
