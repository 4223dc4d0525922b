// report.hpp -- what perf shows: the live view, the report at the end, JSON and CSV.
#pragma once

#include "clients/perf/load.hpp"

#include <cstdio>
#include <string>

namespace ground {

// How a stream can be written to.
struct Style {
    bool colour = false;
    bool utf8 = false;
    unsigned columns = 80;

    // A stream that is no terminal gets plain ASCII text without control characters. NO_COLOR
    // (no-color.org) and TERM=dumb are respected. Call after setlocale().
    [[nodiscard]] static Style of(std::FILE* stream);
};

// Prints a line for each interval, or for each reply (--each), as they come.
class LiveView : public LoadObserver {
  public:
    LiveView(const PerfOptions& options, std::FILE* out, Style style)
        : options_(options), out_(out), style_(style)
    {
    }

    void on_interval(const Interval& interval) override;
    void on_reply(unsigned n, Number fib, Nanoseconds latency) override;

  private:
    const PerfOptions& options_;
    std::FILE* out_;
    Style style_;
    double best_ = 0;  // requests per second of the best interval so far
};

// Writes the header, and then a line of CSV for each interval of the measuring, as they come.
class CsvView : public LoadObserver {
  public:
    explicit CsvView(std::FILE* out);

    void on_interval(const Interval& interval) override;
    void on_reply(unsigned /*n*/, Number /*fib*/, Nanoseconds /*latency*/) override {}

  private:
    std::FILE* out_;
};

// "11873 reqs/sec   p50 81 us    p99 120 us   ####################", without the line's end.
[[nodiscard]] std::string format_interval(const Interval& interval, double best, Style style);

// What is about to run, in two lines.
[[nodiscard]] std::string format_header(const PerfOptions& options);

// The result, in the order that users of wrk know.
[[nodiscard]] std::string format_report(const PerfOptions& options, const LoadResult& result);

// The same as one JSON object. Times end in their unit: _s seconds, _us microseconds.
[[nodiscard]] std::string format_json(const PerfOptions& options, const LoadResult& result);

// What went wrong, one sentence each; empty if all went well. The exit status depends on it.
[[nodiscard]] std::vector<std::string> failures(const PerfOptions& options,
                                                const LoadResult& result);

// What a reader of the figures must know although nothing went wrong.
[[nodiscard]] std::vector<std::string> warnings(const PerfOptions& options,
                                                const LoadResult& result);

}  // namespace ground
