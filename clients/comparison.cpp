#include "clients/comparison.hpp"

#include "clients/format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>
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

// What stands in a column of the table for a contestant.
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

// How many columns of the terminal it takes. Only the sign in front of a spread is not ASCII.
std::size_t width_of(std::string_view text)
{
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    }));
}

std::vector<std::size_t> widths_of(const Table& rows)
{
    std::vector<std::size_t> widths(rows.front().size());
    for (const Row& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            widths[i] = std::max(widths[i], width_of(row[i]));
        }
    }
    return widths;
}

constexpr std::size_t gap = 2;  // between two columns

// Makes a table fit: what does not have room in a row is returned as lines to be shown below it.
// First the remarks go there, and if that is not enough the last columns are left out.
std::vector<std::string> fit(Table& rows, std::size_t width)
{
    std::vector<std::string> lines;
    const auto too_wide = [&] {
        std::size_t sum = 0;
        for (const std::size_t column : widths_of(rows)) {
            sum += column == 0 ? 0 : (sum == 0 ? 0 : gap) + column;
        }
        return sum > width;
    };
    if (!too_wide()) {
        return lines;
    }
    for (Row& row : rows) {
        if (row.back() == "*") {
            row[1] += row.back();
        } else if (!row.back().empty()) {
            lines.push_back(fmt::format("{}: {}", row.front(), row.back()));
        }
        row.back().clear();
    }
    std::vector<std::string> left_out;
    while (too_wide() && rows.front().size() > 3) {
        left_out.insert(left_out.begin(), rows.front().end()[-2]);
        for (Row& row : rows) {
            row.erase(row.end() - 2);
        }
    }
    if (!left_out.empty()) {
        lines.push_back(fmt::format("(for want of width without: {})", fmt::join(left_out, ", ")));
    }
    return lines;
}

// In lines that are no longer than that; what comes after the first is indented.
std::string wrapped(const std::string& text, std::size_t width)
{
    constexpr std::size_t indent = 4;
    std::string result;
    std::string line;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        if (!line.empty() && width_of(line) + 1 + width_of(word) > width) {
            result += line + '\n';
            line.assign(indent, ' ');
        } else if (!line.empty()) {
            line += ' ';
        }
        line += word;
    }
    return result + line;
}

std::string plain_table(const Table& rows)
{
    const std::vector<std::size_t> widths = widths_of(rows);
    std::string text;
    for (const Row& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const bool left = i == 0 || i + 1 == row.size();  // the name, and the remarks
            const std::size_t padding = widths[i] - width_of(row[i]);
            line.append(i == 0 ? 0 : gap, ' ');
            line.append(left ? 0 : padding, ' ');
            line += row[i];
            line.append(left ? padding : 0, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        text += line + "\n";
    }
    return text;
}

std::string markdown_table(const Table& rows)
{
    std::string text;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::string line = "|";
        for (const std::string& entry : rows[i]) {
            line += ' ';
            for (const char c : entry) {
                line += c == '|' || c == '*' ? "\\" : "";
                line += c;
            }
            line += " |";
        }
        text += line + "\n";
        if (i == 0) {
            text += "|---|";
            for (std::size_t column = 2; column < rows[i].size(); ++column) {
                text += "--:|";
            }
            text += "---|\n";
        }
    }
    return text;
}

std::string csv_field(const std::string& text)
{
    if (text.find_first_of(",\"\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (const char c : text) {
        quoted += c == '"' ? "\"\"" : std::string(1, c);
    }
    return quoted + "\"";
}

std::vector<Column>::const_iterator ranked_column(const Scenario& scenario)
{
    return std::find_if(scenario.columns.begin(), scenario.columns.end(),
                        [&](const Column& column) { return column.key == scenario.ranked_by; });
}

// How much the runs of a contestant differ in the ranked figure: half the distance from the lowest
// to the highest, relative to the median. The most of all contestants.
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
            if (!run.verdict.empty()) {
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

std::string method(const Comparison& comparison)
{
    const CompareOptions& options = comparison.options;
    std::string text = fmt::format(
        "{}; closed loop; {}, {} per measurement{}.", comparison.placement,
        options.runs == 1 ? "one run" : fmt::format("medians of {} runs", options.runs),
        to_string(options.duration), options.pool.empty() ? "" : ", --pool " + options.pool);
    if (comparison.others_busy > 10) {
        text +=
            fmt::format(" Other programs kept the CPUs up to {:.0f}% busy: expect figures to vary.",
                        comparison.others_busy);
    }
    if (comparison.baseline && !comparison.baseline->differences.empty()) {
        text += fmt::format(" The baseline was measured otherwise: {}.",
                            fmt::join(comparison.baseline->differences, "; "));
    }
    return text;
}

std::string format_table(const Comparison& comparison, TableForm form, std::size_t width)
{
    const bool markdown = form == TableForm::markdown;
    std::string text;
    const auto add_paragraph = [&](const std::string& paragraph) {
        const bool star = markdown && paragraph.starts_with('*');
        text += fmt::format("{}{}\n{}", star ? "\\" : "", wrapped(paragraph, width),
                            markdown ? "\n" : "");
    };
    for (std::size_t s = 0; s < comparison.scenarios.size(); ++s) {
        const Scenario& scenario = comparison.scenarios[s];
        Table rows = table_of(comparison, s, form == TableForm::plain ? "+-" : "±");
        std::vector<std::string> more;
        if (!markdown) {
            more = fit(rows, width);
        }
        text += wrapped(fmt::format("{0}{1}{0}: {2}", markdown ? "**" : "", scenario.name,
                                    scenario.title(comparison.options)),
                        width) +
                "\n\n";
        text += markdown ? markdown_table(rows) : plain_table(rows);
        const std::vector<std::string> below = notes_below(comparison, s);
        more.insert(more.end(), below.begin(), below.end());
        text += more.empty() ? "" : "\n";
        for (const std::string& line : more) {
            add_paragraph(line);
        }
        text += markdown && !more.empty() ? "" : "\n";
    }
    const std::vector<std::string> sentences = conclusions(comparison);
    for (const std::string& sentence : sentences) {
        text += fmt::format("{}{}\n", markdown ? "- " : "", wrapped(sentence, width));
    }
    text += sentences.empty() ? "" : "\n";
    add_paragraph(method(comparison));
    if (!comparison.complete) {
        add_paragraph("Stopped before the end: this is what was measured until then.");
    }
    return text;
}

std::string format_csv(const Comparison& comparison)
{
    std::string text = "scenario,stage,run,figure,value,verdict\n";
    for (const auto& [where, runs] : comparison.runs) {
        const std::string& scenario = comparison.scenarios[where.first].name;
        const std::string stage = csv_field(comparison.contestants[where.second].name);
        for (std::size_t run = 0; run < runs.size(); ++run) {
            const std::string begin = fmt::format("{},{},{}", scenario, stage, run + 1);
            if (!runs[run].verdict.empty()) {
                text += fmt::format("{},,,{}\n", begin, csv_field(runs[run].verdict));
                continue;
            }
            for (const auto& [key, value] : runs[run].figures) {
                text += fmt::format("{},{},{},\n", begin, key, value);
            }
        }
    }
    return text;
}

std::string format_json(const Comparison& comparison)
{
    using Json = nlohmann::ordered_json;
    const CompareOptions& options = comparison.options;
    Json scenarios = Json::array();
    for (std::size_t s = 0; s < comparison.scenarios.size(); ++s) {
        const Scenario& scenario = comparison.scenarios[s];
        Json stages = Json::array();
        for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
            Json runs = Json::array();
            for (const Measurement& run : runs_of(comparison, s, c)) {
                Json timeline = Json::array();
                for (const Slice& slice : run.timeline) {
                    timeline.push_back({{"at_s", slice.at_s}, {"rate", slice.rate}});
                }
                Json phases = Json::array();
                for (const Phase& phase : run.phases) {
                    phases.push_back(
                        {{"name", phase.name}, {"begin_s", phase.begin_s}, {"end_s", phase.end_s}});
                }
                runs.push_back({{"figures", run.figures},
                                {"words", run.words},
                                {"remarks", run.remarks},
                                {"verdict", run.verdict},
                                {"detail", run.detail},
                                {"client_was_busy", run.client_was_busy},
                                {"timeline", timeline},
                                {"phases", phases}});
            }
            Json medians = Json::object();
            for (const Column& column : scenario.columns) {
                if (const auto summary = summarise(runs_of(comparison, s, c), column.key)) {
                    medians[column.key] = {{"median", summary->median},
                                           {"low", summary->low},
                                           {"high", summary->high}};
                }
            }
            stages.push_back(
                {{"stage", comparison.contestants[c].name}, {"summary", medians}, {"runs", runs}});
        }
        scenarios.push_back({{"scenario", scenario.name},
                             {"title", scenario.title(options)},
                             {"ranked_by", scenario.ranked_by},
                             {"ranking", ranking(comparison, s)},
                             {"stages", stages}});
    }
    const Machine& machine = comparison.machine;
    const Json report = {{"command", comparison.command},
                         {"date", comparison.date},
                         {"machine",
                          {{"cpu", machine.cpu},
                           {"cpus", machine.cpus},
                           {"memory_bytes", machine.memory},
                           {"kernel", machine.kernel},
                           {"compiler", machine.compiler},
                           {"build", machine.build}}},
                         {"placement", comparison.placement},
                         {"mode", "closed"},
                         {"connections", options.clients},
                         {"duration_s", static_cast<double>(options.duration.count()) / 1e9},
                         {"runs", options.runs},
                         {"big", options.big},
                         {"idle", options.idle},
                         {"pipeline", options.pipeline},
                         {"pool", options.pool},
                         {"complete", comparison.complete},
                         {"others_busy_percent", comparison.others_busy},
                         {"scenarios", scenarios}};
    // A stage may have said anything: bytes that are no UTF-8 are replaced, not refused.
    return report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
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
