#include "clients/compare/judge/comparison.hpp"

#include "clients/compare/compare_options.hpp"
#include "clients/shared/target.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <sstream>

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

TEST_CASE("comparison: where less is better the smaller comes first")
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

TEST_CASE("comparison: each is compared with its neighbour, not with the first of those that tie")
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

TEST_CASE("comparison: where the client was the limit of both there is no rank")
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

TEST_CASE("comparison: a rate of 0 is called by its name")
{
    Comparison result = comparison("hog");
    Measurement measurement = measured("rate_hog", 0);
    measurement.words["rate_hog"] = "starved";
    add(result, "a", {measurement});
    CHECK(contains(format_table(result, TableForm::plain), "starved"));
}

TEST_CASE("comparison: what was not measured before Ctrl-C says so")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 11});
    result.contestants.push_back({"b", "/b", {}});
    const std::string table = format_table(result, TableForm::plain);
    CHECK(contains(table, "not measured"));
    CHECK(contains(table, "Stopped before the end"));
}

TEST_CASE("comparison: the plain table is ASCII where the terminal may be, too")
{
    Comparison result = comparison("solo");
    add(result, "a", {10, 20});
    const std::string table = format_table(result, TableForm::plain);
    CHECK(std::all_of(table.begin(), table.end(), [](char c) { return c > 0; }));
    CHECK(contains(table, "15.0 +-33%"));
    CHECK(contains(format_table(result, TableForm::plain_utf8), "15.0 ±33%"));
}

TEST_CASE("comparison: Markdown and CSV keep names that have their special characters")
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
    CHECK(contains(narrow, "for want of width without: "));
    std::istringstream lines(narrow);
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        CHECK(line.size() <= 50);
    }
}

TEST_CASE("comparison: what is said of a stage comes from its figures")
{
    Comparison result = comparison("crowd");
    result.options.clients = 16;
    result.scenarios.push_back(scenario("hog"));
    const auto say = [&](double starved, double beside, double big) {
        Measurement crowd = measured("rate", 5000);
        crowd.figures["starved"] = starved;
        Measurement hog = measured("rate_before", 1000);
        hog.figures["rate_hog"] = beside;
        hog.figures["big_rate"] = big;
        hog.figures["p50_us_hog"] = 5100;
        result.contestants = {{"stage", "/stage", {}}};
        result.runs[{0, 0}] = {crowd};
        result.runs[{1, 0}] = {hog};
        return conclusions(result).at(0);
    };
    CHECK(say(0, 950, 3) ==
          "stage: serves 16 clients at 5,000 reqs/sec; beside the hog a client keeps 95% of its "
          "rate.");
    CHECK(contains(say(15, 950, 0), "serves 1 of 16 clients and lets the others wait"));
    CHECK(contains(say(15, 950, 0), "keeps 95% of its rate beside the hog, which gets no reply"));
    CHECK(contains(say(0, 20, 3), "falls from 1,000 to 20.0 reqs/sec and waits 5.1 ms"));
    CHECK(contains(say(0, 0, 3), "gets no reply at all"));
    result.runs[{1, 0}] = {failed("died")};
    CHECK(conclusions(result).at(0) == "stage: serves 16 clients at 5,000 reqs/sec; died in hog.");
}

TEST_CASE("comparison: a change since a baseline is one only if the runs are apart")
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

TEST_CASE("comparison: runs that differ much are warned of")
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

// Programs that would be stages, and the table beside them.
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
               "08_e\tbeyond it\ta thread per core\t-\t-\t-\n"
               "10_f\tbeyond it\tno server\t-\t-\t-\n";
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

TEST_CASE("compare: leaves out of a group what is no server")
{
    const Stages stages;
    CHECK(stages.chosen({"beyond"}) == Names{"08_e"});
    CHECK(stages.chosen({"all"}) == Names{"01_a", "02_b", "02b_c", "02c_d", "08_e"});
}

TEST_CASE("compare: takes all stages where nobody says which are the talk's")
{
    const Stages stages;
    stages.remove_table();
    CHECK(stages.chosen({}).size() == 6);
}

TEST_CASE("compare: names stages and groups when there is no such stage")
{
    const Stages stages;
    CHECK_THROWS_WITH_AS(static_cast<void>(stages.chosen({"11"})),
                         doctest::Contains("groups: talk, around, beyond, all"), ClientError);
}
