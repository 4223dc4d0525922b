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
    // By the numbers of a scenario and a contestant; a measurement for each run, as far as it went.
    std::map<std::pair<std::size_t, std::size_t>, std::vector<Measurement>> runs;
    bool complete = false;
    std::vector<std::string> left_out;  // scenarios of which nothing was measured before the end
    std::optional<Baseline> baseline;
    // How busy other programs kept the CPUs while none of ours ran, in percent; the most of it.
    double others_busy = 0;
};

// Of one figure over the runs that have it. Nothing if none has.
[[nodiscard]] std::optional<Summary> summarise(const std::vector<Measurement>& runs,
                                               const std::string& key);

// As a table has it: "18,745", "5.1 ms".
[[nodiscard]] std::string format_figure(double value, Unit unit);

// "fast > also fast ~ the next > slow", best first; '~' where the runs of two neighbours are not
// further apart than those of each, or where it was the client that limited both: there is no
// telling which is better. Or why there
// is no such order; empty if there is nothing to put in order.
[[nodiscard]] std::string ranking(const Comparison& comparison, std::size_t scenario);

// For each run of a scenario against a contestant, as far as it went; maybe none.
[[nodiscard]] const std::vector<Measurement>& runs_of(const Comparison& comparison,
                                                      std::size_t scenario, std::size_t contestant);

// Rows of cells; the first is the titles', and the last cell of each has the remarks.
using Table = std::vector<std::vector<std::string>>;

// What all forms of a report say about a scenario: a row for each contestant, a spread behind this
// sign, and the lines that belong below.
[[nodiscard]] Table table_of(const Comparison& comparison, std::size_t scenario,
                             std::string_view plus_minus);
[[nodiscard]] std::vector<std::string> notes_below(const Comparison& comparison,
                                                   std::size_t scenario);

// What this run has shown of each contestant, a sentence each, out of its figures and nothing else.
[[nodiscard]] std::vector<std::string> conclusions(const Comparison& comparison);

// Takes out the scenarios that were not begun: they are left_out.
void leave_out_unmeasured(Comparison& comparison);

// Of a comparison that was stopped: how far it went, and what is missing. Else empty.
[[nodiscard]] std::string how_far(const Comparison& comparison);

// How all of it was measured, and how far it is to be trusted: sentences.
[[nodiscard]] std::string method(const Comparison& comparison);

enum class TableForm { plain, plain_utf8, markdown };

inline constexpr std::size_t any_width = std::numeric_limits<std::size_t>::max();

// No wider than that, except for Markdown.
[[nodiscard]] std::string format_table(const Comparison& comparison, TableForm form,
                                       std::size_t width = any_width);

// One line for each figure of each run.
[[nodiscard]] std::string format_csv(const Comparison& comparison);

[[nodiscard]] std::string format_json(const Comparison& comparison);

// "51,234 reqs/sec" or "died": for the line that says how far it has got.
[[nodiscard]] std::string brief(const Scenario& scenario, const Measurement& measurement);

// Whether some contestant could not be measured in some run.
[[nodiscard]] bool any_failed(const Comparison& comparison);

}  // namespace ground
