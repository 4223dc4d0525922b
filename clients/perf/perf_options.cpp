#include "clients/perf/perf_options.hpp"

#include "common/base/command_line.hpp"
#include "common/base/numbers.hpp"
#include "common/server/fib.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <utility>

namespace ground {

namespace {

std::vector<std::string_view> split(std::string_view text, char separator)
{
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(end + 1);
    }
}

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "perf: {}\n", why);
    std::exit(2);
}

// Combinations of options that make sense only one by one.
void check_combination(const PerfOptions& options)
{
    if (options.threads > options.connections) {
        refuse(fmt::format("--threads {} needs --connections {}: each thread has at least one",
                           options.threads, options.threads));
    }
    if (options.terminator == Terminator::none && options.pipeline > 1) {
        refuse(
            "--terminator none needs --pipeline 1: without an end, several requests look like one");
    }
    if (options.requests && *options.requests < options.connections) {
        refuse(fmt::format("--requests {} is too few for {} connections; each sends at least one",
                           *options.requests, options.connections));
    }
    if (options.reconnect && options.pipeline > 1) {
        refuse("--reconnect needs --pipeline 1: each connection is for one request");
    }
    if (options.json && options.csv && *options.json == *options.csv) {
        refuse(options.json->empty()
                   ? "--json and --csv can't both go to standard output; try --csv=FILE"
                   : fmt::format("--json and --csv can't both go to {}; choose two files",
                                 *options.json));
    }
    if (options.histograms && !options.json) {
        refuse("--histograms are part of the JSON; add --json");
    }
    if (options.each && options.quiet) {
        refuse("--each prints while it runs and --quiet does not; choose one of them");
    }
}

// An option with a syntax of its own. The message says that the value is "not EXPECTED".
template <typename T, typename Parse>
void add_parsed(CLI::App& app, const std::string& name, T& target, Parse parse,
                const std::string& expected)
{
    app.add_option_function<std::string>(name, [&target, parse, name,
                                                expected](const std::string& text) {
        auto value = parse(text);
        if (!value) {
            const std::string option = name.substr(name.find(',') + 1);
            throw CLI::ValidationError(fmt::format("{}: '{}' is not {}", option, text, expected));
        }
        target = std::move(*value);
    });
}

std::optional<std::uint64_t> parse_positive(std::string_view text)
{
    const auto number = parse_number<std::uint64_t>(text);
    return number && *number > 0 ? number : std::nullopt;
}

std::optional<Nanoseconds> parse_positive_duration(std::string_view text)
{
    const auto duration = parse_duration(text);
    return duration && duration->count() > 0 ? duration : std::nullopt;
}

std::optional<Nanoseconds> parse_interval(std::string_view text)
{
    const auto interval = parse_duration(text);
    return interval && *interval >= std::chrono::milliseconds(10) ? interval : std::nullopt;
}

std::optional<std::vector<double>> parse_percentiles(std::string_view text)
{
    std::vector<double> percentiles;
    for (const std::string_view part : split(text, ',')) {
        const auto value = parse_number<double>(part);
        if (!value || !(*value >= 0 && *value <= 100)) {
            return std::nullopt;
        }
        percentiles.push_back(*value);
    }
    return percentiles;
}

std::optional<Terminator> parse_terminator(std::string_view text)
{
    constexpr std::array<std::pair<std::string_view, Terminator>, 4> names{
        {{"none", Terminator::none},
         {"lf", Terminator::lf},
         {"crlf", Terminator::crlf},
         {"cr", Terminator::cr}}};
    for (const auto& [name, terminator] : names) {
        if (name == text) {
            return terminator;
        }
    }
    return std::nullopt;
}

// Written by hand, because it is projected to a class. A test compares it with the options that
// there are.
constexpr auto help = R"(perf [OPTIONS] [HOST:PORT]          (without one: localhost:25000)

Loads a stage with requests, checks every reply, and shows how fast they come.
Without options it is the talk's perf2: one connection that asks for fib(1)
again and again, until Ctrl-C.

What is sent:
  -c, --connections N      connections at the same time                     [1]
  -t, --threads N          threads, which share the connections              [1]
  -P, --pipeline N         requests in flight on each connection            [1]
  -R, --rate N             N requests per second in all, by the clock: an
                           open loop
      --reconnect          a new connection for each request
      --idle N             N further connections, which stay silent         [0]
      --fib N              the number to ask for                            [1]
      --fib 1:99,30:1      a mix of numbers with their weights, drawn at random,
                           but the same in every run
      --terminator T       what ends a request: none, lf, crlf or cr       [lf]
                           (none: a bare number, as the talk's clients send)
How long, if not until Ctrl-C:
  -n, --requests N         until this many requests are answered
  -d, --duration TIME      for this long: 2s, 500ms, 3m
  -w, --warmup TIME        run this long before the measuring begins       [0s]
What is shown:
  -i, --interval TIME      a line at each interval                         [1s]
      --each               instead, a line for each reply
                           (in a mix: for each reply to the biggest number)
  -L, --latency            the percentiles of the latency in the report
      --percentiles LIST   these percentiles, like 50,90,99.9
  -q, --quiet              only the report
  -j, --json               the report as JSON, and nothing else on stdout
      --json=FILE          the report as usual, and as JSON in the file
      --histograms         in the JSON also each interval's latencies, as pairs:
                           microseconds, and how often
      --csv, --csv=FILE    for each interval a line of comma-separated figures
                           instead, or in the file
  -h, --help               this help

Each second has a line with three figures and a bar. The first figure is the
number of replies. Half of them took at most p50, and 99 in 100 at most p99. The
bar is longest in the best second so far. Watch it collapse:

  11873 reqs/sec   p50 81 us    p99 120 us   ##############################
  188 reqs/sec     p50 5.1 ms   p99 10.2 ms  #

It is a closed loop: a connection sends its next request when it has a reply, so
a slow server is also asked less often. With --rate it is an open loop: requests
are due at fixed times, and their latency counts from then. A request that finds
all connections and their pipelines full waits in a queue.

Examples:
  perf                            the talk's perf2
  perf --fib 30 --each            the talk's perf1: the time of each request
  perf -c 64 -d 10s -L            64 clients for ten seconds, with percentiles
  perf -c 256 -t 4 -d 10s         a load for a server with many cores
  perf -c 16 --fib 1:99,30:1      one request in a hundred is a big one
  perf -n 10000 -P 16 -q          10,000 requests, 16 in flight; only the report
  perf -R 1000 -c 16 -d 10s -L    a thousand a second, as from people who keep
                                  coming when the server is slow
  perf --reconnect                what a connection costs
  perf --idle 1000                do a thousand silent clients slow one down?
  perf -d 2s --json | jq .rate    for programs

Exit status: 0 if all went well, 1 if a reply was wrong or missing, 2 after a
mistake in the options.
)";

}  // namespace

std::optional<double> parse_rate(std::string_view text)
{
    const auto rate = parse_number<double>(text);
    // One request a day is slow enough, and its nanoseconds fit.
    return rate && *rate >= 1.0 / 86400 && *rate <= 1e7 ? rate : std::nullopt;
}

std::optional<Nanoseconds> parse_duration(std::string_view text)
{
    const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto value = parse_number<double>(text.substr(0, digits));
    const std::string_view unit = text.substr(digits);
    double nanoseconds = 0;
    if (unit == "ms") {
        nanoseconds = 1e6;
    } else if (unit == "s" || unit.empty()) {
        nanoseconds = 1e9;
    } else if (unit == "m") {
        nanoseconds = 60e9;
    } else if (unit == "h") {
        nanoseconds = 3600e9;
    }
    // A year is long enough, and its nanoseconds fit.
    if (!value || nanoseconds == 0 || *value * nanoseconds > 365.0 * 86400e9) {
        return std::nullopt;
    }
    return Nanoseconds(std::llround(*value * nanoseconds));
}

std::string to_string(Nanoseconds duration)
{
    const auto count = duration.count();
    if (count % 60'000'000'000 == 0 && count != 0) {
        return fmt::format("{}m", count / 60'000'000'000);
    }
    const bool short_one = count != 0 && count < 1'000'000'000;
    // To the nanosecond, and never as 1e-06, because parse_duration() reads no exponents.
    std::string text = fmt::format("{:.9f}", static_cast<double>(count) / (short_one ? 1e6 : 1e9));
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') {
        text.pop_back();
    }
    return text + (short_one ? "ms" : "s");
}

std::optional<Mix> parse_mix(std::string_view text)
{
    Mix mix;
    std::uint64_t total = 0;
    for (const std::string_view part : split(text, ',')) {
        const std::size_t colon = part.find(':');
        const auto n = parse_number<unsigned>(part.substr(0, colon));
        const auto weight = colon == std::string_view::npos
                                ? std::optional(1U)
                                : parse_number<unsigned>(part.substr(colon + 1));
        if (!n || *n > fib_limit || !weight) {
            return std::nullopt;
        }
        total += *weight;
        if (*weight > 0) {
            mix.push_back({*n, *weight});
        }
    }
    return total == 0 ? std::nullopt : std::optional(mix);
}

std::string describe(const Mix& mix)
{
    if (mix.size() == 1) {
        return fmt::format("fib({})", mix.front().n);
    }
    double total = 0;
    double smallest = std::numeric_limits<double>::max();
    for (const Share& share : mix) {
        total += share.weight;
        smallest = std::min<double>(smallest, share.weight);
    }
    // All are rounded to where the smallest has two digits: beside 0.025% there is no 100%.
    const double unit = std::pow(10, std::floor(std::log10(100 * smallest / total)) - 1);
    std::string text;
    for (const Share& share : mix) {
        text += fmt::format("{}{:.12g}% fib({})", text.empty() ? "" : ", ",
                            std::round(100 * share.weight / total / unit) * unit, share.n);
    }
    return text;
}

PerfOptions parse_perf_options(int argc, char** argv)
{
    PerfOptions options;
    std::string json;
    std::string csv;
    CLI::App app;
    last_option_wins(app);
    add_parsed(
        app, "target", options.target, [](std::string_view text) { return parse_target(text); },
        "HOST:PORT; try localhost:25000");

    add_number(app, "-c,--connections", options.connections, 1U, 1'000'000U);
    add_number(app, "-t,--threads", options.threads, 1U, 1000U);
    add_number(app, "-P,--pipeline", options.pipeline, 1U, 100'000U);
    add_parsed(app, "--fib", options.mix, parse_mix, "a number up to 93, or a mix like 1:99,30:1");
    add_parsed(app, "--terminator", options.terminator, parse_terminator,
               "one of none, lf, crlf, cr");

    add_parsed(app, "-R,--rate", options.rate, parse_rate,
               "a number of requests per second, up to 10000000");
    app.add_flag("--reconnect", options.reconnect);
    add_number(app, "--idle", options.idle, 0U, 1'000'000U);

    add_parsed(app, "-n,--requests", options.requests, parse_positive, "a number of requests");
    add_parsed(app, "-d,--duration", options.duration, parse_positive_duration,
               "a duration; try 2s, 500ms or 3m");
    add_parsed(app, "-w,--warmup", options.warmup, parse_duration,
               "a duration; try 2s, 500ms or 3m");

    add_parsed(app, "-i,--interval", options.interval, parse_interval,
               "a duration of at least 10ms; try 1s");
    app.add_flag("--each", options.each);
    app.add_flag("-L,--latency", options.latency);
    add_parsed(app, "--percentiles", options.percentiles, parse_percentiles,
               "a list of numbers from 0 to 100; try 50,90,99.9");
    // A flag with an optional value takes it only after '=', so that the target is never mistaken
    // for it.
    const auto* const json_flag = app.add_flag("-j{-},--json{-}", json);
    app.add_flag("--histograms", options.histograms);
    const auto* const csv_flag = app.add_flag("--csv{-}", csv);
    app.add_flag("-q,--quiet", options.quiet);

    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(explain_mistake(app, error));
    }
    if (json_flag->count() > 0) {
        options.json = json == "-" ? "" : json;
    }
    if (csv_flag->count() > 0) {
        options.csv = csv == "-" ? "" : csv;
    }
    check_combination(options);
    return options;
}

}  // namespace ground
