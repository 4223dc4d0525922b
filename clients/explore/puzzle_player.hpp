// puzzle_player.hpp -- a puzzle on a terminal.
#pragma once

#include "clients/shared/schedule/puzzle.hpp"

namespace ground::explore {

// Plays it on stdin and stdout. Returns whether it was solved.
[[nodiscard]] bool play_puzzle(Game& game);

}  // namespace ground::explore
