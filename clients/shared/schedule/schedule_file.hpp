// schedule_file.hpp -- a schedule as a text that can be read, edited and played.
//
//     explore schedule 1
//     stage: 02d_shared_state
//     options: --guard none
//     story: two
//     source: stages/02d_shared_state.cpp 3af1c2d4
//     client 1: sends 7
//     thread 1: reads answered_, 02d_shared_state:51
//
// The text behind the colon is for the reader. It is also compared when the schedule is played.
#pragma once

#include "clients/shared/schedule/search.hpp"

#include <string>
#include <vector>

namespace ground::explore {

struct ScheduleFile {
    std::string stage;  // or wrong turn
    std::vector<std::string> options;
    std::string story;
    std::string source;  // "stages/02d_shared_state.cpp 3af1c2d4"
    Schedule actors;
    std::vector<std::string> acts;  // as long as actors; empty: anything
};

// A number that changes with the text.
[[nodiscard]] std::string fingerprint(const std::string& text);

[[nodiscard]] std::string to_text(const ScheduleFile& file);

// A schedule in one line: "client 2, client 1, thread 2 x 6".
[[nodiscard]] std::string to_order(const Schedule& schedule);
// Throws ClientError.
[[nodiscard]] Schedule parse_order(const std::string& text);

// Throws ClientError that names the line.
[[nodiscard]] ScheduleFile parse_schedule(const std::string& text);

// The same, of a file. Names the file, too.
[[nodiscard]] ScheduleFile read_schedule(const std::string& file);

}  // namespace ground::explore
