#include "clients/compare/judge/comparison.hpp"

#include "clients/compare/compare_options.hpp"
#include "clients/compare/measure/usage.hpp"
#include "clients/shared/target.hpp"

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <thread>

using namespace ground;

namespace {

Scenario scenario(std::string_view name)
{
    const auto& all = all_scenarios();
    return *std::find_if(all.begin(), all.end(),
                         [&](const Scenario& candidate) { return candidate.name == name; });
}

Comparison comparison(std::string_view name)
{
    Comparison result;
    result.options.runs = 2;
    result.scenarios = {scenario(name)};
    return result;
}

Measurement measured(const std::string& key, double value)
{
    Measurement measurement;
    measurement.figures[key] = value;
    return measurement;
}

Measurement failed(const std::string& verdict)
{
    Measurement measurement;
    measurement.verdict = verdict;
    measurement.detail = "bad luck";
    return measurement;
}

void add(Comparison& comparison, const std::string& name, std::vector<Measurement> runs)
{
    comparison.contestants.push_back({name, "/" + name, {}});
    comparison.runs[{0, comparison.contestants.size() - 1}] = std::move(runs);
}

void add(Comparison& comparison, const std::string& name, std::initializer_list<double> values)
{
    std::vector<Measurement> runs;
    for (const double value : values) {
        runs.push_back(measured(comparison.scenarios[0].ranked_by, value));
    }
    add(comparison, name, std::move(runs));
}

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("compare: a process may end while it is looked at")
{
    const pid_t parent = ::getpid();
    std::atomic<bool> enough = false;
    std::atomic<int> children = 0;
    std::jthread coming_and_going([&] {
        while (!enough) {
            const pid_t child = ::fork();
            if (child == 0) {
                ::_exit(0);
            }
            ::waitpid(child, nullptr, 0);
            ++children;
        }
    });
    for (int looks = 0; looks < 1000 || children < 1000; ++looks) {
        CHECK(usage_of(parent).processes >= 1);
    }
    enough = true;
}

TEST_CASE("compare: the CPU time of processes that have ended counts")
{
    const double before = usage_of(::getpid()).cpu_s;
    const pid_t child = ::fork();
    if (child == 0) {
        while (std::clock() < CLOCKS_PER_SEC / 10) {
        }
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    CHECK(usage_of(::getpid()).cpu_s - before > 0.07);  // counted in ticks of 10 ms
}

TEST_CASE("comparison: a summary is the median and the extremes")
{
    const auto odd = summarise({measured("a", 3), measured("a", 1), measured("a", 7)}, "a");
    REQUIRE(odd);
    CHECK(odd->median == 3);
    CHECK(odd->low == 1);
    CHECK(odd->high == 7);
    CHECK(odd->spread() == doctest::Approx(1));
    CHECK(summarise({measured("a", 1), measured("a", 2)}, "a")->median == doctest::Approx(1.5));
    CHECK_FALSE(summarise({measured("b", 1)}, "a"));
}

TEST_CASE("comparison: a run that failed is not part of the figures")
{
    CHECK(summarise({measured("a", 4), failed("died")}, "a")->low == 4);
}

TEST_CASE("comparison: stages whose runs are apart are ranked")
{
    Comparison result = comparison("solo");
    add(result, "slow", {10, 20});
    add(result, "fast", {30, 40});
    CHECK(ranking(result, 0) == "Best first: fast > slow");
}

TEST_CASE("comparison: if less is better, the smaller comes first")
{
    Comparison result = comparison("parallel");
    add(result, "slow", {30, 40});
    add(result, "fast", {10, 20});
    CHECK(ranking(result, 0) == "Best first: fast > slow");
}

TEST_CASE("comparison: neighbours whose runs overlap are not ranked")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 20});
    add(result, "b", {19, 29});
    add(result, "c", {40, 41});
    CHECK(ranking(result, 0) == "Best first: c > b ~ a (~: too close to tell)");
}

TEST_CASE("comparison: each is compared with its neighbour, not with the first of several that tie")
{
    Comparison result = comparison("solo");
    add(result, "a", {40, 50});
    add(result, "b", {30, 41});
    add(result, "c", {20, 31});  // apart from a
    CHECK(ranking(result, 0) == "Best first: a ~ b ~ c (~: too close to tell)");
}

TEST_CASE("comparison: neighbours that are closer than the runs of each are not ranked")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 20});
    add(result, "b", {29, 30});
    CHECK(ranking(result, 0) == "Best first: b ~ a (~: too close to tell)");
    result.runs[{0, 1}].front() = result.runs[{0, 1}].back() = measured("rate", 31);
    CHECK(ranking(result, 0) == "Best first: b > a");
}

TEST_CASE("comparison: if the client limited both, there is no rank")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    add(result, "b", {20, 21});
    for (auto& [where, runs] : result.runs) {
        for (Measurement& run : runs) {
            run.client_was_busy = true;
        }
    }
    CHECK(contains(ranking(result, 0), "b ~ a"));
    CHECK(contains(format_table(result, TableForm::plain), "* The client was busy"));
}

TEST_CASE("comparison: a client that was busy in one run of three did not limit it")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11, 12});
    result.runs[{0, 0}].front().client_was_busy = true;
    CHECK_FALSE(contains(format_table(result, TableForm::plain), "* The client was busy"));
    result.runs[{0, 0}].back().client_was_busy = true;
    CHECK(contains(format_table(result, TableForm::plain), "* The client was busy"));
}

TEST_CASE("comparison: a single run is not ranked")
{
    Comparison result = comparison("solo");
    add(result, "a", {10});
    add(result, "b", {20});
    CHECK(contains(ranking(result, 0), "Not ranked"));
}

TEST_CASE("comparison: a stage without a figure has no rank, and a word in the table")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    add(result, "b", {20, 21});
    add(result, "broken", {failed("died"), failed("died")});
    CHECK(ranking(result, 0) == "Best first: b > a");
    const std::string table = format_table(result, TableForm::plain);
    CHECK(contains(table, "broken       died"));
    CHECK(contains(table, "broken died: bad luck"));
    CHECK(any_failed(result));
}

TEST_CASE("comparison: a stage that failed in some runs keeps its figures and says so")
{
    Comparison result = comparison("solo");
    add(result, "a", {measured("rate", 1234567), failed("died")});
    const std::string table = format_table(result, TableForm::plain);
    CHECK(contains(table, "1,234,567"));
    CHECK(contains(table, "died in 1 of 2 runs"));
}

TEST_CASE("comparison: a rate of 0 has a word for its cause")
{
    Comparison result = comparison("hog");
    Measurement measurement = measured("rate_hog", 0);
    measurement.words["rate_hog"] = "starved";
    add(result, "a", {measurement});
    CHECK(contains(format_table(result, TableForm::plain), "starved"));
}

TEST_CASE("comparison: the table says what was not measured before Ctrl-C")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    result.contestants.push_back({"b", "/b", {}});
    const std::string table = format_table(result, TableForm::plain);
    CHECK(contains(table, "not measured"));
    CHECK(contains(table, "Stopped before the end, after 2 of 4 measurements.\n"));
}

TEST_CASE("comparison: a scenario that was not begun has no table, but is named at the end")
{
    Comparison result = comparison("solo");
    result.scenarios.push_back(scenario("crowd"));
    result.scenarios.push_back(scenario("hog"));
    add(result, "a", {10, 11});
    result.runs[{1, 0}] = {};  // it was begun, and Ctrl-C came
    leave_out_unmeasured(result);
    REQUIRE(result.scenarios.size() == 1);
    const std::string table = format_table(result, TableForm::plain);
    CHECK_FALSE(contains(table, "not measured"));
    CHECK(contains(table,
                   "Stopped before the end, after 2 of 6 measurements. Not begun: crowd, hog."));
}

TEST_CASE("comparison: the plain table is ASCII, for terminals without UTF-8")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 20});
    const std::string table = format_table(result, TableForm::plain);
    CHECK(std::all_of(table.begin(), table.end(), [](char c) { return c > 0; }));
    CHECK(contains(table, "15.0 +-33%"));
    CHECK(contains(format_table(result, TableForm::plain_utf8), "15.0 ±33%"));
}

TEST_CASE("comparison: Markdown and CSV escape their special characters in names")
{
    Comparison result = comparison("solo");
    add(result, "a|b,\"c\"", {10, 11});
    CHECK(contains(format_table(result, TableForm::markdown), "| a\\|b,\"c\" |"));
    CHECK(contains(format_csv(result), "solo,\"a|b,\"\"c\"\"\",1,rate,10,\n"));
}

TEST_CASE("comparison: a table that is too wide has its remarks below, and then fewer columns")
{
    Comparison result = comparison("crowd");
    add(result, "stage", {10, 11});
    result.runs[{0, 0}].front().remarks = {"15 of 16 clients starved"};
    CHECK(contains(format_table(result, TableForm::plain), "  15 of 16 clients starved\n"));
    const std::string narrow = format_table(result, TableForm::plain, 50);
    CHECK(contains(narrow, "\nstage: 15 of 16 clients starved\n"));
    CHECK(contains(narrow, "left out for lack of room: "));
    std::istringstream lines(narrow);
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        CHECK(line.size() <= 50);
    }
}

namespace {

// The sentence about a stage if the runs of a scenario have these figures.
std::string sentence(std::string_view name, const std::vector<std::map<std::string, double>>& runs)
{
    Comparison result = comparison(name);
    result.options.clients = 16;
    std::vector<Measurement> measurements(runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) {
        measurements[i].figures = runs[i];
    }
    add(result, "stage", measurements);
    return conclusions(result).at(0);
}

// A run with the hog: the client's rates before and with it, and the hog's own.
std::map<std::string, double> hog_run(double before, double with_hog, double big = 3)
{
    return {{"rate_before", before},
            {"rate_hog", with_hog},
            {"kept", 100 * with_hog / before},
            {"big_rate", big},
            {"p50_us_hog", 5100}};
}

std::map<std::string, double> speedup(double value) { return {{"speedup", value}}; }

}  // namespace

TEST_CASE("comparison: the sentence about a stage follows from its figures")
{
    CHECK(sentence("crowd", {{{"rate", 5000}, {"starved", 0}, {"cpu_us", 5.612}}}) ==
          "stage: serves 16 clients at 5,000 reqs/sec, 5.61 us CPU/req.");
    CHECK(sentence("crowd", {{{"rate", 5000}, {"starved", 15}}}) ==
          "stage: serves 1 of 16 clients, 15 starve.");
    CHECK(sentence("hog", {hog_run(1000, 950)}) ==
          "stage: with the hog a client keeps 95% of its reqs/sec.");
    CHECK(sentence("hog", {hog_run(1000, 1170)}) ==
          "stage: with the hog a client keeps all (117%) of its reqs/sec.");
    CHECK(sentence("hog", {hog_run(1000, 950, 0)}) ==
          "stage: with the hog a client keeps 95% of its reqs/sec, and the hog gets no reply.");
    CHECK(sentence("hog", {hog_run(1000, 20)}) ==
          "stage: with the hog a client falls from 1,000 to 20.0 reqs/sec (p50 5.1 ms).");
    CHECK(sentence("hog", {hog_run(1000, 0)}) == "stage: with the hog a client starves.");
    CHECK(sentence("parallel", {speedup(1.9)}) ==
          "stage: four big requests at once have a speed-up of 1.9 over one after another.");
    CHECK(sentence("parallel", {speedup(1)}) ==
          "stage: four big requests at once have no speed-up over one after another.");

    Comparison result = comparison("crowd");
    result.scenarios.push_back(scenario("hog"));
    add(result, "stage", {measured("rate", 5000)});
    result.runs[{1, 0}] = {failed("died")};
    CHECK(conclusions(result).at(0) == "stage: serves 16 clients at 5,000 reqs/sec; died in hog.");
}

TEST_CASE("comparison: the sentence about a stage has the figure of the table")
{
    // The median of what was kept. The medians of the two rates would not give it.
    Comparison result = comparison("hog");
    std::vector<Measurement> runs(3);
    runs[0].figures = hog_run(1000, 730);
    runs[1].figures = hog_run(800, 640);
    runs[2].figures = hog_run(1200, 980);
    add(result, "stage", runs);
    CHECK(contains(format_table(result, TableForm::plain), " 80% "));
    CHECK(conclusions(result).at(0) == "stage: with the hog a client keeps 80% of its reqs/sec.");
}

TEST_CASE("comparison: what holds for only some runs is not claimed")
{
    CHECK(sentence("hog", {hog_run(1000, 600), hog_run(1000, 920), hog_run(1000, 1100)}) ==
          "stage: with the hog a client keeps 92% of its reqs/sec, in single runs 60% to 110%.");
    CHECK(sentence("hog", {hog_run(1000, 300), hog_run(1000, 900)}) ==
          "stage: what a client keeps with the hog differs from run to run (30% to 90%).");
    CHECK(sentence("hog", {hog_run(1000, 950, 0), hog_run(1000, 950, 1)}) ==
          "stage: with the hog a client keeps 95% of its reqs/sec.");
    const std::string unclear =
        "stage: it is not clear whether four big requests at once have a speed-up (";
    CHECK(sentence("parallel", {speedup(1.0), speedup(1.3), speedup(1.4)}) ==
          unclear + "1.0 to 1.4).");
    CHECK(sentence("parallel", {speedup(1.3)}) == unclear + "1.3).");
    CHECK(sentence("parallel", {speedup(1.4), speedup(1.9), speedup(2.0)}) ==
          unclear + "1.4 to 2.0).");
    CHECK(sentence("parallel", {speedup(0.9), speedup(1.0), speedup(1.3)}) ==
          "stage: four big requests at once have no speed-up over one after another.");
}

TEST_CASE("comparison: it says once that a stage does not start")
{
    Comparison result = comparison("solo");
    result.scenarios.push_back(scenario("crowd"));
    add(result, "a", {10, 11});
    add(result, "broken", {failed(failed_to_start), failed(failed_to_start)});
    result.runs[{1, 0}] = result.runs[{0, 0}];
    result.runs[{1, 1}] = result.runs[{0, 1}];
    const std::string table = format_table(result, TableForm::plain);
    const std::string reason = "broken failed to start: bad luck";
    CHECK(contains(table, reason));
    CHECK(table.find(reason) == table.rfind(reason));
    CHECK(contains(table, "\nbroken: failed to start.\n"));
    // Only later: below the table of that scenario.
    result.runs[{0, 1}] = result.runs[{0, 0}];
    CHECK(contains(format_table(result, TableForm::plain), reason));
    CHECK(
        contains(format_table(result, TableForm::plain), "\nbroken: failed to start in crowd.\n"));
}

TEST_CASE("comparison: a pool is named together with the stages that do not have it")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    add(result, "b", {10, 11});
    result.options.pool = "threads";
    result.contestants[1].has_pool = true;
    CHECK(contains(method(result), ", --pool threads (not for a: no pool there)."));
    result.contestants[0].has_pool = true;
    CHECK(contains(method(result), ", --pool threads."));
}

TEST_CASE("comparison: a change since a baseline counts only if the runs do not overlap")
{
    const auto entry = [](double low, double median, double high, std::size_t runs) {
        return Baseline::Entry{{median, low, high}, runs};
    };
    CHECK(change_since(entry(90, 100, 110, 3), entry(131, 135, 140, 3)) == "+35%");
    CHECK(change_since(entry(90, 100, 110, 3), entry(60, 65, 69, 3)) == "-35%");
    CHECK(change_since(entry(90, 100, 110, 3), entry(105, 120, 125, 3)) == "~ +20%");
    CHECK(change_since(entry(100, 100, 100, 1), entry(200, 200, 200, 3)) == "~ +100%");
    CHECK(change_since(entry(0, 0, 0, 3), entry(1, 2, 3, 3)) == "was 0");
}

TEST_CASE("comparison: every difference in how a baseline was measured is named")
{
    Comparison then = comparison("solo");
    add(then, "a", {10, 11});
    const std::string file = std::filesystem::temp_directory_path() /
                             ("comparison_baseline_" + std::to_string(::getpid()) + ".json");
    std::ofstream(file) << format_json(then);
    Comparison now = then;
    CHECK(load_baseline(file, now).differences.empty());
    now.placement = "elsewhere";
    now.options.clients += 1;
    now.options.duration *= 2;
    now.options.big += 1;
    now.options.idle += 1;
    now.options.pipeline += 1;
    now.options.pool = "threads";
    now.machine.cpu += " II";
    now.machine.cpus += 1;
    now.machine.kernel += ".1";
    now.machine.compiler += " 99";
    now.machine.build += "+";
    const auto found = load_baseline(file, now).differences;
    std::filesystem::remove(file);
    CHECK(found.size() == 12);
    CHECK(std::find(found.begin(), found.end(), "pool \"\", now \"threads\"") != found.end());
}

TEST_CASE("comparison: it warns of runs that differ much")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    CHECK_FALSE(contains(format_table(result, TableForm::plain), "a quieter machine"));
    add(result, "b", {10, 30});
    CHECK(contains(format_table(result, TableForm::plain),
                   "spread by up to +-50%: a quieter machine"));
    result.others_busy = 35;
    CHECK(contains(format_table(result, TableForm::plain),
                   "Other programs kept the CPUs up to 35% busy"));
}

namespace {

namespace fs = std::filesystem;

// Programs that could be stages, and the table beside them.
class Stages {
  public:
    Stages()
    {
        std::string name = fs::temp_directory_path() / "stages-test-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path_ = name;
        for (const char* const program : {"01_a", "02_b", "02b_c", "02c_d", "08_e", "10_f"}) {
            std::ofstream{path_ / program};
            fs::permissions(path_ / program, fs::perms::owner_all);
        }
        std::ofstream(path_ / "stages.tsv")
            << "01_a\tthe talk\tone client at a time\t-\t-\t-\n"
               "02_b\tthe talk\ta thread per client\t-\t-\t-\n"
               "02b_c\tthe talk\ta thread per client\t-\t-\t-\n"
               "02c_d\taround the talk\ta process per client\t-\t-\t-\n"
               "08_e\tbeyond the talk\ta thread per core\t-\t-\t-\n"
               "10_f\tbeyond the talk\tno server\t-\t-\t-\n";
    }
    ~Stages() { fs::remove_all(path_); }
    Stages(const Stages&) = delete;
    Stages& operator=(const Stages&) = delete;

    [[nodiscard]] std::vector<std::string> chosen(std::vector<std::string> words) const
    {
        CompareOptions options;
        options.stages = std::move(words);
        std::vector<std::string> names;
        for (const Contestant& contestant : contestants_of(options, path_.string())) {
            names.push_back(contestant.name);
        }
        return names;
    }
    void remove_table() const { fs::remove(path_ / "stages.tsv"); }

  private:
    fs::path path_;
};

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("compare: takes the stages of the talk unless others are asked for")
{
    const Stages stages;
    CHECK(stages.chosen({}) == Names{"01_a", "02_b", "02b_c"});
    CHECK(stages.chosen({"08"}) == Names{"08_e"});
    CHECK(stages.chosen({"around"}) == Names{"02c_d"});
    CHECK(stages.chosen({"talk", "08", "02"}) == Names{"01_a", "02_b", "02b_c", "08_e"});
}

TEST_CASE("compare: a group leaves out what is no server")
{
    const Stages stages;
    CHECK(stages.chosen({"beyond"}) == Names{"08_e"});
    CHECK(stages.chosen({"all"}) == Names{"01_a", "02_b", "02b_c", "02c_d", "08_e"});
}

TEST_CASE("compare: takes all stages if no table says which are the talk's")
{
    const Stages stages;
    stages.remove_table();
    CHECK(stages.chosen({}).size() == 6);
}

TEST_CASE("compare: a name that is the beginning of several stages is refused")
{
    const Stages stages;
    CHECK_THROWS_WITH_AS(static_cast<void>(stages.chosen({"0"})),
                         doctest::Contains("'0' may be 01_a, 02_b, 02b_c, 02c_d, 08_e; name one"),
                         ClientError);
    CHECK(stages.chosen({"01"}) == Names{"01_a"});
    CHECK(stages.chosen({"1"}) == Names{"10_f"});
}

TEST_CASE("compare: names stages and groups when there is no such stage")
{
    const Stages stages;
    CHECK_THROWS_WITH_AS(static_cast<void>(stages.chosen({"11"})),
                         doctest::Contains("groups: talk, around, beyond, all"), ClientError);
}
