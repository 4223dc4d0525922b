// explore_options.hpp -- what explore is asked to do.
#pragma once

#include "clients/shared/schedule/search.hpp"

#include <string>
#include <vector>

namespace ground::explore {

struct ExploreOptions {
    std::string stage;
    std::vector<std::string> stage_options;
    std::string wrong;                 // the name of a wrong turn
    std::string story;                 // empty: the usual ones
    std::string play;                  // a file with a schedule
    std::string order;                 // or a schedule in one line
    std::vector<std::string> command;  // a program of one's own, in place of a stage
    std::string as;                    // the stage that it is like
    std::string puzzle;
    bool puzzles = false;  // which puzzles there are
    std::string page;      // a file for the recordings of what was found; empty: none
    std::string save;      // where to put the schedule that was found
    std::string json;
    bool list = false;   // which stories there are
    bool quiet = false;  // no progress
    Limits limits;
};

// Does not return after --help or after a mistake. It reports a mistake in one line.
[[nodiscard]] ExploreOptions parse_explore_options(int argc, char** argv);

}  // namespace ground::explore
