// page.hpp -- the board's page: of a server that runs, or of one that was recorded.
#pragma once

#include "clients/board/film.hpp"
#include "clients/board/recording.hpp"
#include "clients/shared/catalogue.hpp"

#include <string>
#include <vector>

namespace ground::board {

// The page that asks for frames as they come. Its style and its scripts carry the nonce.
// pane: its number, if it is one of two pages side by side.
[[nodiscard]] std::string live_page(const std::vector<StageEntry>& stages, const std::string& nonce,
                                    const std::string& pane = "");

// The page around two of these. They are served below it, as 0/ and 1/.
[[nodiscard]] std::string pair_page(const std::string& nonce);

// The page for a phone that comes into the room.
[[nodiscard]] std::string phone_page(const std::string& nonce);

// One HTML file that needs no other: it contains the frames, to be played forwards and backwards,
// and those sources that they show.
[[nodiscard]] std::string recorded_page(const std::vector<StageEntry>& stages,
                                        const std::vector<FramePointer>& frames);

// One such file with two of them, side by side, that are played together.
[[nodiscard]] std::string page_beside(const Recording& left, const Recording& right);

}  // namespace ground::board
