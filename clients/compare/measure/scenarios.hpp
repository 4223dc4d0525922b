// scenarios.hpp -- what compare does to each stage.
#pragma once

#include "clients/compare/measure/bench.hpp"

#include <map>
#include <string>
#include <vector>

namespace ground {

// The rate over time, in slices.
struct Slice {
    double at_s = 0;  // when it ended, counted from the beginning of the measuring
    double rate = 0;  // requests per second
};

// A part of that time in which something was the case: "hog".
struct Phase {
    std::string name;
    double begin_s = 0;
    double end_s = 0;
};

// What one run of one scenario against one stage has shown.
struct Measurement {
    std::map<std::string, double> figures;     // see the scenario's columns; those it has
    std::map<std::string, std::string> words;  // instead of a figure, or of a figure of 0
    std::vector<std::string> remarks;          // "15 of 16 clients starved"
    std::string verdict;                       // "died"; empty: it was measured
    std::string detail;                        // more about the verdict
    bool client_was_busy = false;              // nearly all of the time, so the figures are its own
    std::vector<Slice> timeline;               // of the small clients
    std::vector<Phase> phases;                 // in order; none if nothing changed meanwhile
};

enum class Unit { rate, time_us, cpu_us, percent, bytes, count, factor };

struct Column {
    std::string key;
    std::string title;
    Unit unit;
    bool spread = false;  // shown with its spread
};

struct Scenario {
    std::string name;
    std::string (*title)(const CompareOptions& options);
    Measurement (*measure)(const Bench& bench, const Contestant& contestant);
    double (*seconds)(const CompareOptions& options);  // about how long a measurement takes
    std::vector<Column> columns;
    std::string ranked_by;  // a column
    bool more_is_better = true;
    bool server_has_all_cpus = false;  // whatever --pin says, because its clients only wait
};

[[nodiscard]] const std::vector<Scenario>& all_scenarios();
[[nodiscard]] std::vector<std::string> scenario_names();

// Measures. Throws Interrupted, but nothing that the stage could have caused.
[[nodiscard]] Measurement measure(const Scenario& scenario, const Bench& bench,
                                  const Contestant& contestant);

}  // namespace ground
