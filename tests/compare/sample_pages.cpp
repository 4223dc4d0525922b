// sample_pages DIRECTORY -- writes the pages of comparisons that no run has measured. page_test.py
// looks at them.
#include "clients/compare/show/page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

using namespace ground;

namespace {

Measurement measured(double before, double with_hog)
{
    Measurement measurement;
    measurement.figures = {{"rate_before", before}, {"rate_hog", with_hog}, {"rate_after", before}};
    measurement.words["rate_hog"] = "starved";
    for (int slice = 1; slice <= 40; ++slice) {
        measurement.timeline.push_back(
            {0.1 * slice, slice > 10 && slice <= 20 ? with_hog : before});
    }
    measurement.phases = {{"before", 0, 1}, {"hog", 1, 2}, {"leaving", 2, 3}, {"after", 3, 4}};
    return measurement;
}

Measurement failed(std::string verdict, std::string detail = "")
{
    Measurement measurement;
    measurement.verdict = std::move(verdict);
    measurement.detail = std::move(detail);
    return measurement;
}

Comparison comparison_of(std::string_view name)
{
    Comparison result;
    result.options.runs = 1;
    result.complete = true;
    const auto& all = all_scenarios();
    result.scenarios = {*std::find_if(
        all.begin(), all.end(), [&](const Scenario& scenario) { return scenario.name == name; })};
    return result;
}

void add(Comparison& comparison, const std::string& name, std::vector<Measurement> runs)
{
    comparison.contestants.push_back({name, "/" + name, {}});
    comparison.runs[{0, comparison.contestants.size() - 1}] = std::move(runs);
}

Comparison starved()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "01_blocking", {measured(20'000, 0)});
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    return comparison;
}

Comparison with_failures()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    add(comparison, "03_process_pool", {failed("died", "exit status 3")});
    Measurement silent = measured(0, 0);  // which has a timeline
    silent.verdict = "no reply";
    add(comparison, "04_generators", {silent});
    return comparison;
}

Comparison times()
{
    Comparison comparison = comparison_of("parallel");
    Measurement all;
    all.figures = {{"at_once_1", 1e5}, {"at_once_2", 2e5}, {"at_once_4", 4e5}, {"speedup", 1}};
    Measurement blocked;
    blocked.figures = {{"at_once_1", 1e5}};
    blocked.words["at_once_2"] = "1 of 2 served";
    add(comparison, "01_blocking", {blocked});
    add(comparison, "02_threads", {all});
    return comparison;
}

Comparison three_runs()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "02_threads",
        {measured(20'000, 9'000), measured(20'000, 9'500), measured(20'000, 9'300)});
    return comparison;
}

// The failed run's figure is the median of those that count.
Comparison one_failed()
{
    Comparison comparison = comparison_of("hog");
    Measurement died = measured(20'000, 9'300);
    died.verdict = "died";
    add(comparison, "02_threads", {died, measured(20'000, 9'600), measured(20'000, 9'000)});
    return comparison;
}

Comparison alone()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "07_coroutines", {measured(20'000, 9'000)});
    return comparison;
}

Comparison in_company()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "python", {measured(20'000, 9'000)});
    add(comparison, "07_coroutines", {measured(20'000, 9'000)});
    add(comparison, "07_coroutines", {measured(20'000, 9'000)});  // another build, for example
    return comparison;
}

Comparison hostile()
{
    const std::string text = "</script><img src=x onerror=alert(1)><!-- <script>{{data}}\xff";
    Comparison comparison = comparison_of("hog");
    comparison.command = "compare --external '" + text + "'";
    add(comparison, text, {measured(20'000, 9'000)});
    add(comparison, "unlucky", {failed("died", text)});
    return comparison;
}

Comparison stopped()
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    add(comparison, "03_process_pool", {});
    comparison.complete = false;
    return comparison;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 2) {
        fmt::print(stderr, "usage: sample_pages DIRECTORY\n");
        return EXIT_FAILURE;
    }
    const std::map<std::string, Comparison> pages = {
        {"starved", starved()},       {"with_failures", with_failures()},
        {"times", times()},           {"three_runs", three_runs()},
        {"alone", alone()},           {"in_company", in_company()},
        {"hostile", hostile()},       {"stopped", stopped()},
        {"one_failed", one_failed()},
    };
    for (const auto& [name, comparison] : pages) {
        std::ofstream file(std::filesystem::path(argv[1]) / (name + ".html"));
        file << format_page(comparison) << std::flush;
        if (!file) {
            return EXIT_FAILURE;
        }
    }
}
