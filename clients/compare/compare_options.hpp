// compare_options.hpp -- what compare is asked to do.
#pragma once

#include "clients/perf/perf_options.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground {

enum class Pin { apart, together, off };

// A server to measure: a program that compare starts, or a server that is running already.
struct Contestant {
    std::string name;
    std::string program;    // its path; empty: it is running already
    Target target;          // where a server that is running already listens
    bool has_pool = false;  // knows --pool; asked only if that is given
};

struct CompareOptions {
    std::vector<std::string> stages;    // as the user names them; empty: talk, unless external
    std::vector<Contestant> externals;  // in the order given
    std::vector<std::string> scenarios;
    unsigned clients = 16;
    Nanoseconds duration = std::chrono::seconds(1);
    unsigned runs = 3;
    unsigned big = 40;
    unsigned idle = 1100;    // connections; more than select() can watch
    unsigned pipeline = 16;  // requests in a segment
    Pin pin = Pin::apart;
    std::string pool;  // empty: the stages' default
    Nanoseconds timeout = std::chrono::seconds(10);
    std::string baseline;  // a file; empty: none
    // Each a file; empty: standard output.
    std::optional<std::string> json;
    std::optional<std::string> csv;
    std::optional<std::string> markdown;
    std::optional<std::string> html;  // never standard output
};

// "NAME=HOST:PORT". Nothing if it is not that.
[[nodiscard]] std::optional<Contestant> parse_external(std::string_view text);

// The options of this run. Does not return if there is nothing to run. After --help the program
// exits with 0. After a mistake it exits with 2, and one line on stderr says what to do.
[[nodiscard]] CompareOptions parse_compare_options(int argc, char** argv);

// The servers to measure: the stages and groups asked for, out of those in the directory, or
// programs by their path, and then the externals. Throws ClientError if there is no such stage.
[[nodiscard]] std::vector<Contestant> contestants_of(const CompareOptions& options,
                                                     const std::string& directory);

}  // namespace ground
