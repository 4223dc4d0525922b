#include "clients/perf/report.hpp"

#include "clients/shared/format.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace ground {

namespace {

constexpr std::size_t widest_bar = 30;  // the whole line fits into 80 columns

double us(double nanoseconds) { return nanoseconds / 1e3; }
double us(std::uint64_t nanoseconds) { return us(static_cast<double>(nanoseconds)); }

std::string plural(std::uint64_t count, std::string_view noun)
{
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

// Green while it runs well, red if it is less than half of its best.
std::string coloured(const std::string& bar, double share)
{
    return fmt::format("\x1b[{}m{}\x1b[0m", share < 0.5 ? 31 : 32, bar);
}

// 80 if that is no terminal, or if the terminal does not say.
unsigned columns_of(std::FILE* stream)
{
    winsize size{};
    const bool known = ::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

std::string stats_line(std::string_view name, const Histogram& values,
                       std::string (*format)(double))
{
    const double mean = values.mean();
    const double stdev = values.stdev();
    return fmt::format("    {:<9}{:>9}{:>11}{:>11}{:>11.2f}%\n", name, format(mean), format(stdev),
                       format(static_cast<double>(values.max())),
                       100 * values.share_within(mean - stdev, mean + stdev));
}

double connect_rate(const LoadResult& result)
{
    return result.duration_s > 0 ? static_cast<double>(result.connects) / result.duration_s : 0;
}

std::vector<double> percentiles_shown(const PerfOptions& options)
{
    if (!options.percentiles.empty()) {
        return options.percentiles;
    }
    return options.latency ? std::vector<double>{50, 75, 90, 95, 99, 99.9, 99.99, 100}
                           : std::vector<double>{};
}

}  // namespace

Style Style::of(std::FILE* stream)
{
    if (::isatty(::fileno(stream)) == 0) {
        return {};
    }
    const char* const term = std::getenv("TERM");
    const bool dumb = term == nullptr || std::string_view(term) == "dumb";
    const char* const no_color = std::getenv("NO_COLOR");
    const bool unwanted = no_color != nullptr && *no_color != '\0';
    return {!dumb && !unwanted, std::string_view(::nl_langinfo(CODESET)) == "UTF-8",
            columns_of(stream)};
}

void LiveView::on_interval(const Interval& interval)
{
    if (options_.each || options_.quiet) {
        return;
    }
    best_ = std::max(best_, interval.rate());
    style_.columns = columns_of(out_);  // the window may have been resized
    fmt::print(out_, "{}\n", format_interval(interval, best_, style_));
    std::fflush(out_);
}

void LiveView::on_reply(unsigned n, Number fib, Nanoseconds latency)
{
    const double seconds = static_cast<double>(latency.count()) / 1e9;
    fmt::print(out_, "{:.{}f} s   fib({}) = {}\n", seconds, seconds < 0.001 ? 6 : 3, n, fib);
    std::fflush(out_);
}

std::string format_interval(const Interval& interval, double best, Style style)
{
    const std::string rate = fmt::format("{:.0f} reqs/sec", interval.rate());
    std::string remark = interval.warmup ? "   (warm-up)" : "";
    if (interval.errors > 0) {
        remark += fmt::format("   ({})", plural(interval.errors, "error"));
    }
    if (interval.errors > 0 && interval.requests == 0 && interval.silence_s < interval.length_s) {
        return fmt::format("{:<17}no right reply{}", rate, remark);
    }
    if (interval.requests == 0) {
        return fmt::format("{:<17}no reply for {:.1f} s{}", rate, interval.silence_s, remark);
    }
    const std::string figures = fmt::format("{:<17}p50 {:<9}p99 {:<9}", rate,
                                            format_time(static_cast<double>(interval.p50_ns)),
                                            format_time(static_cast<double>(interval.p99_ns)));
    const std::size_t room = style.columns - std::min<std::size_t>(style.columns, figures.size());
    const auto width = static_cast<unsigned>(std::clamp<std::size_t>(room, 1, widest_bar));
    std::string bar = format_bar(interval.rate(), best, width, style.utf8);
    if (style.colour) {
        bar = coloured(bar, interval.rate() / best);
    }
    return figures + bar + remark;
}

CsvView::CsvView(std::FILE* out) : out_(out)
{
    fmt::print(out_, "at_s,rate,p50_us,p99_us,errors\n");
    std::fflush(out_);
}

void CsvView::on_interval(const Interval& interval)
{
    if (interval.warmup) {
        return;
    }
    // Without a reply there is no latency. A 0 would look like the best possible one.
    const std::string latencies =
        interval.requests == 0
            ? ","
            : fmt::format("{:.3f},{:.3f}", us(interval.p50_ns), us(interval.p99_ns));
    fmt::print(out_, "{:.3f},{:.2f},{},{}\n", interval.at_s, interval.rate(), latencies,
               interval.errors);
    std::fflush(out_);
}

std::string format_header(const PerfOptions& options)
{
    std::string length = "until Ctrl-C";
    if (options.requests && options.duration) {
        length = fmt::format("{}, at most {}", plural(*options.requests, "request"),
                             to_string(*options.duration));
    } else if (options.requests) {
        length = plural(*options.requests, "request");
    } else if (options.duration) {
        length = to_string(*options.duration);
    }
    if (options.warmup.count() > 0) {
        length += fmt::format(" after a warm-up of {}", to_string(options.warmup));
    }
    std::string loop = options.rate ? fmt::format("open loop, {:g} requests/sec, ", *options.rate)
                                    : "closed loop, ";
    loop += plural(options.connections, "connection");
    if (options.threads > 1) {
        loop += fmt::format(" on {} threads", options.threads);
    }
    if (options.pipeline > 1) {
        loop += fmt::format(", {} requests in flight on each", options.pipeline);
    }
    if (options.reconnect) {
        loop += ", anew for each request";
    }
    if (options.idle > 0) {
        loop += fmt::format(", {} idle ones", options.idle);
    }
    return fmt::format("Running {} @ {}\n  {}, {}\n", length, to_string(options.target), loop,
                       describe(options.mix));
}

std::string format_report(const PerfOptions& options, const LoadResult& result)
{
    std::string text = fmt::format("  {:<10}{:>10}{:>11}{:>11}{:>12}\n", "Stats", "Avg", "Stdev",
                                   "Max", "+/- Stdev");
    text += stats_line("Latency", result.latency_ns, format_time_column);
    if (options.rate) {
        text += stats_line("From send", result.latency_from_send_ns, format_time_column);
    }
    text += stats_line("Req/Sec", result.rate, format_count_column);
    if (options.rate) {
        text +=
            "  Latency counts from when a request was due, \"From send\" from when it was sent.\n";
    }
    const auto percentiles = percentiles_shown(options);
    if (!percentiles.empty()) {
        text += fmt::format("  Latency Distribution{}\n", options.rate ? "  From send" : "");
    }
    for (const double percent : percentiles) {
        const auto column = [percent](const Histogram& values) {
            return format_time_column(static_cast<double>(values.percentile(percent)));
        };
        text += fmt::format("  {:>8}% {:>10}", percent, column(result.latency_ns));
        text += options.rate ? fmt::format(" {:>10}\n", column(result.latency_from_send_ns)) : "\n";
    }
    const auto bytes = static_cast<double>(result.bytes_read);
    text += fmt::format("  {} in {:.2f}s, {} read\n", plural(result.requests, "request"),
                        result.duration_s, format_bytes(bytes));
    if (options.reconnect) {
        text += fmt::format("  {} made, {:.2f} per second; connecting is part of the latency\n",
                            plural(result.connects, "connection"), connect_rate(result));
    }
    if (options.idle > 0) {
        text += fmt::format("  {} of {} still open at the end\n", result.idle_open,
                            plural(options.idle, "idle connection"));
    }
    const LoadErrors& errors = result.errors;
    if (errors.connect + errors.read + errors.reply + errors.wrong + errors.unanswered > 0) {
        text += fmt::format(
            "  Errors: connect {}, read {}, [Error] replies {}, wrong {}, "
            "unanswered {}\n",
            errors.connect, errors.read, errors.reply, errors.wrong, errors.unanswered);
    }
    for (const std::string& sentence : failures(options, result)) {
        text += fmt::format("  Failed: {}\n", sentence);
    }
    for (const std::string& sentence : warnings(options, result)) {
        text += fmt::format("  Note: {}\n", sentence);
    }
    text += fmt::format("Requests/sec: {:>10.2f}\n", result.rate_mean());
    text += fmt::format("Transfer/sec: {:>10}\n",
                        format_bytes(result.duration_s > 0 ? bytes / result.duration_s : 0));
    return text;
}

std::string format_json(const PerfOptions& options, const LoadResult& result)
{
    using Json = nlohmann::ordered_json;
    std::vector<double> percentiles{50, 90, 99, 99.9};
    const auto shown = percentiles_shown(options);
    for (const double percent : shown) {  // insert() makes GCC 16 warn of something impossible
        percentiles.push_back(percent);
    }
    const auto latencies = [&percentiles](const Histogram& latency) {
        Json object = {{"min", us(latency.min())},
                       {"mean", us(latency.mean())},
                       {"stdev", us(latency.stdev())},
                       {"max", us(latency.max())}};
        for (const double percent : percentiles) {
            object[fmt::format("p{}", percent)] = us(latency.percentile(percent));
        }
        return object;
    };
    Json mix = Json::array();
    for (const Share& share : options.mix) {
        mix.push_back({{"n", share.n}, {"weight", share.weight}});
    }
    Json intervals = Json::array();
    for (const Interval& interval : result.intervals) {
        Json entry = {
            {"at_s", interval.at_s},   {"requests", interval.requests},
            {"rate", interval.rate()}, {"p50_us", nullptr},  // without a reply there is no latency
            {"p99_us", nullptr},       {"errors", interval.errors}};
        if (interval.requests > 0) {
            entry["p50_us"] = us(interval.p50_ns);
            entry["p99_us"] = us(interval.p99_ns);
        }
        if (options.histograms) {
            Json& pairs = entry["latencies"] = Json::array();
            for (const auto& [latency, count] : interval.latencies_ns) {
                pairs.push_back({us(latency), count});
            }
        }
        intervals.push_back(std::move(entry));
    }
    Json report = {
        {"target", to_string(options.target)},
        {"mode", options.rate ? "open" : "closed"},
        {"connections", options.connections},
        {"threads", options.threads},
        {"pipeline", options.pipeline},
        {"reconnect", options.reconnect},
        {"mix", mix},
        {"duration_s", result.duration_s},
        {"warmup_s", static_cast<double>(options.warmup.count()) / 1e9},
        {"requests", result.requests},
        {"errors",
         {{"connect", result.errors.connect},
          {"read", result.errors.read},
          {"reply", result.errors.reply},
          {"wrong", result.errors.wrong},
          {"unanswered", result.errors.unanswered}}},
        {"starved", result.starved},
        {"failures", failures(options, result)},
        {"rate", result.rate_mean()},
        {"latency_us", latencies(result.latency_ns)},
        {"intervals", intervals},
        {"client_cpu_s", result.client_cpu_s},
        {"client_cpus", result.client_cpus},
    };
    if (options.rate) {
        report["rate_asked"] = *options.rate;
        report["latency_from_send_us"] = latencies(result.latency_from_send_ns);
        report["unsent"] = result.unsent;
        report["longest_wait_s"] = result.longest_wait_s;
    }
    if (options.reconnect) {
        report["connects"] = result.connects;
        report["connects_per_s"] = connect_rate(result);
    }
    if (options.idle > 0) {
        report["idle"] = {{"connections", options.idle},
                          {"open", result.idle_open},
                          {"closed", result.idle_closed}};
    }
    // A server may send any bytes. Those that are no UTF-8 are replaced, not refused.
    return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> failures(const PerfOptions& options, const LoadResult& result)
{
    const LoadErrors& errors = result.errors;
    std::vector<std::string> sentences;
    if (errors.connect > 0) {
        sentences.push_back(fmt::format("{} of {} could not be made", errors.connect,
                                        plural(result.connections + options.idle, "connection")));
    }
    if (errors.read > 0) {
        sentences.push_back(fmt::format("{} of {} broke off or were closed by the server",
                                        errors.read, plural(result.connections, "connection")));
    }
    if (result.idle_closed > 0) {
        sentences.push_back(fmt::format("{} of {} closed by the server", result.idle_closed,
                                        plural(options.idle, "idle connection")));
    }
    if (errors.reply > 0) {
        sentences.push_back(fmt::format("{} got an [Error]", plural(errors.reply, "request")));
    }
    if (errors.wrong > 0) {
        sentences.push_back(fmt::format("{} got a wrong reply", plural(errors.wrong, "request")));
    }
    if (!errors.example.empty()) {
        sentences.push_back(fmt::format("the first of these: {}", errors.example));
    }
    if (result.starved > 0) {
        sentences.push_back(fmt::format("{} of {} never had a reply", result.starved,
                                        plural(options.connections, "connection")));
    }
    if (options.requests && result.requests < *options.requests) {
        sentences.push_back(fmt::format("only {} of {} had the right reply", result.requests,
                                        plural(*options.requests, "request")));
    } else if (result.requests == 0) {
        sentences.emplace_back("no request had the right reply");
    }
    return sentences;
}

std::vector<std::string> warnings(const PerfOptions& options, const LoadResult& result)
{
    std::vector<std::string> sentences;
    // A run of a few milliseconds says nothing about where the time goes.
    const double could_have_used = result.duration_s * result.client_cpus;
    if (result.duration_s >= 0.1 && result.client_cpu_s > 0.95 * could_have_used) {
        sentences.push_back(
            fmt::format("perf itself was busy for {:.0f}% of the time: the server may be faster",
                        100 * result.client_cpu_s / could_have_used));
    }
    if (result.unsent > 0) {
        sentences.push_back(
            fmt::format("fewer than {:g} requests/sec were answered: {} still waited to be sent",
                        *options.rate, result.unsent));
    }
    // Requests without a reply are in no figure above, and may have waited longest of all.
    if (options.rate && result.unsent + result.errors.unanswered > 0 &&
        result.longest_wait_s * 1e9 > static_cast<double>(result.latency_ns.max())) {
        sentences.push_back(fmt::format("the oldest without a reply had waited {} at the end",
                                        format_time(result.longest_wait_s * 1e9)));
    }
    if (result.errors.unanswered > 0 && result.errors.read == 0 && result.starved == 0) {
        sentences.push_back(fmt::format("{} had no reply yet at the end",
                                        plural(result.errors.unanswered, "request")));
    }
    return sentences;
}

}  // namespace ground
