// comparison.hpp -- what all measurements together say, and its forms: table, Markdown, CSV, JSON.
#pragma once

#include "clients/compare/judge/baseline.hpp"
#include "clients/compare/measure/machine.hpp"
#include "clients/compare/measure/scenarios.hpp"

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ground {

struct Comparison {
    CompareOptions options;
    std::string command;  // to run it again
    std::string date;
    Machine machine;
    std::string placement;
    std::vector<Contestant> contestants;
    std::vector<Scenario> scenarios;
    // By index of scenario and of contestant: a measurement for each run that was made.
    std::map<std::pair<std::size_t, std::size_t>, std::vector<Measurement>> runs;
    bool complete = false;
    std::vector<std::string> left_out;  // scenarios of which nothing was measured before the end
    std::optional<Baseline> baseline;
    // How busy other programs kept the CPUs while none of ours ran, in percent: the largest value.
    double others_busy = 0;
};

// The median and extremes of one figure, over the runs that have it. Nothing if none has.
[[nodiscard]] std::optional<Summary> summarise(const std::vector<Measurement>& runs,
                                               const std::string& key);

// As a table shows it: "18,745", "5.1 ms".
[[nodiscard]] std::string format_figure(double value, Unit unit);

// "fast > also fast ~ the next > slow", best first. A '~' between neighbours means that it is
// impossible to tell which is better. Either the gap between their runs, if there is one, is
// smaller than the wider spread of the two, or the client limited both. If there is no such order,
// the text says why. Empty if there is nothing to order.
[[nodiscard]] std::string ranking(const Comparison& comparison, std::size_t scenario);

// The measurements of a scenario against a contestant, one for each run that was made; maybe none.
[[nodiscard]] const std::vector<Measurement>& runs_of(const Comparison& comparison,
                                                      std::size_t scenario, std::size_t contestant);

// Rows of cells. The first row has the titles. The last cell of each row has the remarks.
using Table = std::vector<std::vector<std::string>>;

// What all forms of a report say about a scenario: a row for each contestant and the lines below
// it. The sign stands in front of each spread.
[[nodiscard]] Table table_of(const Comparison& comparison, std::size_t scenario,
                             std::string_view plus_minus);
[[nodiscard]] std::vector<std::string> notes_below(const Comparison& comparison,
                                                   std::size_t scenario);

// What this comparison has shown of each contestant, a sentence each, from its figures alone.
[[nodiscard]] std::vector<std::string> conclusions(const Comparison& comparison);

// Moves the names of scenarios that were not begun to left_out.
void leave_out_unmeasured(Comparison& comparison);

// Of a comparison that was stopped: how far it got, and what is missing. Otherwise empty.
[[nodiscard]] std::string how_far(const Comparison& comparison);

// How the figures were measured, and how far you can trust them, in sentences.
[[nodiscard]] std::string method(const Comparison& comparison);

enum class TableForm { plain, plain_utf8, markdown };

inline constexpr std::size_t any_width = std::numeric_limits<std::size_t>::max();

// No line is wider than that, except in Markdown.
[[nodiscard]] std::string format_table(const Comparison& comparison, TableForm form,
                                       std::size_t width = any_width);

// One line for each figure of each run.
[[nodiscard]] std::string format_csv(const Comparison& comparison);

[[nodiscard]] std::string format_json(const Comparison& comparison);

// "51,234 reqs/sec" or "died": for the line that shows the progress.
[[nodiscard]] std::string brief(const Scenario& scenario, const Measurement& measurement);

// Whether a contestant could not be measured in some run.
[[nodiscard]] bool any_failed(const Comparison& comparison);

}  // namespace ground
