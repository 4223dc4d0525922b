// explore_options.hpp -- what explore is asked to do.
#pragma once

#include "clients/shared/schedule/search.hpp"

#include <string>
#include <vector>

namespace ground::explore {

struct ExploreOptions {
    std::string stage;
    std::vector<std::string> stage_options;
    std::string wrong;  // the name of a wrong turn
    std::string story;  // empty: the usual ones
    std::string play;   // a file with a schedule
    std::string puzzle;
    bool puzzles = false;  // which puzzles there are
    std::string page;      // a file for the recordings of what was found; empty: none
    std::string save;      // where to put the schedule that was found
    std::string json;
    bool list = false;   // which stories there are
    bool quiet = false;  // no progress
    Limits limits;
};

// Does not return after --help, nor after a mistake, which it reports in one line.
[[nodiscard]] ExploreOptions parse_explore_options(int argc, char** argv);

}  // namespace ground::explore
