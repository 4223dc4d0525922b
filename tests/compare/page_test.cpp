// The page of a comparison, looked at in a browser.
#include "clients/compare/show/page.hpp"

#include "tests/harness.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

using namespace ground;
using ground::test::Outcome;
using Json = nlohmann::json;

namespace {

namespace fs = std::filesystem;

// A directory that goes when the test does.
class Directory {
  public:
    Directory()
    {
        std::string name = fs::temp_directory_path() / "page-test-XXXXXX";
        path_ = ::mkdtemp(name.data());
    }
    ~Directory()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    [[nodiscard]] fs::path operator/(const char* name) const { return path_ / name; }

  private:
    fs::path path_;
};

std::string read_file(const fs::path& file)
{
    std::ostringstream text;
    text << std::ifstream(file).rdbuf();
    return text.str();
}

bool contains(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

// Added to a copy of a page: it tells what a reader would see, as JSON.
constexpr std::string_view probe = R"(<script>
window.addEventListener("load", () => {
  const texts = (root, selector) => [...root.querySelectorAll(selector)].map((e) => e.textContent);
  // Pixels with a colour: those of the curves, for axes and texts are grey.
  const painted = (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b, alpha] = data.subarray(i, i + 4);
      count += alpha > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60 ? 1 : 0;
    }
    return count;
  };
  // The colour of the ground in the middle of a phase, just below the upper edge.
  const ground = (chart, name) => {
    const phase = chart.options.plugins.hog.phases.find((phase) => phase.name === name);
    const x = chart.scales.x.getPixelForValue((phase.begin_s + phase.end_s) / 2 + 0.02);
    const y = chart.chartArea.top + 3;
    const scale = chart.currentDevicePixelRatio;
    return [...chart.ctx.getImageData(x * scale, y * scale, 1, 1).data].join();
  };
  const look = (section) => {
    const canvases = [...section.querySelectorAll("canvas")].filter((c) => c.checkVisibility());
    const drawn = canvases.map((canvas) => Chart.getChart(canvas));
    return {
      pixels: canvases.map(painted),
      names: canvases.map((canvas) => canvas.getAttribute("aria-label") ?? ""),
      lowest: drawn.map((c) => Math.min(...c.data.datasets.flatMap((d) => d.data.map((p) => p?.y ?? 0)))),
      bars: drawn.filter((c) => c.config.type === "bar")
        .map((c) => c.data.datasets.map(({ data, texts }) => [data, texts])),
      hog: drawn.filter((c) => c.options.plugins.hog?.phases?.length > 0)
        .map((c) => [ground(c, "before"), ground(c, "hog")]),
    };
  };
  const scenarios = [...document.querySelectorAll(".scenario")].map((section) => {
    const scale = section.querySelector(".scale input:checked")?.value;
    section.querySelector("input[value=linear]").click();
    const linear = look(section);
    section.querySelector("input[value=logarithmic]").click();
    const logarithmic = look(section);
    const legend = [...section.querySelectorAll(".legend [aria-pressed]")];
    legend[0]?.click();
    return {
      title: section.querySelector("h2").textContent,
      panels: texts(section, ".panel .stage"),
      verdicts: texts(section, ".panel .verdict"),
      figures: texts(section, ".panel strong"),
      colours: [...section.querySelectorAll(".panel .swatch")].map((e) => e.style.background),
      rows: [...section.querySelectorAll("tr")].map((row) => texts(row, "th, td")),
      notes: texts(section, ".notes li"),
      legend: legend.map((button) => button.textContent),
      pressed: legend.map((button) => button.getAttribute("aria-pressed")),
      scale, linear, logarithmic,
    };
  });
  const seen = {
    scenarios,
    errors: document.getElementById("errors").textContent,
    stopped: document.getElementById("stopped").checkVisibility(),
    conclusions: texts(document, "#conclusions li"),
    conclusions_first: document.getElementById("conclusions")
      .compareDocumentPosition(document.querySelector(".scenario")) === Node.DOCUMENT_POSITION_FOLLOWING,
    method: document.getElementById("method").textContent,
    command: document.getElementById("command").textContent,
    facts: texts(document, "#facts dd"),
    foreign: document.querySelectorAll("img, link, iframe, [src], [onerror]").length,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
    wide: document.documentElement.scrollWidth > window.innerWidth,
  };
  const result = JSON.stringify(seen).replaceAll("<", "\\u003c");
  document.body.append(Object.assign(document.createElement("script"),
    { type: "application/json", textContent: ["", result, ""].join("[seen]") }));
});
</script>)";

// What a reader of the page sees, in a window as wide as this.
Json look_at(const std::string& page, const std::string& width = "1280")
{
    if (std::system("command -v chromium >/dev/null") != 0) {
        FAIL("chromium is missing. On Debian or Ubuntu: apt-get install chromium");
    }
    const Directory directory;
    const fs::path copy = directory / "page.html";
    std::ofstream(copy) << page << probe;
    const Outcome outcome = ground::test::run(
        {{"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
          "--no-first-run", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
          "--user-data-dir=" + (directory / "profile").string(), "--window-size=" + width + ",2000",
          "--dump-dom", "file://" + copy.string()}});
    INFO(outcome.err);
    constexpr std::string_view mark = "[seen]";
    const std::size_t end = outcome.out.rfind(mark);
    const std::size_t begin = outcome.out.rfind(mark, end - 1) + mark.size();
    REQUIRE(end != std::string::npos);
    Json seen = Json::parse(outcome.out.substr(begin, end - begin), nullptr, false);
    REQUIRE(seen.is_object());
    CHECK(seen.at("errors") == "");
    CHECK(seen.at("requests").empty());
    CHECK(seen.at("foreign") == 0);
    CHECK(seen.at("wide") == false);
    return seen;
}

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

// Cells of a page as the plain table has them, without blanks.
std::string squeezed(std::string text)
{
    for (auto at = text.find("±"); at != std::string::npos; at = text.find("±")) {
        text.replace(at, std::string_view("±").size(), "+-");
    }
    text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
    return text;
}

}  // namespace

TEST_CASE("page: a run of compare can be seen in a browser")
{
    const Directory directory;
    const fs::path file = directory / "it's a page.html";
    const Outcome outcome = ground::test::run(
        {{COMPARE_PATH, "02", "04", "--scenario", "hog,crowd", "--duration", "200ms", "--runs", "2",
          "--big", "25", "--connections", "4", "--html", file.string()}});
    INFO(outcome.err);
    // On a very busy machine a stage may not reply in so short a time. Then the page says so.
    REQUIRE(outcome.status <= 1);
    const Json seen = look_at(read_file(file));

    const std::vector<std::string> stages{"02_threads", "04_generators"};
    REQUIRE(seen.at("scenarios").size() == 2);
    std::string table;
    for (const Json& scenario : seen.at("scenarios")) {
        CAPTURE(scenario.at("title").get<std::string>());
        CHECK(scenario.at("panels") == stages);
        CHECK(scenario.at("verdicts").empty());
        const bool hog = scenario.at("title") == "hog";
        CHECK(scenario.at("scale") == (hog ? "logarithmic" : "linear"));
        for (const char* const scale : {"linear", "logarithmic"}) {
            const Json& look = scenario.at(scale);
            CHECK(look.at("pixels").size() == (hog ? 3 : 2));  // with the overview
            for (const Json& pixels : look.at("pixels")) {
                CHECK(pixels > 100);  // a line all the way, however slow the stage was
            }
            for (const Json& name : look.at("names")) {
                CHECK(contains(name.get<std::string>(), "reqs/sec"));
            }
            CHECK(look.at("hog").size() == (hog ? 3 : 0));
            for (const Json& grounds : look.at("hog")) {
                CHECK(grounds.at(0) != grounds.at(1));
            }
        }
        CHECK(scenario.at("legend") == (hog ? Json(stages) : Json::array()));
        CHECK(scenario.at("pressed") == (hog ? Json{"false", "true"} : Json::array()));
        table += scenario.at("title").get<std::string>();
        for (const Json& row : scenario.at("rows")) {
            for (const Json& cell : row) {
                table += cell.get<std::string>();
            }
        }
        for (const Json& note : scenario.at("notes")) {
            table += note.get<std::string>();
        }
    }
    for (const Json& conclusion : seen.at("conclusions")) {
        table += conclusion.get<std::string>();
    }
    table += seen.at("method").get<std::string>();
    // The terminal has the same, and the titles of the scenarios, which are captions on the page.
    std::string terminal;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
        const bool title = line.starts_with("hog: ") || line.starts_with("crowd: ");
        terminal += title ? line.substr(0, line.find(':')) : line;
    }
    CHECK(squeezed(table) == squeezed(terminal));
    CHECK(contains(seen.at("command").get<std::string>(), "--scenario hog,crowd"));
    CHECK(contains(seen.at("command").get<std::string>(), "it'\\''s a page.html"));
    CHECK(seen.at("conclusions_first") == true);
    CHECK(seen.at("facts").size() == 2);
    CHECK(seen.at("stopped") == false);
}

TEST_CASE("page: it fits on a telephone")
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "01_blocking", {measured(20'000, 0)});
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    look_at(format_page(comparison), "400");  // which checks the width
}

TEST_CASE("page: a rate of 0 is drawn as 0 on both scales")
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "04_generators", {measured(20'000, 0)});
    const Json scenario = look_at(format_page(comparison)).at("scenarios").at(0);
    CHECK(scenario.at("linear").at("lowest") == Json{0, 0});
    CHECK(scenario.at("logarithmic").at("lowest") == Json{0, 0});
}

TEST_CASE("page: a stage that has failed has a panel with the word")
{
    Comparison comparison = comparison_of("hog");
    Measurement failed;
    failed.verdict = "died";
    failed.detail = "exit status 3";
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    add(comparison, "03_process_pool", {failed});
    Measurement silent = measured(0, 0);  // which has a timeline
    silent.verdict = "no reply";
    add(comparison, "04_generators", {silent});
    const Json scenario = look_at(format_page(comparison)).at("scenarios").at(0);
    CHECK(scenario.at("panels") == Json{"02_threads", "03_process_pool", "04_generators"});
    CHECK(scenario.at("verdicts") == Json{"died"});
    CHECK(scenario.at("figures") == Json{"9,000", "", "no reply"});
    CHECK(scenario.at("notes").at(0) == "03_process_pool died: exit status 3");
}

TEST_CASE("page: times are bars, each with its cell of the table beside it")
{
    Comparison comparison = comparison_of("parallel");
    Measurement all;
    all.figures = {{"at_once_1", 1e5}, {"at_once_2", 2e5}, {"at_once_4", 4e5}, {"speedup", 1}};
    Measurement blocked;
    blocked.figures = {{"at_once_1", 1e5}};
    blocked.words["at_once_2"] = "1 of 2 served";
    add(comparison, "01_blocking", {blocked});
    add(comparison, "02_threads", {all});
    const Json seen = look_at(format_page(comparison));
    const Json& look = seen.at("scenarios").at(0).at("linear");
    CHECK(look.at("pixels").at(0) > 1000);
    REQUIRE(look.at("bars").size() == 1);
    CHECK(look.at("bars").at(0) == Json::parse(R"([[[0.1, 0.1], ["alone: 100 ms", "alone: 100 ms"]],
                          [[null, 0.2], ["2 at once: 1 of 2 served", "2 at once: 200 ms"]],
                          [[null, 0.4], ["", "4 at once: 400 ms"]]])"));
}

TEST_CASE("page: of several runs, that with the median is the strong line")
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "02_threads",
        {measured(20'000, 9'000), measured(20'000, 9'500), measured(20'000, 9'300)});
    const std::string page = format_page(comparison);
    CHECK(contains(page, R"("drawn":2)"));
}

TEST_CASE("page: a run that has failed is no stage's strong line while there is another one")
{
    Comparison comparison = comparison_of("hog");
    Measurement failed = measured(20'000, 9'300);  // the median of the two that count
    failed.verdict = "died";
    add(comparison, "02_threads", {failed, measured(20'000, 9'600), measured(20'000, 9'000)});
    CHECK_FALSE(contains(format_page(comparison), R"("drawn":0)"));
}

TEST_CASE("page: a stage has its colour, in whatever company")
{
    Comparison alone = comparison_of("hog");
    add(alone, "07_coroutines", {measured(20'000, 9'000)});
    Comparison together = comparison_of("hog");
    add(together, "python", {measured(20'000, 9'000)});
    add(together, "07_coroutines", {measured(20'000, 9'000)});
    add(together, "07_coroutines", {measured(20'000, 9'000)});  // another build, say
    const auto colours = [](const Comparison& comparison) {
        return look_at(format_page(comparison)).at("scenarios").at(0).at("colours");
    };
    const Json colour = colours(alone).at(0);
    const Json all = colours(together);
    CHECK(all.at(1) == colour);
    CHECK(std::count(all.begin(), all.end(), colour) == 1);
}

TEST_CASE("page: names and last words stay text, whatever they are")
{
    const std::string hostile = "</script><img src=x onerror=alert(1)><!-- <script>{{data}}\xff";
    Comparison comparison = comparison_of("hog");
    comparison.command = "compare --external '" + hostile + "'";
    Measurement failed;
    failed.verdict = "died";
    failed.detail = hostile;
    add(comparison, hostile, {measured(20'000, 9'000)});
    add(comparison, "unlucky", {failed});
    const Json seen = look_at(format_page(comparison));
    const std::string shown = "</script><img src=x onerror=alert(1)><!-- <script>{{data}}\uFFFD";
    CHECK(seen.at("scenarios").at(0).at("panels").at(0) == shown);
    CHECK(seen.at("scenarios").at(0).at("rows").at(1).at(0) == shown);
    CHECK(seen.at("scenarios").at(0).at("notes").at(0) == "unlucky died: " + shown);
    CHECK(seen.at("command") == "compare --external '" + shown + "'");
}

TEST_CASE("page: Ctrl-C ends with the page of what was measured")
{
    const Directory directory;
    const fs::path file = directory / "page.html";
    ground::test::Program program({{COMPARE_PATH, "02", "--scenario", "solo", "--duration", "200ms",
                                    "--runs", "1000", "--html", file.string()}});
    program.err().wait_for("[2/");
    program.signal(SIGINT);
    CHECK(program.wait() == 130);
    const Json seen = look_at(read_file(file));
    CHECK(seen.at("stopped") == true);
    CHECK(seen.at("scenarios").at(0).at("panels") == Json{"02_threads"});
}

TEST_CASE("page: of a run that was stopped, it says so, and what is missing")
{
    Comparison comparison = comparison_of("hog");
    add(comparison, "02_threads", {measured(20'000, 9'000)});
    add(comparison, "03_process_pool", {});
    comparison.complete = false;
    const Json seen = look_at(format_page(comparison));
    CHECK(seen.at("stopped") == true);
    CHECK(seen.at("scenarios").at(0).at("verdicts") == Json{"not measured"});
}

TEST_CASE("page: a file that cannot be written is found out before anything is measured")
{
    const Directory directory;
    for (const std::string& file :
         {(directory / "").string(), (directory / "no/such.html").string(),
          std::string("/proc/such.html"), std::string()}) {
        const Outcome outcome = ground::test::run({{COMPARE_PATH, "02", "--html", file}});
        CAPTURE(outcome.err);
        CHECK(outcome.status == 2);
        CHECK(outcome.out.empty());
        CHECK(outcome.err == "compare: can't write '" + file + "'; choose another file\n");
    }
}
