// board_options.hpp -- what board is asked to do.
#pragma once

#include "clients/board/crowd.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ground::board {

struct BoardOptions {
    std::vector<std::string> stages;         // one, or two side by side
    std::vector<std::string> wrong;          // wrong turns, by their names: the same
    std::vector<std::string> programs;       // servers of one's own, by their paths: the same
    std::vector<std::string> stage_options;  // what is behind --
    std::uint16_t port = 0;                  // of the page; 0: a free one
    bool in_container = false;  // listen on all its addresses, for a port that is forwarded to it
    std::optional<std::string> room;  // phones may come, to this address; empty: to our own
    std::size_t phones_per_address = 4;
    std::string record;               // a file for the last minute; empty: none
    std::vector<std::string> beside;  // two recordings, to be written as one
    std::string puzzle;               // its name; empty: none
    std::string play;                 // the file of a schedule; empty: none
    std::optional<std::chrono::milliseconds> duration;
    std::vector<std::pair<Role, std::size_t>> with;  // which clients come, one after the other
};

// Does not return after --help, nor after a mistake, which it reports in one line.
[[nodiscard]] BoardOptions parse_board_options(int argc, char** argv);

}  // namespace ground::board
