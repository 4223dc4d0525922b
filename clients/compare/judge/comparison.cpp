#include "clients/compare/judge/comparison.hpp"

#include "clients/shared/format.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace ground {

namespace {

using Row = Table::value_type;

// 1234567 -> "1,234,567"
std::string grouped(double number)
{
    const std::string digits = fmt::format("{:.0f}", number);
    std::string text;
    for (std::size_t i = 0; i < digits.size(); ++i) {
        text += i > 0 && (digits.size() - i) % 3 == 0 ? "," : "";
        text += digits[i];
    }
    return text;
}

void add_once(std::vector<std::string>& texts, const std::string& text)
{
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) {
        texts.push_back(text);
    }
}

std::size_t failed_count(const std::vector<Measurement>& runs)
{
    return static_cast<std::size_t>(std::count_if(
        runs.begin(), runs.end(), [](const Measurement& run) { return !run.verdict.empty(); }));
}

bool client_was_busy(const std::vector<Measurement>& runs)
{
    const auto busy = std::count_if(runs.begin(), runs.end(), [](const Measurement& run) {
        return run.verdict.empty() && run.client_was_busy;
    });
    return 2 * static_cast<std::size_t>(busy) > runs.size() - failed_count(runs);
}

// The text in a column of the table, for one contestant.
std::string cell(const std::vector<Measurement>& runs, const Column& column,
                 std::string_view plus_minus)
{
    const auto summary = summarise(runs, column.key);
    if (!summary || summary->median == 0) {
        for (const Measurement& run : runs) {
            if (const auto word = run.words.find(column.key); word != run.words.end()) {
                return word->second;
            }
        }
    }
    if (!summary) {
        return "-";
    }
    std::string text = format_figure(summary->median, column.unit);
    if (column.spread && runs.size() - failed_count(runs) > 1) {
        text += fmt::format(" {}{:.0f}%", plus_minus, 100 * summary->spread());
    }
    return text;
}

std::string remarks(const std::vector<Measurement>& runs)
{
    std::vector<std::string> texts;
    for (const Measurement& run : runs) {
        if (!run.verdict.empty() && failed_count(runs) < runs.size()) {
            add_once(texts, fmt::format("{} in {} of {} runs", run.verdict, failed_count(runs),
                                        runs.size()));
        }
        for (const std::string& remark : run.remarks) {
            add_once(texts, remark);
        }
    }
    if (client_was_busy(runs)) {
        texts.emplace_back("*");
    }
    return fmt::format("{}", fmt::join(texts, "; "));
}

Row row_of(const std::string& name, const std::vector<Measurement>& runs,
           const std::vector<Column>& columns, std::string_view plus_minus)
{
    Row row{name};
    if (!runs.empty() && failed_count(runs) == runs.size()) {
        row.push_back(runs.front().verdict);
        row.resize(columns.size() + 1, "-");
    } else {
        for (const Column& column : columns) {
            row.push_back(runs.empty() ? "not measured" : cell(runs, column, plus_minus));
            if (runs.empty()) {
                row.resize(columns.size() + 1, "-");
                break;
            }
        }
    }
    row.push_back(remarks(runs));
    return row;
}

std::vector<Column>::const_iterator ranked_column(const Scenario& scenario)
{
    return std::find_if(scenario.columns.begin(), scenario.columns.end(),
                        [&](const Column& column) { return column.key == scenario.ranked_by; });
}

// How much the runs of a contestant differ in the ranked figure: half the distance from the lowest
// to the highest, relative to the median. The largest such value of all contestants.
double worst_spread(const Comparison& comparison, std::size_t scenario)
{
    double worst = 0;
    for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
        const auto summary =
            summarise(runs_of(comparison, scenario, c), comparison.scenarios[scenario].ranked_by);
        worst = std::max(worst, summary ? summary->spread() : 0);
    }
    return worst;
}

// Whether the same remark is in an earlier table: a stage that does not start is not tried again.
bool said_before(const Comparison& comparison, std::size_t scenario, std::size_t contestant,
                 const Measurement& run)
{
    for (std::size_t earlier = 0; earlier < scenario; ++earlier) {
        for (const Measurement& other : runs_of(comparison, earlier, contestant)) {
            if (run.verdict == failed_to_start && other.verdict == failed_to_start) {
                return true;
            }
        }
    }
    return false;
}

// How the ranked figure has changed since the baseline.
std::string change_cell(const Comparison& comparison, std::size_t scenario, std::size_t contestant)
{
    const Scenario& what = comparison.scenarios[scenario];
    const auto& entries = comparison.baseline->entries;
    const auto then = entries.find({what.name, comparison.contestants[contestant].name});
    const auto& runs = runs_of(comparison, scenario, contestant);
    const auto now = summarise(runs, what.ranked_by);
    if (then == entries.end() || !now) {
        return "-";
    }
    return change_since(then->second, {*now, runs.size() - failed_count(runs)});
}

}  // namespace

std::string format_figure(double value, Unit unit)
{
    switch (unit) {
        case Unit::rate:
            return value < 99.5 ? fmt::format("{:.1f}", value) : grouped(value);
        case Unit::time_us:
            return format_time(value * 1e3);
        case Unit::cpu_us:
            return fmt::format("{:.2f} us", value);
        case Unit::percent:
            return fmt::format("{:.0f}%", value);
        case Unit::bytes:
            return format_bytes(value);
        case Unit::count:
            return grouped(value);
        case Unit::factor:
            return fmt::format("{:.1f}", value);
    }
    return {};
}

const std::vector<Measurement>& runs_of(const Comparison& comparison, std::size_t scenario,
                                        std::size_t contestant)
{
    static const std::vector<Measurement> none;
    const auto found = comparison.runs.find({scenario, contestant});
    return found == comparison.runs.end() ? none : found->second;
}

std::optional<Summary> summarise(const std::vector<Measurement>& runs, const std::string& key)
{
    std::vector<double> values;
    for (const Measurement& run : runs) {
        const auto found = run.figures.find(key);
        if (run.verdict.empty() && found != run.figures.end()) {
            values.push_back(found->second);
        }
    }
    if (values.empty()) {
        return std::nullopt;
    }
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    const double median =
        values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
    return Summary{median, values.front(), values.back()};
}

std::string ranking(const Comparison& comparison, std::size_t scenario)
{
    struct Place {
        std::string name;
        Summary summary;
        bool limited = false;
    };
    const Scenario& what = comparison.scenarios[scenario];
    std::vector<Place> places;
    std::size_t fewest_runs = comparison.options.runs;
    for (std::size_t i = 0; i < comparison.contestants.size(); ++i) {
        const auto& runs = runs_of(comparison, scenario, i);
        const auto summary = summarise(runs, what.ranked_by);
        if (summary && summary->median > 0) {
            places.push_back({comparison.contestants[i].name, *summary, client_was_busy(runs)});
            fewest_runs = std::min(fewest_runs, runs.size() - failed_count(runs));
        }
    }
    if (places.size() < 2) {
        return {};
    }
    if (fewest_runs < 2) {
        return "Not ranked: a single run does not tell how much the next one would differ.";
    }
    std::stable_sort(places.begin(), places.end(), [&](const Place& a, const Place& b) {
        return what.more_is_better ? a.summary.median > b.summary.median
                                   : a.summary.median < b.summary.median;
    });
    std::string text = "Best first: " + places.front().name;
    bool close = false;
    for (std::size_t i = 1; i < places.size(); ++i) {
        const Place& better = places[i - 1];
        const Place& worse = places[i];
        const bool tie =
            better.summary.close_to(worse.summary) || (better.limited && worse.limited);
        close = close || tie;
        text += fmt::format(" {} {}", tie ? '~' : '>', worse.name);
    }
    return text + (close ? " (~: too close to tell)" : "");
}

Table table_of(const Comparison& comparison, std::size_t number, std::string_view plus_minus)
{
    const Scenario& scenario = comparison.scenarios[number];
    Table rows{{"stage"}};
    for (const Column& column : scenario.columns) {
        rows.front().push_back(column.title);
    }
    rows.front().emplace_back("");
    for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
        rows.push_back(row_of(comparison.contestants[c].name, runs_of(comparison, number, c),
                              scenario.columns, plus_minus));
    }
    if (comparison.baseline) {
        const auto ranked = 2 + (ranked_column(scenario) - scenario.columns.begin());
        rows.front().insert(rows.front().begin() + ranked, "change");
        for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
            rows[c + 1].insert(rows[c + 1].begin() + ranked, change_cell(comparison, number, c));
        }
    }
    return rows;
}

std::vector<std::string> notes_below(const Comparison& comparison, std::size_t scenario)
{
    std::vector<std::string> texts;
    if (const std::string order = ranking(comparison, scenario); !order.empty()) {
        texts.push_back(order);
    }
    bool busy = false;
    for (std::size_t i = 0; i < comparison.contestants.size(); ++i) {
        const auto& runs = runs_of(comparison, scenario, i);
        for (const Measurement& run : runs) {
            if (!run.verdict.empty() && !said_before(comparison, scenario, i, run)) {
                add_once(texts, fmt::format("{} {}: {}", comparison.contestants[i].name,
                                            run.verdict, run.detail));
            }
        }
        busy = busy || client_was_busy(runs);
    }
    if (const double spread = worst_spread(comparison, scenario); spread > 0.2) {
        texts.push_back(fmt::format(
            "The runs of a stage spread by up to +-{:.0f}%: a quieter machine, or more runs (-r), "
            "would tell more.",
            100 * spread));
    }
    if (busy) {
        texts.emplace_back(
            "* The client was busy more than 95% of the time: the server may be capable of more.");
    }
    if (comparison.baseline) {
        texts.push_back(fmt::format("change: of \"{}\" since {} of {} (~: the runs differ as much)",
                                    ranked_column(comparison.scenarios[scenario])->title,
                                    comparison.baseline->file, comparison.baseline->date));
    }
    return texts;
}

namespace {

// ", --pool threads", and which stages do not have it.
std::string pool_of(const Comparison& comparison)
{
    if (comparison.options.pool.empty()) {
        return {};
    }
    std::vector<std::string> without;
    for (const Contestant& contestant : comparison.contestants) {
        if (!contestant.has_pool) {
            without.push_back(contestant.name);
        }
    }
    return fmt::format(", --pool {}{}", comparison.options.pool,
                       without.empty()
                           ? ""
                           : fmt::format(" (not for {}: no pool there)", fmt::join(without, ", ")));
}

}  // namespace

std::string method(const Comparison& comparison)
{
    const CompareOptions& options = comparison.options;
    std::string text =
        fmt::format("{}; closed loop; {}, {} per measurement{}.", comparison.placement,
                    options.runs == 1 ? "one run" : fmt::format("medians of {} runs", options.runs),
                    to_string(options.duration), pool_of(comparison));
    if (comparison.others_busy > 10) {
        text +=
            fmt::format(" Other programs kept the CPUs up to {:.0f}% busy: expect figures to vary.",
                        comparison.others_busy);
    }
    if (comparison.baseline && !comparison.baseline->differences.empty()) {
        text += fmt::format(" The baseline was measured differently: {}.",
                            fmt::join(comparison.baseline->differences, "; "));
    }
    return text;
}

void leave_out_unmeasured(Comparison& comparison)
{
    // They are taken in their order. So those that were not begun are at the end, and the numbers
    // of the others stay.
    const auto begun = [&](std::size_t scenario) {
        return std::any_of(comparison.runs.begin(), comparison.runs.end(), [&](const auto& entry) {
            return entry.first.first == scenario && !entry.second.empty();
        });
    };
    while (!comparison.scenarios.empty() && !begun(comparison.scenarios.size() - 1)) {
        comparison.left_out.insert(comparison.left_out.begin(), comparison.scenarios.back().name);
        comparison.scenarios.pop_back();
    }
}

std::string how_far(const Comparison& comparison)
{
    if (comparison.complete) {
        return {};
    }
    std::size_t measured = 0;
    for (const auto& [where, runs] : comparison.runs) {
        measured += runs.size();
    }
    const std::size_t all = (comparison.scenarios.size() + comparison.left_out.size()) *
                            comparison.contestants.size() * comparison.options.runs;
    return fmt::format("Stopped before the end, after {} of {} measurements.{}", measured, all,
                       comparison.left_out.empty()
                           ? ""
                           : fmt::format(" Not begun: {}.", fmt::join(comparison.left_out, ", ")));
}

std::string brief(const Scenario& scenario, const Measurement& measurement)
{
    if (!measurement.verdict.empty()) {
        return fmt::format("{} ({})", measurement.verdict, measurement.detail);
    }
    std::vector<std::string> parts;
    for (const Column& column : scenario.columns) {
        if (parts.size() < 3) {
            parts.push_back(fmt::format("{} {}", column.title, cell({measurement}, column, "")));
        }
    }
    parts.insert(parts.end(), measurement.remarks.begin(), measurement.remarks.end());
    return fmt::format("{}", fmt::join(parts, ", "));
}

bool any_failed(const Comparison& comparison)
{
    return std::any_of(comparison.runs.begin(), comparison.runs.end(),
                       [](const auto& entry) { return failed_count(entry.second) > 0; });
}

}  // namespace ground
