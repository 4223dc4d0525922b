#include "clients/compare/show/page.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

// Puts a file into this object file when it is assembled, so that compare needs none of them when
// it runs. (CMakeLists.txt knows the directories, and compiles this file anew when one of them
// changes.)
#define EMBED(name, file)                                                      \
    asm(".pushsection .rodata\n"                                               \
        ".balign 8\n"                                                          \
        ".globl " #name                                                        \
        "_size\n"                                                              \
        ".hidden " #name "_size\n" #name "_size: .quad " #name "_end - " #name \
        "\n"                                                                   \
        ".globl " #name                                                        \
        "\n"                                                                   \
        ".hidden " #name "\n" #name ": .incbin \"" file "\"\n" #name           \
        "_end:\n"                                                              \
        ".popsection\n");                                                      \
    extern "C" const std::uint64_t name##_size;                                \
    extern "C" const char name[] /* NOLINT(bugprone-macro-parentheses) */

EMBED(page_html, PAGE_DIRECTORY "/page.html");
EMBED(page_css, PAGE_DIRECTORY "/page.css");
EMBED(page_js, PAGE_DIRECTORY "/page.js");
EMBED(chart_js, CHART_JS);

namespace ground {

namespace {

using Json = nlohmann::ordered_json;

// The skeleton with each {{name}} replaced by that part. What is in a part stays as it is.
std::string fill(std::string_view skeleton,
                 const std::map<std::string_view, std::string_view>& parts)
{
    std::string text;
    for (auto open = skeleton.find("{{"); open != std::string_view::npos;
         open = skeleton.find("{{")) {
        const std::size_t close = skeleton.find("}}", open);
        text += skeleton.substr(0, open);
        text += parts.at(skeleton.substr(open + 2, close - open - 2));
        skeleton.remove_prefix(close + 2);
    }
    return text.append(skeleton);
}

// For a <script> element, which ends at the first "</script" and may be confused by "<!--",
// wherever that is. In JSON a '<' is always in a string, and may be written like this.
std::string for_script(const Json& json)
{
    std::string text;
    // As in format_json(): bytes that are no UTF-8 are replaced, not refused.
    for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
        text += c == '<' ? std::string_view("\\u003c") : std::string_view(&c, 1);
    }
    return text;
}

// Which of the runs to draw for all: that whose ranked figure is nearest to the median. A run that
// has failed may have a timeline; it is drawn if there is no better one.
std::optional<std::size_t> typical_run(const std::vector<Measurement>& runs, const std::string& key)
{
    const auto median = summarise(runs, key);
    std::optional<std::size_t> best;
    double best_distance = 0;
    for (std::size_t i = 0; i < runs.size(); ++i) {
        const auto figure = runs[i].figures.find(key);
        const bool counts = runs[i].verdict.empty() && figure != runs[i].figures.end();
        const double distance =
            counts && median ? std::abs(figure->second - median->median) : HUGE_VAL;
        if (!runs[i].timeline.empty() && (!best || distance < best_distance)) {
            best = i;
            best_distance = distance;
        }
    }
    return best;
}

// The report, and what the page is to show of it as it stands.
Json data_of(const Comparison& comparison)
{
    Json report = Json::parse(format_json(comparison));
    report["conclusions"] = conclusions(comparison);
    report["method"] = method(comparison);
    report["facts"] = {{"Date", comparison.date}, {"Machine", to_string(comparison.machine)}};
    for (std::size_t s = 0; s < comparison.scenarios.size(); ++s) {
        const std::vector<Column>& columns = comparison.scenarios[s].columns;
        const std::string& ranked_by = comparison.scenarios[s].ranked_by;
        Json& scenario = report["scenarios"][s];
        scenario["table"] = table_of(comparison, s, "±");
        scenario["notes"] = notes_below(comparison, s);
        const auto ranked = std::find_if(columns.begin(), columns.end(), [&](const Column& column) {
            return column.key == ranked_by;
        });
        scenario["ranked"] = ranked - columns.begin() + 1;  // the names come first
        // Where there is no rate, times are the picture: those up to the ranked one, behind which
        // the table may have the change since a baseline.
        Json& times = scenario["times"] = Json::array();
        if (ranked->unit == Unit::time_us) {
            for (auto column = columns.begin(); column <= ranked; ++column) {
                times.push_back({{"key", column->key}, {"column", column - columns.begin() + 1}});
            }
        }
        for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
            const auto drawn = typical_run(runs_of(comparison, s, c), ranked_by);
            scenario["stages"][c]["drawn"] = drawn ? Json(*drawn) : Json();
        }
    }
    return report;
}

}  // namespace

std::string format_page(const Comparison& comparison)
{
    return fill({page_html, page_html_size}, {{"page.css", {page_css, page_css_size}},
                                              {"page.js", {page_js, page_js_size}},
                                              {"chart.js", {chart_js, chart_js_size}},
                                              {"data", for_script(data_of(comparison))}});
}

}  // namespace ground
