// report.hpp -- what explore has found, in words.
#pragma once

#include "clients/shared/schedule/schedule_file.hpp"
#include "clients/shared/schedule/search.hpp"
#include "clients/shared/schedule/source.hpp"

#include <string>

namespace ground::explore {

struct Explored {
    Server server;
    Story story;
    Result result;
};

// What was found, or how likely nothing is there.
[[nodiscard]] std::string to_report(const Explored& explored, const Source& source);
// Of a schedule that was played.
[[nodiscard]] std::string to_report(const Run& run, const Source& source);
[[nodiscard]] std::string to_json(const std::vector<Explored>& all, const Source& source);

[[nodiscard]] ScheduleFile to_schedule_file(const Explored& explored, const Run& run,
                                            const Source& source);

}  // namespace ground::explore
