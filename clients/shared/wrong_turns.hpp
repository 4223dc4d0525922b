// wrong_turns.hpp -- the wrong turns that are built: stages with a mistake in them.
#pragma once

#include "clients/shared/catalogue.hpp"

#include <string>
#include <vector>

namespace ground {

struct WrongTurn {
    StageEntry entry;  // the stage's, but with the name, the program and the source of the mistake
    std::vector<std::string> options;
    std::string story;    // in which explore finds it; empty: in none
    bool counts = false;  // the request `count` is answered with the number of requests
};

// From the table that CMake has put beside the programs, in `directory`/wrong_turns. Throws
// ClientError if there is no wrong turn of that name, or if it is not built.
[[nodiscard]] WrongTurn find_wrong_turn(const Catalogue& catalogue, const std::string& directory,
                                        const std::string& name);

}  // namespace ground
