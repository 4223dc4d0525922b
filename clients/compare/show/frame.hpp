// frame.hpp -- the picture of a comparison that is running: the terminal at one moment.
#pragma once

#include "clients/perf/report.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace ground {

// One stage in one scenario.
struct StageLine {
    enum class State { waiting, running, measured, failed };

    std::string name;
    State state = State::waiting;
    std::string words;          // what is being done to it, its result, or why it failed
    std::vector<double> rates;  // requests per second, slice by slice, newest last
    double best = 0;            // the best of them, earlier runs included
};

struct Frame {
    std::string title;
    std::vector<StageLine> stages;
    std::size_t running = 0;  // the index of the stage that runs
    std::size_t slices = 0;   // about how many a measurement has
    std::size_t done = 0;     // measurements that were made
    std::size_t total = 0;    // all measurements
    double share = 0;         // the part of the whole time that is over, from 0 to 1
    double seconds_left = 0;
};

// Lines for a terminal with this many rows. None is as wide as the terminal, because terminals
// disagree about the cursor after a full line. Stages for which there is no room are left out:
// first those farthest from the stage that runs. Names that come from servers and users are shown
// without control characters.
[[nodiscard]] std::vector<std::string> lines_of(const Frame& frame, Style style, std::size_t rows);

// The title and all stages: what stays when the run is over.
[[nodiscard]] std::vector<std::string> picture_of(const Frame& frame, Style style);

// "▆▇█▇▁▁▁▂▇█" in this many columns. Each column shows the mean of equally many rates. If there are
// more rates than fit, the newest are shown; if there are fewer, blanks fill the rest. The scale is
// logarithmic. A column is red if its rate is less than half of the best.
[[nodiscard]] std::string format_sparkline(const std::vector<double>& rates, double best,
                                           std::size_t rates_per_column, std::size_t width,
                                           Style style);

// Control characters become '?'. Without UTF-8, so do all characters that are not ASCII.
[[nodiscard]] std::string printable(std::string_view text, bool utf8);

// The same, and at most this many columns of it. A mark stands for what was cut off.
[[nodiscard]] std::string cut(std::string_view text, std::size_t width, bool utf8);

}  // namespace ground
