// baseline.hpp -- an earlier comparison, read from its JSON, to compare the new one with.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ground {

struct Comparison;

// The median and the extremes of a figure over several runs.
struct Summary {
    double median = 0;
    double low = 0;
    double high = 0;

    // Half the distance from low to high, relative to the median.
    [[nodiscard]] double spread() const noexcept
    {
        return median > 0 ? (high - low) / 2 / median : 0;
    }
    // Whether it is impossible to tell which is larger. Then the runs of the two overlap, or the
    // gap between them is smaller than the wider of the two ranges from low to high. (That two or
    // three runs do not overlap is too often chance.)
    [[nodiscard]] bool close_to(const Summary& other) const noexcept
    {
        const double distance = std::max(low - other.high, other.low - high);
        return distance <= 0 || distance < std::max(high - low, other.high - other.low);
    }
};

struct Baseline {
    std::string file;
    std::string date;
    std::vector<std::string> differences;  // in how it was measured: "16 clients, now 4"
    struct Entry {
        Summary summary;  // of the figure that the scenario is ranked by
        std::size_t runs = 0;
    };
    std::map<std::pair<std::string, std::string>, Entry> entries;  // by scenario and stage
};

// Throws ClientError if the file can't be read, or is something else.
[[nodiscard]] Baseline load_baseline(const std::string& file, const Comparison& now);

// "+5%", or "~ +5%" if the two differ by no more than their runs do.
[[nodiscard]] std::string change_since(const Baseline::Entry& then, const Baseline::Entry& now);

}  // namespace ground
