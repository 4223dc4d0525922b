#include "clients/compare/show/page.hpp"

#include "clients/shared/html.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <optional>

EMBED(page_html, PAGE_DIRECTORY "/page.html");
EMBED(page_css, PAGE_DIRECTORY "/page.css");
EMBED(page_js, PAGE_DIRECTORY "/page.js");
EMBED(chart_js, CHART_JS);

namespace ground {

namespace {

using Json = nlohmann::ordered_json;

// Which of the runs to draw for all: the one whose ranked figure is nearest to the median. A run
// that has failed may have a timeline. It is drawn if there is no better one.
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

// The report, and the texts that the page shows as they are.
Json data_of(const Comparison& comparison)
{
    Json report = Json::parse(format_json(comparison));
    report["conclusions"] = conclusions(comparison);
    report["method"] = method(comparison);
    report["how_far"] = how_far(comparison);
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
        // Without a rate, the picture shows times: those up to the ranked one. Behind it, the table
        // may have the change since a baseline.
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

// As in format_json(): bytes that are no UTF-8 are replaced, not refused.
std::string dump(const Json& json)
{
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string format_page(const Comparison& comparison)
{
    return fill({page_html, page_html_size}, {{"page.css", {page_css, page_css_size}},
                                              {"page.js", {page_js, page_js_size}},
                                              {"chart.js", {chart_js, chart_js_size}},
                                              {"data", for_script(dump(data_of(comparison)))}});
}

}  // namespace ground
