// perf_options.hpp -- what perf is asked to do.
#pragma once

#include "clients/shared/target.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground {

using Nanoseconds = std::chrono::nanoseconds;

// One kind of request, and how many of all requests are of this kind, relative to the others.
struct Share {
    unsigned n = 1;
    unsigned weight = 1;
};
using Mix = std::vector<Share>;

enum class Terminator { none, lf, crlf, cr };

struct PerfOptions {
    Target target;
    unsigned connections = 1;
    unsigned threads = 1;
    unsigned pipeline = 1;  // requests in flight on each connection
    Mix mix = {Share{}};
    Terminator terminator = Terminator::lf;
    std::optional<double> rate;  // requests per second, by the clock: an open loop
    bool reconnect = false;      // a new connection for each request
    unsigned idle = 0;           // further connections, which stay silent
    // Without either of these two, perf runs until Ctrl-C.
    std::optional<std::uint64_t> requests;
    std::optional<Nanoseconds> duration;
    Nanoseconds warmup{0};
    Nanoseconds interval = std::chrono::seconds(1);
    bool each = false;
    bool quiet = false;
    bool latency = false;             // show the percentiles
    std::vector<double> percentiles;  // those that the user chose; empty: the usual ones
    bool histograms = false;          // with JSON: all latencies of each interval
    std::optional<std::string> json;  // a file; empty: standard output
    std::optional<std::string> csv;   // the same
};

// Requests per second, "5000" or "0.5": from one a day to 10 million. Nothing if it is not.
[[nodiscard]] std::optional<double> parse_rate(std::string_view text);

// "2s", "500ms", "3m", "1h", "1.5s"; a bare number means seconds. Nothing if it is none of these.
[[nodiscard]] std::optional<Nanoseconds> parse_duration(std::string_view text);

// "500ms", "2s", "90s", "3m": the shortest that parse_duration() reads back.
[[nodiscard]] std::string to_string(Nanoseconds duration);

// "30", or numbers with their weights, "1:99,30:1". Nothing if it is neither, if a number is larger
// than fib_limit, or if all weights are 0.
[[nodiscard]] std::optional<Mix> parse_mix(std::string_view text);

// "fib(30)", or "99% fib(1), 1% fib(30)".
[[nodiscard]] std::string describe(const Mix& mix);

// The options of this run. Does not return if there is nothing to run. After --help the program
// exits with 0. After a mistake it exits with 2, and one line on stderr says what to do.
[[nodiscard]] PerfOptions parse_perf_options(int argc, char** argv);

}  // namespace ground
