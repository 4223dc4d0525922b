// comparison.hpp -- what all measurements together say, and its forms: table, Markdown, CSV, JSON.
#pragma once

#include "clients/machine.hpp"
#include "clients/scenarios.hpp"

#include <map>
#include <optional>
#include <string>
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
};

struct Summary {
    double median = 0;
    double low = 0;
    double high = 0;

    // Half the distance from low to high, relative to the median.
    [[nodiscard]] double spread() const noexcept
    {
        return median > 0 ? (high - low) / 2 / median : 0;
    }
};

// Of one figure over the runs that have it. Nothing if none has.
[[nodiscard]] std::optional<Summary> summarise(const std::vector<Measurement>& runs,
                                               const std::string& key);

// "fast > also fast ~ the next > slow", best first; '~' where the runs of two neighbours overlap,
// or where it was the client that limited both: there is no telling which is better. Or why there
// is no such order; empty if there is nothing to put in order.
[[nodiscard]] std::string ranking(const Comparison& comparison, std::size_t scenario);

enum class TableForm { plain, plain_utf8, markdown };

[[nodiscard]] std::string format_table(const Comparison& comparison, TableForm form);

// One line for each figure of each run.
[[nodiscard]] std::string format_csv(const Comparison& comparison);

[[nodiscard]] std::string format_json(const Comparison& comparison);

// "51,234 reqs/sec" or "died": for the line that says how far it has got.
[[nodiscard]] std::string brief(const Scenario& scenario, const Measurement& measurement);

// Whether some contestant could not be measured in some run.
[[nodiscard]] bool any_failed(const Comparison& comparison);

}  // namespace ground
