// compare as its users run it, against real stages and against servers with a flaw.
#include "clients/compare/measure/usage.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/select.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

using namespace ground::test;
using Json = nlohmann::json;

namespace {

using Arguments = std::vector<std::string>;

// A --timeout for tests in which it passes: long enough for a stage to start on a busy machine.
const std::string soon = sanitized ? "12s" : "5s";

// Short measurements, patient with a busy machine. The arguments may say otherwise.
Start compare(const Arguments& arguments)
{
    const std::vector<std::pair<std::string, std::string>> usual{{"--duration", "300ms"},
                                                                 {"--runs", "1"},
                                                                 {"--big", "20"},
                                                                 {"--timeout", "30s"},
                                                                 {"--connections", "4"}};
    Start start{{COMPARE_PATH}};
    for (const auto& [option, value] : usual) {
        if (std::find(arguments.begin(), arguments.end(), option) == arguments.end()) {
            start.command.insert(start.command.end(), {option, value});
        }
    }
    start.command.insert(start.command.end(), arguments.begin(), arguments.end());
    return start;
}

std::string fake(const std::string& flaw) { return FAKES_PATH "/fake_" + flaw; }

struct Report {
    int status = 0;
    Json json;

    [[nodiscard]] const Json& run(const std::string& stage, std::size_t scenario = 0) const
    {
        for (const Json& entry : json.at("scenarios").at(scenario).at("stages")) {
            if (entry.at("stage") == stage) {
                return entry.at("runs").at(0);
            }
        }
        throw std::runtime_error("nothing about " + stage);
    }
};

Report report(Arguments arguments)
{
    arguments.emplace_back("--json");
    const Outcome outcome = run(compare(arguments));
    INFO(outcome.err);
    const Json json = Json::parse(outcome.out, nullptr, false);
    REQUIRE(json.is_object());
    return {outcome.status, json};
}

bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

// Where a server listens, from the first line that it prints.
std::string address_of(const Program& server)
{
    server.out().wait_for("\n");
    const std::string text = server.out().text();
    const std::string line = text.substr(0, text.find('\n'));
    return line.substr(line.rfind(' ') + 1);
}

std::set<int> cpus_of(pid_t pid)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(pid, sizeof set, &set);
    std::set<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) {
            cpus.insert(cpu);
        }
    }
    return cpus;
}

}  // namespace

TEST_CASE("compare: has figures for each stage that is asked for")
{
    const Report result = report({"02", "03", "--scenario", "solo,crowd"});
    CHECK(result.status == 0);
    CHECK(result.json.at("complete") == true);
    for (const std::size_t scenario : {0U, 1U}) {
        for (const char* const stage : {"02_threads", "03_process_pool"}) {
            const Json& figures = result.run(stage, scenario).at("figures");
            CHECK(figures.at("rate") > 0);
            CHECK(figures.at("cpu_us") > 0);
            CHECK(figures.at("memory") > 0);
            CHECK(figures.at("p50_us") <= figures.at("p99_us"));
        }
    }
}

TEST_CASE("compare: counts the threads and the processes of the whole server")
{
    const Report result = report({"02", "03", "--scenario", "crowd", "--pin", "off"});
    const Json& threads = result.run("02_threads").at("figures");
    CHECK(threads.at("threads") >= 5);  // one per client, and the one that accepts
    CHECK(threads.at("processes") == 1);
    CHECK(result.run("03_process_pool").at("figures").at("processes") >= 3);
}

TEST_CASE("compare: --pool goes to the stages that have a pool, and to no other")
{
    const Report result = report({"02", "05", "--scenario", "solo", "--pool", "inline"});
    CHECK(result.status == 0);
    CHECK(result.run("02_threads").at("figures").at("processes") == 1);
    CHECK(result.run("05_futures").at("figures").at("processes") == 1);
}

TEST_CASE(
    "compare: a --pool that no stage has is refused, and the table names stages without a pool")
{
    const Outcome refused = run(compare({"01", "02", "--scenario", "solo", "--pool", "threads"}));
    CHECK(refused.status == 1);
    CHECK(refused.out.empty());
    CHECK(refused.err ==
          "compare: none of these has a pool; leave out --pool, or choose stages with "
          "one, for example 03 05 07\n");
    const Outcome some = run(compare({"01", "05", "--scenario", "solo", "--pool", "threads"}));
    CHECK(some.status == 0);
    CHECK(contains(some.out, "--pool threads (not for 01_blocking: no pool there)"));
}

TEST_CASE("compare: if no stage starts it says so once, and measures nothing")
{
    const Outcome outcome =
        run(compare({fake("refuses"), "--scenario", "solo,crowd", "--runs", "3"}));
    CHECK(outcome.status == 1);
    const auto count = [&](const std::string& text) {
        std::size_t found = 0;
        for (auto at = text.find("day off"); at != std::string::npos;
             at = text.find("day off", at + 1)) {
            ++found;
        }
        return found;
    };
    CHECK(count(outcome.out) == 1);
    CHECK(count(outcome.err) == 1);
    CHECK_FALSE(contains(outcome.out, "crowd: "));
}

TEST_CASE("compare: Ctrl-C before anything is measured gets one line")
{
    Program program(compare({fake("silent"), "--timeout", "1000s"}));
    eventually("the server runs", [&] { return !program.descendants().empty(); });
    program.signal(SIGINT);
    CHECK(program.wait() == 130);
    CHECK(program.out().read_all().empty());
    CHECK(program.err().read_all().ends_with("compare: stopped before anything was measured\n"));
}

TEST_CASE("compare: if an option is given twice the last one counts")
{
    const Outcome outcome = run(compare(
        {"02", "--scenario", "solo", "-r", "2", "--runs", "1", "--pin", "apart", "--pin", "off"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "wherever the kernel puts them; closed loop; one run, "));
}

TEST_CASE("compare: shows how many clients starve in 01")
{
    const Report result = report({"01", "--scenario", "crowd"});
    CHECK(result.status == 0);
    CHECK(result.run("01_blocking").at("remarks") == Json{"3 of 4 clients starved"});
}

TEST_CASE("compare: shows that 01 serves one big request and not the next")
{
    const Report result = report({"01", "--scenario", "parallel", "--timeout", soon});
    CHECK(result.run("01_blocking").at("figures").at("at_once_1") > 0);
    CHECK(result.run("01_blocking").at("words").at("at_once_2") == "1 of 2 served");
}

TEST_CASE("compare: the speed-up is the time of four requests one by one over that of four at once")
{
    const Report result = report({"02", "--scenario", "parallel"});
    const Json& figures = result.run("02_threads").at("figures");
    const double alone = figures.at("at_once_1");
    const double four = figures.at("at_once_4");
    CHECK(figures.at("speedup").get<double>() == doctest::Approx(4 * alone / four));
}

TEST_CASE("compare: the hog has figures from before, during and after it")
{
    // Long enough to see each phase on a machine that is busy with something else.
    const Report result = report({"02", "--scenario", "hog", "--duration", "1s"});
    const Json& figures = result.run("02_threads").at("figures");
    for (const char* const key : {"rate_before", "rate_hog", "rate_after", "big_rate", "kept"}) {
        CHECK(figures.at(key) > 0);
    }
    const Json& timeline = result.run("02_threads").at("timeline");
    REQUIRE(timeline.size() > 4);
    CHECK(timeline.front().at("at_s") < timeline.back().at("at_s"));
    CHECK(result.run("02_threads").at("phases").at(1).at("name") == "hog");
}

TEST_CASE("compare: the cost of a connection does not depend on what else runs")
{
    const Start start{{STAGES_PATH "/02_threads", "--port", "0"}};
    const Program server(start);
    server.out().wait_for("\n");
    const std::uint64_t alone = ground::usage_of(server.pid()).anonymous;
    std::vector<std::unique_ptr<Program>> others;  // share the pages of its file and its libraries
    for (int i = 0; i < 8; ++i) {
        others.push_back(std::make_unique<Program>(start));
        others.back()->out().wait_for("\n");
    }
    const std::uint64_t one_of_many = ground::usage_of(server.pid()).anonymous;
    // A sanitizer has a thread of its own, which may still be starting, and pages of its own.
    const std::uint64_t tolerance = sanitized ? 200'000 : 50'000;
    CHECK(one_of_many < alone + tolerance);
    CHECK(one_of_many > alone - tolerance);
}

TEST_CASE("compare: idle connections are held, and their cost is measured")
{
    const Report result =
        report({"01", "02", "--scenario", "idle", "--idle", "50", "--duration", "2s"});
    const Json& threads = result.run("02_threads").at("figures");
    CHECK(threads.at("held") == 50);
    CHECK(threads.at("threads") >= 52);  // one more under a sanitizer
    CHECK(threads.at("memory_each") > 1000);
    CHECK(threads.at("refused") == 0);
    // The kernel has accepted them, while the stage talks to its first client.
    CHECK(result.run("01_blocking").at("figures").at("held") == 0);
}

TEST_CASE("compare: if there are more idle connections than select() can watch, some are refused")
{
    // Long enough for all to be accepted: for the client they are connected before that.
    const Report result = report({"04", "07", "--scenario", "idle", "--idle", "1100", "--duration",
                                  sanitized ? "8s" : "2s"});
    const Json& figures = result.run("04_generators").at("figures");
    const int refused = figures.at("refused");
    CHECK(refused > 1100 - FD_SETSIZE);
    CHECK(figures.at("held") <= 1100 - refused);
    CHECK(figures.at("held") > 900);
    CHECK(result.run("04_generators").at("remarks") ==
          Json{fmt::format("refused {} of 1100", refused)});
    CHECK(result.run("07_coroutines").at("figures").at("held") == 1100);
}

TEST_CASE("compare: the time of many requests at once stands beside that of one at a time")
{
    const Json figures =
        report({"04", "--scenario", "pipeline"}).run("04_generators").at("figures");
    CHECK(figures.at("rate_single") > 0);
    CHECK(figures.at("rate") > 0);
    CHECK(figures.at("gain") > 0);
}

TEST_CASE("compare: a server that hangs has a word in its own cells, and the run goes on")
{
    const Report result =
        report({fake("hangs"), "02", "--scenario", "crowd,hog,parallel,idle,pipeline", "--idle",
                "50", "--timeout", soon});
    CHECK(result.status == 1);
    CHECK(result.json.at("complete") == true);
    for (const std::size_t scenario : {0U, 1U, 2U, 3U, 4U}) {
        CHECK(result.run("fake_hangs", scenario).at("verdict") == "no reply");
        INFO(result.run("02_threads", scenario).dump());
        CHECK(result.run("02_threads", scenario).at("verdict") == "");
    }
}

TEST_CASE("compare: if a server stalls it says so, beside the figures from before")
{
    const Report result = report({fake("stalls"), "--scenario", "solo"});
    CHECK(result.status == 0);
    CHECK(result.run("fake_stalls").at("figures").at("rate") > 0);
    CHECK(result.run("fake_stalls").at("remarks") == Json{"requests left without a reply: 1"});
}

TEST_CASE("compare: a server that crashes has a word in its own cells, and the run goes on")
{
    const Report result =
        report({fake("dies"), "02", "--scenario", "solo,hog,parallel,idle,pipeline", "--idle", "50",
                "--duration", "600ms"});
    CHECK(result.status == 1);
    for (const std::size_t scenario : {0U, 1U, 2U, 3U, 4U}) {
        CHECK(result.run("fake_dies", scenario).at("verdict") == "died");
        CHECK(result.run("fake_dies", scenario).at("detail") == "exit status 3: fake: out of luck");
        INFO(result.run("02_threads", scenario).dump());
        CHECK(result.run("02_threads", scenario).at("verdict") == "");
    }
}

TEST_CASE("compare: a server that does not start has a word in its own cells, and the run goes on")
{
    const Report result = report({fake("refuses"), fake("silent"), "/no/such", "02", "--scenario",
                                  "solo", "--timeout", soon});
    CHECK(result.status == 1);
    CHECK(result.run("fake_refuses").at("verdict") == "failed to start");
    CHECK(result.run("fake_refuses").at("detail") == "fake: today is my day off");
    CHECK(result.run("fake_silent").at("verdict") == "failed to start");
    CHECK(result.run("such").at("verdict") == "failed to start");
    CHECK(result.run("such").at("detail") == "No such file or directory");
    CHECK(result.run("02_threads").at("verdict") == "");
}

TEST_CASE("compare: an external server is measured, and it says so if there is none")
{
    Program server({{STAGES_PATH "/02_threads", "--port", "0"}});
    const Report result = report({"--external", "ours=" + address_of(server), "--external",
                                  "nobody=127.0.0.1:1", "--scenario", "solo"});
    CHECK(result.status == 1);
    CHECK(result.run("ours").at("figures").at("rate") > 0);
    CHECK_FALSE(result.run("ours").at("figures").contains("cpu_us"));
    CHECK(result.run("nobody").at("verdict") == "refused");
    CHECK(server.info().state != 'Z');
}

TEST_CASE("compare: a server in Python is measured like any other")
{
    REQUIRE_MESSAGE(run({{"python3", "--version"}}).status == 0,
                    "python3 is missing. On Debian or Ubuntu: apt-get install python3");
    Program server({{"python3", PYTHON_SERVER}});
    const Report result = report({"--external", "python=" + address_of(server), "--scenario",
                                  "solo,hog", "--duration", "1s"});
    CHECK(result.status == 0);
    CHECK(result.run("python", 0).at("verdict") == "");
    CHECK(result.run("python", 0).at("remarks").empty());
    CHECK(result.run("python", 0).at("figures").at("rate") > 0);
    CHECK(result.run("python", 1).at("verdict") == "");
    for (const char* const key : {"rate_before", "rate_hog", "rate_after", "big_rate"}) {
        CHECK(result.run("python", 1).at("figures").at(key) > 0);
    }
}

TEST_CASE("compare: ends the processes that a server has left behind")
{
    Program program(compare({fake("lingers"), "--scenario", "solo"}));
    CHECK(program.wait() == 0);
    eventually("all have ended", [&] { return program.descendants().empty(); });
}

TEST_CASE("compare: Ctrl-C prints what was measured, and ends everything that was started")
{
    Program program(compare({"02", "03", "--scenario", "solo", "--runs", "1000"}));
    program.err().wait_for("[3/");
    program.signal(SIGINT);
    CHECK(program.wait() == 130);
    const std::string table = program.out().read_all();
    CHECK(contains(table, "02_threads"));
    CHECK(contains(table, "Stopped before the end, after "));
    eventually("all have ended", [&] { return program.descendants().empty(); });
}

TEST_CASE("compare: Ctrl-C works while it waits for a server that does not start")
{
    Program program(compare({fake("silent"), "--timeout", "1000s"}));
    eventually("the server runs", [&] { return !program.descendants().empty(); });
    program.signal(SIGINT);
    CHECK(program.wait() == 130);
    eventually("all have ended", [&] { return program.descendants().empty(); });
}

TEST_CASE("compare: if it is killed, everything that it has started ends")
{
    Program program(compare({"03", "--scenario", "crowd", "--duration", "1000s"}));
    program.err().wait_for("\n");
    // The server with its forker and a worker, and perf, which is busy.
    eventually("the load runs", [&] { return program.descendants().size() >= 4; });
    wait_until_computing(program);
    program.signal(SIGKILL);
    CHECK(program.wait() == -SIGKILL);
    eventually("all have ended", [&] { return program.descendants().empty(); });
}

TEST_CASE("compare: apart means that server and client share no CPU")
{
    if (cpus_of(0).size() < 2) {
        return;
    }
    Program program(compare({"02", "--scenario", "crowd", "--duration", "1000s"}));
    const auto confined = [](const std::set<int>& cpus) {
        return !cpus.empty() && cpus.size() < cpus_of(0).size();
    };
    std::vector<std::set<int>> cpus;
    eventually("server and load run where they are to", [&] {
        cpus.clear();
        for (const ProcessInfo& child : program.descendants()) {
            cpus.push_back(cpus_of(child.pid));
        }
        return cpus.size() == 2 && confined(cpus[0]) && confined(cpus[1]);
    });
    for (const int cpu : cpus[0]) {
        CHECK_FALSE(cpus[1].contains(cpu));
    }
    CHECK(contains(program.err().text(), "server on CPU"));
}

TEST_CASE("compare: without a form it prints a table, and with a file it also writes that")
{
    const Outcome outcome = run(compare({"02", "--scenario", "solo"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "solo: one client, fib(1)"));
    CHECK(contains(outcome.out, "02_threads"));
    CHECK(contains(outcome.err, "[1/1, 0 s left] run 1, solo, 02_threads: reqs/sec"));
    const Outcome csv = run(compare({"02", "--scenario", "solo", "--csv"}));
    CHECK(csv.out.starts_with("scenario,stage,run,figure,value,verdict\n"));
    const Outcome markdown = run(compare({"02", "--scenario", "solo", "--markdown"}));
    CHECK(contains(markdown.out, "| 02_threads |"));
}

TEST_CASE("compare: an earlier run can be the baseline of another one, and differences are named")
{
    const std::string file = fmt::format("/tmp/compare_baseline_{}.json", ::getpid());
    const Outcome before = run(compare({"02", "--scenario", "solo", "--json=" + file}));
    CHECK(before.status == 0);
    const Outcome now =
        run(compare({"02", "03", "--scenario", "solo", "--baseline", file, "--connections", "5"}));
    CHECK(now.status == 0);
    CHECK(contains(now.out, "change: of \"reqs/sec\" since " + file));
    CHECK(contains(now.out, "The baseline was measured differently: connections 4, now 5."));
    CHECK(contains(now.out, "~ "));  // a single run
    std::ofstream(file) << "{}";
    const Outcome nonsense = run(compare({"02", "--baseline", file}));
    CHECK(nonsense.err == "compare: " + file +
                              " is not the JSON of a comparison; a baseline is made "
                              "with: compare --json=FILE\n");
    ::unlink(file.c_str());
}

TEST_CASE("compare: --help names every option and fits a projector")
{
    const Outcome outcome = run({{COMPARE_PATH, "--help"}});
    CHECK(outcome.status == 0);
    for (const char* const option :
         {"--scenario", "--external", "--pool", "--connections", "--duration", "--runs", "--big",
          "--idle", "--pipeline", "--pin", "--timeout", "--baseline", "--json", "--csv",
          "--markdown", "--html", "--help"}) {
        CAPTURE(option);
        CHECK(contains(outcome.out, option));
    }
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
        CAPTURE(line);
        CHECK(line.size() <= 80);
    }
}

TEST_CASE("compare: a mistake gets one line that says what to do")
{
    for (const Arguments& arguments :
         {Arguments{"nosuch"}, Arguments{"--external", "nonsense"}, Arguments{"--pin", "up"},
          Arguments{"--scenario", "x"}, Arguments{"--baseline", "/no/such"},
          Arguments{"--duration", "1ms"}, Arguments{"--csv", "--json"}}) {
        const Outcome outcome = run(compare(arguments));
        CAPTURE(outcome.err);
        CHECK(outcome.status != 0);
        CHECK(outcome.out.empty());
        CHECK(outcome.err.starts_with("compare: "));
        CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
    }
    CHECK(run(compare({"--pin", "up"})).err ==
          "compare: --pin: 'up' is not one of apart, together, off; --help lists the options\n");
    CHECK(run(compare({"--scenari", "solo"})).err ==
          "compare: there is no option --scenari; did you mean --scenario?\n");
    CHECK(contains(run(compare({"--scenario", "x"})).err,
                   "--scenario: 'x' is not one of solo, crowd,"));
    CHECK(contains(run(compare({"--duration", "1ms"})).err, "--duration: '1ms' is not a duration"));
}

TEST_CASE("compare: too many clients are refused before anything is measured")
{
    Start start{{"/bin/sh", "-c", "ulimit -n 500; exec " COMPARE_PATH " 02 --scenario idle"}};
    const Outcome outcome = run(start);
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err ==
          "compare: 1101 connections need 1117 descriptors and ulimit -Hn is 500; choose fewer, or "
          "type sudo prlimit --pid $$ --nofile=2000 and start again\n");
}
