// format.hpp -- figures as people read them.
#pragma once

#include <string>

namespace ground {

// "81 us", "2.1 ms", "1.20 s": for a line that is read as it scrolls by.
[[nodiscard]] std::string format_time(double nanoseconds);

// "81.00us", "2.10ms", "1.20s": for columns, as wrk prints them.
[[nodiscard]] std::string format_time_column(double nanoseconds);

// "950.00", "56.20k", "1.20M"
[[nodiscard]] std::string format_count_column(double count);

// "512.00B", "17.76KB", "1.20MB"; by powers of 1024, as wrk does.
[[nodiscard]] std::string format_bytes(double bytes);

// A bar of at most `width` columns for a value between 0 and `best`. In UTF-8 it is drawn to an
// eighth of a column, otherwise with '#'. Anything above 0 shows something.
[[nodiscard]] std::string format_bar(double value, double best, unsigned width, bool utf8);

}  // namespace ground
