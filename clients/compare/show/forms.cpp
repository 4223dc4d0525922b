// The forms of a report: table, Markdown, CSV, JSON; part of comparison.hpp.

#include "clients/compare/judge/comparison.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>
#include <string_view>

namespace ground {

namespace {

using Row = Table::value_type;

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

// Makes a table fit. What has no room in a row is returned as lines to be shown below it: first the
// remarks. If that is not enough, the last columns are left out.
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
        lines.push_back(fmt::format("(left out for lack of room: {})", fmt::join(left_out, ", ")));
    }
    return lines;
}

// Broken into lines that are no longer than that. All except the first are indented.
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

}  // namespace

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
        add_paragraph(how_far(comparison));
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

}  // namespace ground
