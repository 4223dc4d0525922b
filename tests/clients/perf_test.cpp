#include "clients/perf/load.hpp"
#include "common/server/fib.hpp"
#include "perf_command.hpp"
#include "process.hpp"
#include "scripted_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>

using namespace ground;
using nlohmann::json;

namespace {

// Lines of printable ASCII, without control characters.
bool is_plain(const std::string& text)
{
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

// The script of a server that is silent and waits for the client to leave.
void be_silent(Peer& peer)
{
    while (!peer.bytes().empty()) {
    }
}

}  // namespace

TEST_CASE(
    "perf: -n sends exactly this many requests, with any number of connections and any pipeline")
{
    using Options = std::vector<std::string>;
    for (const Options& options : {Options{"-c", "1", "-P", "1"}, Options{"-c", "7", "-P", "1"},
                                   Options{"-c", "3", "-P", "16"}}) {
        CAPTURE(options);
        std::atomic<int> requests = 0;
        {
            ScriptedServer server([&](Peer& peer) {
                while (peer.line()) {
                    ++requests;
                    peer.send("1\n");
                }
            });
            auto command = perf(server, {"-n", "500"});
            command.insert(command.end(), options.begin(), options.end());
            const Outcome outcome = run(command);
            CHECK(outcome.status == 0);
            CHECK(contains(outcome.out, "  500 requests in "));
            CHECK(outcome.err.empty());
        }
        CHECK(requests == 500);
    }
}

TEST_CASE("perf: opens as many connections as it says")
{
    std::atomic<int> clients = 0;
    ScriptedServer server([&](Peer& peer) {
        ++clients;
        answer(peer);
    });
    CHECK(run(perf(server, {"-n", "300", "-c", "300", "-q"})).status == 0);
    CHECK(clients == 300);
}

TEST_CASE("perf: keeps as many requests in flight as the pipeline is deep")
{
    ScriptedServer server([](Peer& peer) {
        for (;;) {
            for (int i = 0; i < 5; ++i) {  // without a reply: fewer would be a deadlock
                if (!peer.line()) {
                    return;
                }
            }
            peer.send("1\n1\n1\n1\n1\n");
        }
    });
    CHECK(run(perf(server, {"-n", "600", "-P", "5", "-d", "30s"})).status == 0);
}

TEST_CASE("perf: never has more requests outstanding than the pipeline allows")
{
    std::atomic<std::size_t> most = 0;
    ScriptedServer server([&](Peer& peer) {
        // Whatever a read brings is in flight, because all that came before has been answered.
        for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
            const auto waiting =
                static_cast<std::size_t>(std::count(some.begin(), some.end(), '\n'));
            most = std::max(most.load(), waiting);
            for (std::size_t i = 0; i < waiting; ++i) {
                peer.send("1\n");
            }
        }
    });
    CHECK(run(perf(server, {"-n", "2000", "-P", "8"})).status == 0);
    CHECK(most <= 8);
    CHECK(most > 1);
}

TEST_CASE("perf: -d ends by itself and reports in the order of wrk")
{
    ScriptedServer server(answer);
    const Outcome outcome =
        run(perf(server, {"-d", "1s", "-i", "200ms", "-c", "2", "-L", "-w", "200ms"}));
    CHECK(outcome.status == 0);
    CHECK(outcome.err.empty());
    std::size_t at = 0;
    for (const std::string& part :
         {"Running 1s after a warm-up of 200ms @ " + server.target(),
          std::string("closed loop, 2 connections, fib(1)"), std::string("p50 "),
          std::string("Avg      Stdev        Max   +/- Stdev"), std::string("    Latency"),
          std::string("    Req/Sec"), std::string("Latency Distribution"), std::string("50%"),
          std::string("99.99%"), std::string(" requests in "), std::string(" read\n"),
          std::string("Requests/sec:"), std::string("Transfer/sec:")}) {
        CAPTURE(part);
        const std::size_t found = outcome.out.find(part, at);
        REQUIRE_MESSAGE(found != std::string::npos, outcome.out);
        at = found;
    }
    CHECK_FALSE(contains(outcome.out, "Failed"));
}

TEST_CASE("perf: a live line begins with the rate, and has no control characters in a pipe")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-d", "1s", "-i", "200ms"}));
    int count = 0;
    for (const std::string& line : lines(outcome.out)) {
        if (contains(line, "reqs/sec")) {
            ++count;
            const std::size_t digits = line.find_first_not_of("0123456789");
            CHECK(digits > 0);
            CHECK(line.substr(digits).starts_with(" reqs/sec  "));
            CHECK((line.ends_with("#") || contains(line, "no reply for")));
        }
    }
    CHECK(count >= 2);
    CHECK(is_plain(outcome.out));
}

TEST_CASE("perf: -q prints only the report")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-d", "500ms", "-i", "50ms", "-q"}));
    CHECK(outcome.status == 0);
    CHECK_FALSE(contains(outcome.out, "reqs/sec"));
    CHECK(contains(outcome.out, "Requests/sec:"));
}

TEST_CASE("perf: --each prints the time of every request")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-n", "3", "--fib", "30", "--each"}));
    CHECK(outcome.status == 0);
    const auto printed = lines(outcome.out);
    CHECK(std::count_if(printed.begin(), printed.end(), [](const std::string& line) {
              return line.ends_with(" s   fib(30) = 832040") && line.starts_with("0.");
          }) == 3);
}

TEST_CASE("perf: --each in a mix prints only the big requests")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-n", "200", "--fib", "1:9,30:1", "--each"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "fib(30) = 832040\n"));
    CHECK_FALSE(contains(outcome.out, "fib(1) = 1\n"));
}

TEST_CASE("perf: the numbers of a mix are drawn by their weights")
{
    std::map<std::string, int> asked;
    {
        ScriptedServer server([&](Peer& peer) {
            while (const auto line = peer.line()) {
                ++asked[*line];
                peer.send(*line == "1" ? "1\n" : "832040\n");
            }
        });
        CHECK(run(perf(server, {"-n", "2000", "--fib", "1:3,30:1"})).status == 0);
    }
    CHECK(asked["1"] + asked["30"] == 2000);
    CHECK(asked["30"] > 400);
    CHECK(asked["30"] < 600);
}

TEST_CASE("perf: --terminator chooses the end of a request")
{
    struct Case {
        std::string name;
        std::string end;
    };
    for (const Case& terminator :
         {Case{"none", ""}, Case{"lf", "\n"}, Case{"crlf", "\r\n"}, Case{"cr", "\r"}}) {
        CAPTURE(terminator.name);
        std::string all;
        {
            ScriptedServer server([&](Peer& peer) {
                for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
                    all += some;
                    peer.send("832040\n");
                }
            });
            CHECK(run(perf(server, {"-n", "2", "--fib", "30", "--terminator", terminator.name}))
                      .status == 0);
        }
        CHECK(all == "30" + terminator.end + "30" + terminator.end);
    }
}

TEST_CASE("perf: a reply may come in pieces, and several may come in one")
{
    ScriptedServer server([](Peer& peer) {
        while (peer.line()) {
            for (const char* const piece : {"8", "3", "2", "0", "4", "0", "\r"}) {
                peer.send(piece);
            }
            if (!peer.line()) {
                return;
            }
            peer.send("\n832040\n");
        }
    });
    const Outcome outcome = run(perf(server, {"-n", "1000", "-P", "2", "--fib", "30"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "  1000 requests in "));
}

TEST_CASE("perf: a wrong number is counted and shown, and perf fails")
{
    ScriptedServer server([](Peer& peer) {
        for (int i = 0; peer.line(); ++i) {
            peer.send(i == 7 ? "832041\n" : "832040\n");
        }
    });
    const Outcome outcome = run(perf(server, {"-n", "20", "--fib", "30"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "[Error] replies 0, wrong 1, unanswered 0"));
    CHECK(contains(outcome.out, "fib(30) was answered with '832041'"));
    CHECK(contains(outcome.out, "only 19 of 20 requests had the right reply"));
}

TEST_CASE("perf: a number with a digit too many or too few is wrong")
{
    for (const char* const reply : {"8320400\n", "83204\n", "\n", " 832040\n", "832040 \n"}) {
        CAPTURE(reply);
        ScriptedServer server([&](Peer& peer) {
            while (peer.line()) {
                peer.send(reply);
            }
        });
        const Outcome outcome = run(perf(server, {"-n", "1", "--fib", "30"}));
        CHECK(outcome.status == 1);
        CHECK(contains(outcome.out, "wrong 1,"));
    }
}

TEST_CASE("perf: each error belongs to one interval")
{
    ScriptedServer server([](Peer& peer) {
        while (peer.line()) {
            peer.send("[Error] worker died\n");
        }
    });
    const Outcome outcome = run(perf(server, {"-d", "500ms", "-i", "50ms", "--json"}));
    const auto report = nlohmann::json::parse(outcome.out);
    std::uint64_t errors = 0;
    for (const auto& interval : report.at("intervals")) {
        errors += interval.at("errors").get<std::uint64_t>();
    }
    CHECK(errors > 0);
    CHECK(errors <= report.at("errors").at("reply").get<std::uint64_t>());
}

TEST_CASE("perf: an [Error] is counted and shown, and perf fails")
{
    ScriptedServer server([](Peer& peer) {
        while (peer.line()) {
            peer.send("[Error] worker died\n");
        }
    });
    const Outcome outcome = run(perf(server, {"-n", "5"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "[Error] replies 5, wrong 0, unanswered 0"));
    CHECK(contains(outcome.out, "5 requests got an [Error]"));
    CHECK(contains(outcome.out, "[Error] worker died"));
    CHECK(contains(outcome.out, "  0 requests in "));
}

TEST_CASE("perf: a line that was not asked for is shown")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        peer.send("1\n[Error] server full\n");
    });
    const Outcome outcome = run(perf(server, {"-d", "30s"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "'[Error] server full', without having been asked"));
    CHECK(contains(outcome.out, "[Error] replies 1, wrong 0"));
}

TEST_CASE("perf: a connection that the server closes early is counted, and the others go on")
{
    std::atomic<int> client = 0;
    ScriptedServer server([&](Peer& peer) {
        if (client++ == 0) {
            static_cast<void>(peer.line());
            peer.send("1");  // half a reply, even
            return;
        }
        answer(peer);
    });
    const Outcome outcome = run(perf(server, {"-n", "400", "-c", "4"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "  399 requests in "));
    CHECK(contains(outcome.out, "read 1, [Error] replies 0, wrong 0, unanswered 1"));
    CHECK(contains(outcome.out, "1 of 4 connections broke off or were closed by the server"));
}

TEST_CASE("perf: ends at once when no connection is left, also without -n and -d")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        peer.reset();
    });
    const Outcome outcome = run(perf(server, {"-c", "2"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "read 2,"));
    CHECK(contains(outcome.out, "Connection reset by peer"));
    CHECK(contains(outcome.out, "no request had the right reply"));
}

TEST_CASE("perf: fails if -n can't be reached")
{
    ScriptedServer server([](Peer& peer) {
        for (int i = 0; i < 3 && peer.line(); ++i) {
            peer.send("1\n");
        }
    });
    const Outcome outcome = run(perf(server, {"-n", "10"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "only 3 of 10 requests had the right reply"));
}

TEST_CASE("perf: -d ends the run of a server that never answers, and says what is missing")
{
    ScriptedServer server(be_silent);
    const Outcome outcome = run(perf(server, {"-d", "200ms", "-i", "100ms", "-c", "3"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "0 reqs/sec       no reply for "));
    CHECK(contains(outcome.out, "unanswered 3"));
    CHECK(contains(outcome.out, "3 of 3 connections never had a reply"));
    CHECK(contains(outcome.out, "no request had the right reply"));
}

TEST_CASE("perf: fails if one client of many starves")
{
    std::atomic<int> client = 0;
    ScriptedServer server([&](Peer& peer) { client++ == 0 ? be_silent(peer) : answer(peer); });
    const Outcome outcome = run(perf(server, {"-d", "1s", "-c", "4"}));
    CHECK(outcome.status == 1);
    CHECK(contains(outcome.out, "1 of 4 connections never had a reply"));
    CHECK_FALSE(contains(outcome.out, "not a single"));
}

TEST_CASE("perf: does not fail if only the end of the run cuts a request off")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        peer.send("1\n");
        be_silent(peer);
    });
    const Outcome outcome = run(perf(server, {"-d", "1s"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "unanswered 1"));
    CHECK(contains(outcome.out, "Note: 1 request had no reply yet at the end"));
}

TEST_CASE("perf: says what to do when nothing listens")
{
    const DeafPort port;
    const Outcome outcome = run({PERF_PATH, "127.0.0.1:" + port.number()});
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("perf: nothing listens on 127.0.0.1:" + port.number() +
                                  "; start a stage first, for example "));
    CHECK(outcome.err.ends_with("stages/02_threads\n"));
}

TEST_CASE("perf: Ctrl-C ends with the report, and with status 0 if all went well")
{
    ScriptedServer server(answer);
    Process process(perf(server, {"-i", "20ms"}));
    REQUIRE(process.shows("p50 "));
    process.signal(SIGINT);
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "Requests/sec:"));
    CHECK(process.err().empty());
}

TEST_CASE("perf: Ctrl-C ends with the report although the server is silent")
{
    ScriptedServer server(be_silent);
    Process process(perf(server, {"-n", "10", "-i", "20ms"}));
    REQUIRE(process.shows("no reply for"));
    process.signal(SIGINT);
    CHECK(process.wait() == 1);
    CHECK(contains(process.out(), "Requests/sec:"));
}

TEST_CASE("perf: warm-up is not part of the figures")
{
    std::atomic<int> requests = 0;
    {
        ScriptedServer server([&](Peer& peer) {
            while (peer.line()) {
                ++requests;
                peer.send("1\n");
            }
        });
        const Outcome outcome = run(perf(server, {"-n", "50", "-w", "200ms", "-i", "50ms"}));
        CHECK(outcome.status == 0);
        CHECK(contains(outcome.out, "  50 requests in "));
        CHECK(contains(outcome.out, "(warm-up)"));
    }
    CHECK(requests > 50);
}

TEST_CASE("perf: --json prints one object and nothing else")
{
    ScriptedServer server(answer);
    const Outcome outcome =
        run(perf(server, {"-d", "1s", "-i", "200ms", "-c", "3", "-P", "2", "--json", "--fib",
                          "1:99,30:1", "--percentiles", "10,99.5"}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.err, "reqs/sec"));
    const json report = json::parse(outcome.out);
    CHECK(report["target"] == server.target());
    CHECK(report["mode"] == "closed");
    CHECK(report["connections"] == 3);
    CHECK(report["pipeline"] == 2);
    CHECK(report["mix"] == json::parse(R"([{"n":1,"weight":99},{"n":30,"weight":1}])"));
    CHECK(report["duration_s"].get<double>() >= 1);
    CHECK(report["warmup_s"] == 0.0);
    const double requests = report["requests"];
    CHECK(requests > 0);
    CHECK(report["rate"].get<double>() ==
          doctest::Approx(requests / report["duration_s"].get<double>()));
    for (const char* const kind : {"connect", "read", "reply", "wrong"}) {
        CHECK(report["errors"][kind] == 0);
    }
    CHECK(report["errors"].contains("unanswered"));  // how many depends on the machine
    double before = 0;
    for (const char* const name : {"min", "p10", "p50", "p90", "p99", "p99.5", "p99.9", "max"}) {
        CAPTURE(name);
        CHECK(report["latency_us"][name].get<double>() >= before);
        before = report["latency_us"][name];
    }
    CHECK(before > 0);
    CHECK(report["latency_us"]["mean"].get<double>() > 0);
    CHECK(report["latency_us"]["stdev"].get<double>() >= 0);
    REQUIRE(report["intervals"].size() >= 2);
    CHECK(report["intervals"][0]["at_s"].get<double>() >= 0.2);
    CHECK(report["intervals"][1]["at_s"] > report["intervals"][0]["at_s"]);
    for (const char* const name : {"rate", "p50_us", "p99_us"}) {
        CHECK(report["intervals"][0][name].get<double>() > 0);
    }
    CHECK(report["client_cpu_s"].get<double>() > 0);
}

TEST_CASE("perf: --json contains failures, too")
{
    ScriptedServer server([](Peer& peer) {
        while (peer.line()) {
            peer.send("\xff\n");  // not even UTF-8
        }
    });
    const Outcome outcome = run(perf(server, {"-n", "4", "--json", "-q"}));
    CHECK(outcome.status == 1);
    CHECK(outcome.err.empty());
    const json report = json::parse(outcome.out);
    CHECK(report["errors"]["wrong"] == 4);
    CHECK(report["requests"] == 0);
    CHECK(report["rate"] == 0.0);
}

TEST_CASE("perf: --json=FILE writes the file beside the usual report")
{
    ScriptedServer server(answer);
    const std::string path = "perf_test." + std::to_string(::getpid()) + ".json";
    const Outcome outcome = run(perf(server, {"-n", "10", "--json=" + path}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.out, "Requests/sec:"));
    std::ifstream file(path);
    CHECK(json::parse(file)["requests"] == 10);
    file.close();
    CHECK(::unlink(path.c_str()) == 0);
}

TEST_CASE("perf: a mistake in the options gets one line, before anything is connected")
{
    std::atomic<int> clients = 0;
    using Arguments = std::vector<std::string>;
    {
        ScriptedServer server([&](Peer&) { ++clients; });
        for (const Arguments& mistake : {Arguments{"-d", "soon"},
                                         Arguments{"-d", "0s"},
                                         Arguments{"-c", "0"},
                                         Arguments{"-c", "0x10"},
                                         Arguments{"-n", "0"},
                                         Arguments{"-n", "3", "-c", "4"},
                                         Arguments{"--fib", "94"},
                                         Arguments{"--fib", "1:"},
                                         Arguments{"--terminator", "lfcr"},
                                         Arguments{"--terminator", "none", "-P", "2"},
                                         Arguments{"-i", "1ms"},
                                         Arguments{"--percentiles", "101"},
                                         Arguments{"--each", "-q"},
                                         Arguments{"--nonsense"},
                                         Arguments{"second:target"},
                                         Arguments{"-P"},
                                         Arguments{"-R", "0"},
                                         Arguments{"-R", "-5"},
                                         Arguments{"-R", "fast"},
                                         Arguments{"-R", "1e9"},
                                         Arguments{"--idle", "-1"},
                                         Arguments{"--reconnect", "-P", "2"},
                                         Arguments{"--json", "--csv"},
                                         Arguments{"--json=a", "--csv=a"}}) {
            CAPTURE(mistake);
            const Outcome outcome = run(perf(server, mistake));
            CHECK(outcome.status == 2);
            CHECK(outcome.out.empty());
            CHECK(lines(outcome.err).size() == 1);
            CHECK(outcome.err.starts_with("perf: "));
        }
    }
    CHECK(clients == 0);
}

TEST_CASE("perf: more connections than descriptors are refused with one line")
{
    ScriptedServer server(answer);
    const Outcome outcome =
        run({"/bin/sh", "-c", "ulimit -n 100; exec " PERF_PATH " -c 200 " + server.target()});
    CHECK(outcome.status == 1);
    CHECK(outcome.err ==
          "perf: 200 connections need 216 descriptors and ulimit -Hn is 100; choose fewer, or type "
          "sudo prlimit --pid $$ --nofile=1000 and start again\n");
}

TEST_CASE("perf: raises the soft limit of descriptors by itself")
{
    ScriptedServer server(answer);
    const Outcome outcome =
        run({"/bin/sh", "-c",
             "ulimit -Sn 100; exec " PERF_PATH " -q -c 200 -n 200 " + server.target()});
    CHECK(outcome.status == 0);
}

TEST_CASE(
    "perf: --histograms has every latency, so the percentiles of several intervals follow from it")
{
    ScriptedServer server(answer);
    const Outcome outcome =
        run(perf(server, {"-d", "200ms", "-i", "50ms", "-q", "--json", "--histograms"}));
    const json report = json::parse(outcome.out);
    for (const json& interval : report["intervals"]) {
        std::uint64_t count = 0;
        double median = 0;
        for (const json& pair : interval["latencies"]) {
            if (2 * count < interval["requests"]) {
                median = pair[0];
            }
            count += pair[1].get<std::uint64_t>();
        }
        CHECK(count == interval["requests"]);
        CHECK(median == doctest::Approx(interval["p50_us"].get<double>()).epsilon(0.02));
    }
    CHECK(report["intervals"].size() >= 2);
    CHECK(run(perf(server, {"--histograms"})).status == 2);
}

TEST_CASE("perf: --help names every option and fits a projector")
{
    const Outcome outcome = run({PERF_PATH, "--help"});
    CHECK(outcome.status == 0);
    for (const char* const option : {"-c, --connections",
                                     "-P, --pipeline",
                                     "--fib N",
                                     "--terminator",
                                     "-n, --requests",
                                     "-d, --duration",
                                     "-R, --rate",
                                     "--reconnect",
                                     "--idle",
                                     "--csv, --csv=FILE",
                                     "-w, --warmup",
                                     "-i, --interval",
                                     "--each",
                                     "-L, --latency",
                                     "--percentiles",
                                     "-q, --quiet",
                                     "--histograms",
                                     "-j, --json",
                                     "--json=FILE",
                                     "-h, --help"}) {
        CAPTURE(option);
        CHECK(contains(outcome.out, option));
    }
    for (const std::string& line : lines(outcome.out)) {
        CAPTURE(line);
        CHECK(line.size() <= 80);
    }
}

TEST_CASE("perf: on a terminal the bar is coloured, and Ctrl-C ends with the report")
{
    ScriptedServer server(answer);
    Process process(perf(server, {"-i", "20ms"}), Process::Stdio::terminal, {"LC_ALL=C.UTF-8"});
    REQUIRE(process.shows("p50 "));
    REQUIRE(process.shows("\x1b[32m█"));
    process.type("\x03");
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "^C"));
    CHECK_FALSE(contains(process.out(), "^C  Stats"));  // the terminal's echo has a line of its own
    CHECK(contains(process.out(), "Requests/sec:"));
}

TEST_CASE("perf: on a terminal without UTF-8 or colours it draws in plain ASCII")
{
    ScriptedServer server(answer);
    Process process(perf(server, {"-i", "100ms", "-d", "500ms"}), Process::Stdio::terminal,
                    {"NO_COLOR=1"});
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "  ####"));
    CHECK_FALSE(contains(process.out(), "\x1b"));
    CHECK_FALSE(contains(process.out(), "█"));
}
