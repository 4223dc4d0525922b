// puzzle.hpp -- the reader is the scheduler: make a server break its promise.
#pragma once

#include "clients/explore/report.hpp"

#include <functional>
#include <string>
#include <vector>

namespace ground::explore {

struct Puzzle {
    std::string name;
    std::string goal;
    std::string stage;  // or, if it has a mistake of its own, the wrong turn
    bool wrong = false;
    std::vector<std::string> options;
    std::string story;
    bool can_be_solved = true;  // else the solution is to say so
    std::vector<std::string> hints;
    std::string lesson;  // afterwards
};

[[nodiscard]] const std::vector<Puzzle>& puzzles();

// Throws ClientError if there is none of this name.
[[nodiscard]] const Puzzle& find_puzzle(const std::string& name);

// Plays it on stdin and stdout. Returns whether it was solved.
[[nodiscard]] bool play_puzzle(const Puzzle& puzzle, const Server& server, const Story& story,
                               const Source& source);

}  // namespace ground::explore
