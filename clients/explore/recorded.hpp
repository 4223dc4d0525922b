// recorded.hpp -- what was found, as a page: the board's recordings of both schedules.
#pragma once

#include "clients/explore/report.hpp"

#include <string>

namespace ground::explore {

// Runs `board`, the program, to record the schedule that breaks a promise and, if there is one, the
// schedule beside it. Throws ClientError.
void write_page(const std::string& board, const std::string& page, const Explored& explored,
                const Source& source);

}  // namespace ground::explore
