#include "clients/compare/measure/scenarios.hpp"

#include "clients/shared/histogram.hpp"
#include "common/server/fib.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ground {

namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

// Caches, page faults and first connections: over before anything counts.
constexpr auto warmup = 200ms;
// How much longer than planned perf may take, because of slow connects and a busy machine.
constexpr auto perf_patience = 20s;

double seconds(Nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }

std::string plural_clients(unsigned count)
{
    return fmt::format("{} client{}", count, count == 1 ? "" : "s");
}

// About how long this machine takes for fib(n), estimated from a number small enough to try.
Nanoseconds expected_time(unsigned n)
{
    constexpr unsigned tried = 25;
    static const double unit = [] {
        const auto begin = std::chrono::steady_clock::now();
        [[maybe_unused]] volatile Number result = fib(tried);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }();
    return std::chrono::duration_cast<Nanoseconds>(
        std::chrono::duration<double>(unit * std::pow(1.618, static_cast<double>(n) - tried)));
}

std::vector<std::string> load(const Bench& bench, unsigned clients, Nanoseconds duration,
                              unsigned n)
{
    return {"--connections", std::to_string(clients),
            "--threads",     std::to_string(std::min(bench.placement.client_threads, clients)),
            "--duration",    to_string(duration),
            "--fib",         std::to_string(n)};
}

void warm_up(const Bench& bench, Server& server, unsigned clients)
{
    bench.observer.on_step("warming up");
    LoadRun run(bench, server, load(bench, clients, warmup, 1));
    const Json ignored = run.report(warmup + perf_patience);
}

std::vector<Slice> timeline_of(const Json& report)
{
    std::vector<Slice> slices;
    for (const Json& interval : report["intervals"]) {
        slices.push_back({interval["at_s"], interval["rate"]});
    }
    return slices;
}

// The figures of the intervals that lie within a stretch of time, all together.
struct Stretch {
    double length_s = 0;
    Histogram latency_ns;

    Stretch(const Json& report, double begin_s, double end_s)
    {
        double previous = 0;
        for (const Json& interval : report["intervals"]) {
            const double at = interval["at_s"];
            // perf is never quite on time. It is late by far less than half an interval.
            const double tolerance = (at - previous) / 2;
            if (previous >= begin_s - tolerance && at <= end_s + tolerance) {
                length_s += at - previous;
                for (const Json& pair : interval["latencies"]) {
                    const double nanoseconds = 1e3 * pair[0].get<double>();
                    latency_ns.record(static_cast<std::uint64_t>(nanoseconds), pair[1]);
                }
            }
            previous = at;
        }
    }
    [[nodiscard]] double rate() const
    {
        return length_s > 0 ? static_cast<double>(latency_ns.count()) / length_s : 0;
    }
    [[nodiscard]] double percentile_us(double percent) const
    {
        return static_cast<double>(latency_ns.percentile(percent)) / 1e3;
    }
};

// What went wrong with single clients, in words.
void remark(const Json& report, Measurement& measurement)
{
    const std::uint64_t clients = report["connections"];
    const auto add = [&](const Json& count, std::string_view what) {
        if (count > 0) {
            measurement.remarks.push_back(
                fmt::format(fmt::runtime(what), count.get<std::uint64_t>(), clients));
        }
    };
    const Json& errors = report["errors"];
    add(errors["connect"], "refused {} of {} clients");
    add(errors["read"], "hung up on {} of {} clients");
    add(errors["reply"], "{} [Error] replies");
    add(errors["wrong"], "{} wrong replies");
    const std::uint64_t starved = report["starved"];
    add(starved, "{} of {} clients starved");
    measurement.figures["starved"] = static_cast<double>(starved);
    // Clients that were served at first and then no more: the server has stalled. If only some wait
    // at the end, the server or the machine was busy with something else just then.
    const std::uint64_t unanswered = errors["unanswered"];
    const Json& intervals = report["intervals"];
    const std::size_t last = std::min(intervals.size(), std::size_t{Bench::slices / 3});
    const bool silent_at_the_end =
        last > 0 &&
        std::all_of(intervals.end() - static_cast<std::ptrdiff_t>(last), intervals.end(),
                    [](const Json& interval) { return interval["requests"] == 0; });
    if (errors["read"] == 0 && unanswered > starved && silent_at_the_end) {
        add(unanswered, "requests left without a reply: {}");
    }
}

void note_busy_client(const Json& report, Measurement& measurement)
{
    const double could_have_used =
        report["duration_s"].get<double>() * report["client_cpus"].get<double>();
    measurement.client_was_busy =
        measurement.client_was_busy || report["client_cpu_s"] > 0.95 * could_have_used;
}

Measurement measure_clients(const Bench& bench, const Contestant& contestant, unsigned clients)
{
    const Nanoseconds duration = bench.options.duration;
    Server server(bench, contestant, bench.placement.server);
    warm_up(bench, server, clients);
    const auto before = server.usage();
    bench.observer.on_step("measuring");
    LoadRun run(bench, server, load(bench, clients, duration, 1), LoadRun::Watched::yes);
    run.wait_for_intervals(Bench::slices / 2, duration + perf_patience);
    const auto under_load = server.usage();
    const Json report = run.report(duration + perf_patience);
    const auto after = server.usage();

    Measurement measurement;
    remark(report, measurement);
    note_busy_client(report, measurement);
    measurement.timeline = timeline_of(report);
    const double requests = report["requests"];
    measurement.figures["rate"] = report["rate"];
    if (requests == 0) {
        measurement.verdict = "no reply";
        measurement.detail = fmt::format("not one right reply to {} in {}", plural_clients(clients),
                                         to_string(duration));
        return measurement;
    }
    measurement.figures["p50_us"] = report["latency_us"]["p50"];
    measurement.figures["p99_us"] = report["latency_us"]["p99"];
    if (before) {
        const double cpu = after->cpu_s - before->cpu_s;
        measurement.figures["cpu_us"] = 1e6 * cpu / requests;
        measurement.figures["cpu_percent"] = 100 * cpu / report["duration_s"].get<double>();
        measurement.figures["memory"] = static_cast<double>(under_load->memory);
        measurement.figures["threads"] = under_load->threads;
        measurement.figures["processes"] = under_load->processes;
    }
    return measurement;
}

Measurement measure_solo(const Bench& bench, const Contestant& contestant)
{
    return measure_clients(bench, contestant, 1);
}

Measurement measure_crowd(const Bench& bench, const Contestant& contestant)
{
    return measure_clients(bench, contestant, bench.options.clients);
}

// The same clients all the time, so that you see a fall and a recovery: before, with the hog, while
// its last big request ends, after.
Measurement measure_beside_hog(const Bench& bench, const Contestant& contestant, unsigned clients)
{
    const CompareOptions& options = bench.options;
    const Nanoseconds longest = options.duration + perf_patience;
    Server server(bench, contestant, bench.placement.server);
    warm_up(bench, server, clients);
    bench.observer.on_step("before the hog");
    LoadRun crowd(bench, server, load(bench, clients, 4 * options.duration, 1),
                  LoadRun::Watched::yes);
    crowd.wait_for_intervals(Bench::slices, longest);
    Json hog_report;
    {
        bench.observer.on_step("with the hog");
        LoadRun hog(bench, server, {"--connections", "1", "--fib", std::to_string(options.big)});
        crowd.wait_for_intervals(2 * Bench::slices, longest);
        hog_report = hog.stop();
    }
    bench.observer.on_step("after the hog");
    const Json report = crowd.report(3 * options.duration + perf_patience);

    Measurement measurement;
    remark(report, measurement);
    note_busy_client(report, measurement);
    measurement.timeline = timeline_of(report);
    const double length = seconds(options.duration);
    measurement.phases = {{"before", 0, length},
                          {"hog", length, 2 * length},
                          {"leaving", 2 * length, 3 * length},
                          {"after", 3 * length, 4 * length}};
    for (const Phase& phase : measurement.phases) {
        // The slice in which the hog comes belongs to no phase.
        const double coming = phase.name == "hog" ? seconds(bench.slice()) : 0;
        const Stretch stretch(report, phase.begin_s + coming, phase.end_s);
        if (phase.name == "leaving" || stretch.length_s == 0) {
            continue;
        }
        measurement.figures["rate_" + phase.name] = stretch.rate();
        measurement.words["rate_" + phase.name] = "starved";
        if (stretch.latency_ns.count() > 0) {
            measurement.figures["p50_us_" + phase.name] = stretch.percentile_us(50);
            measurement.figures["p99_us_" + phase.name] = stretch.percentile_us(99);
        }
    }
    const auto& figures = measurement.figures;
    if (figures.contains("rate_hog") && figures.at("rate_before") > 0) {
        measurement.figures["kept"] = 100 * figures.at("rate_hog") / figures.at("rate_before");
    }
    // In a crowd of threads a big request gets one share of the CPU among many. It may take longer
    // than the hog was there, and then its rate is unknown.
    measurement.figures["big_rate"] = hog_report["rate"];
    measurement.words["big_rate"] = "none in " + to_string(options.duration);
    if (report["requests"] == 0) {
        measurement.verdict = "no reply";
        measurement.detail = "not one right reply to " + plural_clients(clients);
    }
    return measurement;
}

Measurement measure_hog(const Bench& bench, const Contestant& contestant)
{
    return measure_beside_hog(bench, contestant, 1);
}

Measurement measure_crowd_hog(const Bench& bench, const Contestant& contestant)
{
    return measure_beside_hog(bench, contestant, bench.options.clients);
}

// Which server uses the cores? So the server has all of them, and the clients only wait.
Measurement measure_parallel(const Bench& bench, const Contestant& contestant)
{
    const CompareOptions& options = bench.options;
    const bool pinned = !bench.placement.server.empty();
    Server server(bench, contestant, pinned ? bench.placement.all : std::vector<int>());
    Measurement measurement;
    Nanoseconds alone = expected_time(options.big);
    for (const unsigned count : {1U, 2U, 4U}) {
        const std::string key = fmt::format("at_once_{}", count);
        const Nanoseconds limit = options.timeout + 2 * count * alone;
        std::vector<std::string> arguments = load(bench, count, limit, options.big);
        arguments.insert(arguments.end(), {"--requests", std::to_string(count)});
        bench.observer.on_step(count == 1 ? "one alone" : fmt::format("{} at once", count));
        LoadRun run(bench, server, arguments);
        const Json report = run.report(limit + perf_patience);
        const std::uint64_t answered = report["requests"];
        if (answered == count) {
            measurement.figures[key] = 1e6 * report["duration_s"].get<double>();
        } else if (count == 1) {
            remark(report, measurement);
            measurement.verdict = "no reply";
            measurement.detail =
                fmt::format("no right reply to fib({}) in {:.0f} s", options.big, seconds(limit));
            return measurement;
        } else {
            // The next one would only take longer.
            measurement.words[key] = fmt::format("{} of {} served", answered, count);
            return measurement;
        }
        if (count == 1) {
            alone = std::chrono::duration_cast<Nanoseconds>(
                std::chrono::duration<double>(report["duration_s"].get<double>()));
        }
    }
    measurement.figures["speedup"] =
        4 * measurement.figures["at_once_1"] / measurement.figures["at_once_4"];
    return measurement;
}

// Does it matter to one client that many others are there and say nothing?
Measurement measure_idle(const Bench& bench, const Contestant& contestant)
{
    const CompareOptions& options = bench.options;
    Server server(bench, contestant, bench.placement.server);
    const auto unused = server.usage();  // the warm-up's connection may outlive it for a moment
    warm_up(bench, server, 1);
    const auto before = server.usage();
    bench.observer.on_step("connecting");
    std::vector<std::string> arguments = load(bench, 1, options.duration, 1);
    arguments.insert(arguments.end(), {"--idle", std::to_string(options.idle)});
    LoadRun run(bench, server, arguments, LoadRun::Watched::yes);
    // The first interval begins when all are connected, but the kernel connects more than a stage
    // has accepted yet. Also, it takes a while to look at a thousand processes.
    run.wait_for_intervals(Bench::slices * 2 / 3, options.duration + perf_patience);
    const auto under_load = server.usage();
    const Json report = run.report(options.duration + perf_patience);
    const auto after = server.usage();

    Measurement measurement;
    note_busy_client(report, measurement);
    measurement.timeline = timeline_of(report);
    auto& figures = measurement.figures;
    const double requests = report["requests"];
    if (requests == 0) {
        measurement.verdict = "no reply";
        measurement.detail =
            fmt::format("not one right reply beside {} idle connections", options.idle);
        return measurement;
    }
    figures["rate"] = report["rate"];
    figures["p50_us"] = report["latency_us"]["p50"];
    figures["p99_us"] = report["latency_us"]["p99"];
    figures["refused"] =
        report["errors"]["connect"].get<double>() + report["idle"]["closed"].get<double>();
    if (figures["refused"] > 0) {
        measurement.remarks.push_back(
            fmt::format("refused {} of {}", figures["refused"], options.idle));
    }
    if (before) {
        // All except the listening socket, the pool's, and the one that is active. Some of those
        // that were refused may still linger.
        const int sockets =
            static_cast<int>(under_load->sockets) - static_cast<int>(unused->sockets);
        const int taken = static_cast<int>(options.idle) - static_cast<int>(figures["refused"]);
        const int held = std::clamp(sockets - 1, 0, std::max(0, taken));
        figures["held"] = held;
        measurement.words["held"] = "none";
        if (held > 0) {
            const double memory =
                static_cast<double>(under_load->anonymous) - static_cast<double>(before->anonymous);
            figures["memory_each"] = std::max(0.0, memory) / held;
        } else {
            measurement.words["memory_each"] = "-";
        }
        figures["cpu_us"] = 1e6 * (after->cpu_s - before->cpu_s) / requests;
        figures["threads"] = under_load->threads;
    }
    return measurement;
}

// How much does it save to send and receive many at once?
Measurement measure_pipeline(const Bench& bench, const Contestant& contestant)
{
    const CompareOptions& options = bench.options;
    Server server(bench, contestant, bench.placement.server);
    warm_up(bench, server, options.clients);
    Measurement measurement;
    auto& figures = measurement.figures;
    for (const auto& [suffix, depth] :
         {std::pair("_single", 1U), std::pair("", options.pipeline)}) {
        bench.observer.on_step(depth == 1 ? "one at a time" : fmt::format("{} at once", depth));
        const auto before = server.usage();
        std::vector<std::string> arguments = load(bench, options.clients, options.duration, 1);
        arguments.insert(arguments.end(), {"--pipeline", std::to_string(depth)});
        LoadRun run(bench, server, arguments, LoadRun::Watched::yes);
        const Json report = run.report(options.duration + perf_patience);
        const auto after = server.usage();
        if (depth > 1) {
            remark(report, measurement);
            note_busy_client(report, measurement);
            measurement.timeline = timeline_of(report);
            figures["p50_us"] = report["latency_us"]["p50"];
            figures["p99_us"] = report["latency_us"]["p99"];
        }
        const double requests = report["requests"];
        if (requests == 0) {
            measurement.verdict = "no reply";
            measurement.detail = "not one right reply to " + plural_clients(options.clients);
            return measurement;
        }
        figures[std::string("rate") + suffix] = report["rate"];
        if (before) {
            figures[std::string("cpu_us") + suffix] =
                1e6 * (after->cpu_s - before->cpu_s) / requests;
        }
    }
    figures["gain"] = figures["rate"] / figures["rate_single"];
    return measurement;
}

const std::vector<Column> client_columns{
    {"rate", "reqs/sec", Unit::rate, true}, {"p50_us", "p50", Unit::time_us},
    {"p99_us", "p99", Unit::time_us},       {"cpu_us", "CPU/req", Unit::cpu_us, true},
    {"cpu_percent", "CPU", Unit::percent},  {"memory", "memory", Unit::bytes},
    {"threads", "threads", Unit::count},    {"processes", "procs", Unit::count},
};

const std::vector<Column> hog_columns{
    {"rate_before", "before", Unit::rate},         {"rate_hog", "with hog", Unit::rate, true},
    {"rate_after", "after", Unit::rate},           {"kept", "kept", Unit::percent},
    {"p50_us_before", "p50", Unit::time_us},       {"p50_us_hog", "with hog", Unit::time_us},
    {"p99_us_hog", "p99 with hog", Unit::time_us}, {"big_rate", "big/sec", Unit::factor}};

std::string hog_title(const CompareOptions& options, unsigned clients)
{
    return fmt::format(
        "{}, fib(1): before, while and after another one asks for fib({}) without pause",
        plural_clients(clients), options.big);
}

double hog_seconds(const CompareOptions& options)
{
    return seconds(4 * options.duration + warmup) + 0.2;
}

}  // namespace

const std::vector<Scenario>& all_scenarios()
{
    static const std::vector<Scenario> scenarios{
        {"solo", [](const CompareOptions&) { return std::string("one client, fib(1)"); },
         measure_solo, [](const CompareOptions& o) { return seconds(o.duration + warmup) + 0.1; },
         client_columns, "rate"},
        {"crowd", [](const CompareOptions& o) { return plural_clients(o.clients) + ", fib(1)"; },
         measure_crowd, [](const CompareOptions& o) { return seconds(o.duration + warmup) + 0.1; },
         client_columns, "rate"},
        {"hog", [](const CompareOptions& o) { return hog_title(o, 1); }, measure_hog, hog_seconds,
         hog_columns, "rate_hog"},
        {"crowd-hog", [](const CompareOptions& o) { return hog_title(o, o.clients); },
         measure_crowd_hog, hog_seconds, hog_columns, "rate_hog"},
        {"parallel",
         [](const CompareOptions& o) {
             return fmt::format("the time of fib({}): alone, and of 2 and 4 at once", o.big);
         },
         measure_parallel,
         [](const CompareOptions& o) { return 6 * seconds(expected_time(o.big)) + 0.3; },
         {{"at_once_1", "alone", Unit::time_us},
          {"at_once_2", "2 at once", Unit::time_us},
          {"at_once_4", "4 at once", Unit::time_us, true},
          {"speedup", "speed-up", Unit::factor}},
         "at_once_4",
         false,
         true},
        {"idle",
         [](const CompareOptions& o) {
             return fmt::format("one client, fib(1), beside {} that are connected and silent",
                                o.idle);
         },
         measure_idle,
         [](const CompareOptions& o) { return seconds(o.duration + warmup) + 0.3; },
         {{"rate", "reqs/sec", Unit::rate, true},
          {"p50_us", "p50", Unit::time_us},
          {"p99_us", "p99", Unit::time_us},
          {"cpu_us", "CPU/req", Unit::cpu_us},
          {"held", "held", Unit::count},
          {"memory_each", "mem. each", Unit::bytes},
          {"threads", "threads", Unit::count}},
         "rate"},
        {"pipeline",
         [](const CompareOptions& o) {
             return fmt::format("{}, fib(1): one request at a time, and {} at once",
                                plural_clients(o.clients), o.pipeline);
         },
         measure_pipeline,
         [](const CompareOptions& o) { return seconds(2 * o.duration + warmup) + 0.2; },
         {{"rate_single", "one by one", Unit::rate},
          {"rate", "at once", Unit::rate, true},
          {"gain", "gain", Unit::factor},
          {"p50_us", "p50", Unit::time_us},
          {"p99_us", "p99", Unit::time_us},
          {"cpu_us_single", "CPU/req 1 by 1", Unit::cpu_us},
          {"cpu_us", "at once", Unit::cpu_us}},
         "rate"},
    };
    return scenarios;
}

std::vector<std::string> scenario_names()
{
    std::vector<std::string> names;
    for (const Scenario& scenario : all_scenarios()) {
        names.push_back(scenario.name);
    }
    return names;
}

Measurement measure(const Scenario& scenario, const Bench& bench, const Contestant& contestant)
try {
    return scenario.measure(bench, contestant);
} catch (const Failed& failed) {
    Measurement measurement;
    measurement.verdict = failed.verdict();
    measurement.detail = failed.what();
    return measurement;
}

}  // namespace ground
