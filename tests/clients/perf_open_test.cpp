// perf's open loop, its reconnecting, its idle connections, and CSV.

#include "perf_command.hpp"
#include "process.hpp"
#include "scripted_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <iterator>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <string>

using namespace ground;
using nlohmann::json;

namespace {

// A file that is gone with its owner.
struct TemporaryFile {
    std::string path = "perf_open_test." + std::to_string(::getpid());

    TemporaryFile() = default;
    ~TemporaryFile() { ::unlink(path.c_str()); }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    [[nodiscard]] std::string text() const
    {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
};

// Reads what comes without answering, and returns how much it was.
int count_requests(Peer& peer)
{
    int requests = 0;
    while (peer.line()) {
        ++requests;
    }
    return requests;
}

// A server that counts the requests on each of its connections and answers none.
class CountingServer {
  public:
    explicit CountingServer(int connections) : left_(connections) {}

    [[nodiscard]] const ScriptedServer& get() const noexcept { return server_; }

    // Returns once all connections have come and gone.
    [[nodiscard]] std::vector<int> requests()
    {
        left_.wait();
        const std::lock_guard lock(mutex_);
        return requests_;
    }

  private:
    std::latch left_;
    std::mutex mutex_;
    std::vector<int> requests_;  // guarded by mutex_
    ScriptedServer server_{[this](Peer& peer) {
        const int count = count_requests(peer);
        {
            const std::lock_guard lock(mutex_);
            requests_.push_back(count);
        }
        left_.count_down();
    }};
};

}  // namespace

TEST_CASE(
    "perf -R: sends requests when they are due without waiting for replies, up to the pipeline")
{
    CountingServer server(1);
    const Outcome outcome =
        run(perf(server.get(), {"-R", "100", "-d", "300ms", "-P", "64", "--json"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["errors"]["unanswered"] == 30);
    CHECK(report["unsent"] == 0);
    CHECK(server.requests() == std::vector<int>{30});
}

TEST_CASE(
    "perf -R: requests without room wait in a queue, and are reported if they wait to the end")
{
    CountingServer server(2);
    const Outcome outcome =
        run(perf(server.get(), {"-R", "100", "-d", "300ms", "-c", "2", "-P", "3", "--json"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["errors"]["unanswered"] == 6);
    CHECK(report["unsent"] == 24);
    CHECK(report["longest_wait_s"].get<double>() >= 0.3);
    CHECK(contains(outcome.err,
                   "fewer than 100 requests/sec were answered: 24 still waited to be sent\n"));
    CHECK(contains(outcome.err, "Note: the oldest without a reply had waited "));
    CHECK(server.requests() == std::vector<int>{3, 3});
}

TEST_CASE("perf -R: connections with room share evenly what is due")
{
    CountingServer server(4);
    CHECK(run(perf(server.get(), {"-R", "100", "-d", "200ms", "-c", "4", "-P", "64"})).status == 1);
    CHECK(server.requests() == std::vector<int>{5, 5, 5, 5});
}

TEST_CASE("perf -R: a stall counts in the latency of all requests that were due meanwhile")
{
    // The server answers nothing until perf has shown that 0.3 s are over. By then 300 requests are
    // due, and one of them was sent. The k-th has waited at least 300 - k ms. That is 150 ms on
    // average, and all except the first wait in the queue.
    std::latch over(1);
    const TemporaryFile file;
    ScriptedServer server([&](Peer& peer) {
        if (peer.line()) {
            over.wait();
            peer.send("1\n");
            answer(peer);
        }
    });
    Process process(
        perf(server, {"-R", "1000", "-n", "300", "-i", "300ms", "--json=" + file.path}));
    const bool stalled = process.shows("no reply for 0.");
    over.count_down();
    REQUIRE(stalled);
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "open loop, 1000 requests/sec, 1 connection, fib(1)"));
    CHECK(contains(process.out(),
                   "Latency counts from when a request was due, "
                   "\"From send\" from when it was sent."));

    const json report = json::parse(file.text());
    CHECK(report["mode"] == "open");
    CHECK(report["rate_asked"] == 1000.0);
    CHECK(report["requests"] == 300);
    CHECK(report["unsent"] == 0);
    const json& due = report["latency_us"];
    const json& sent = report["latency_from_send_us"];
    CHECK(due["max"].get<double>() >= 300e3);
    CHECK(due["mean"].get<double>() >= 150e3);
    CHECK(due["p50"].get<double>() >= 149e3);
    // Only the first was sent before the stall was over. So the wait of the others is in one figure
    // and not in the other.
    CHECK(due["mean"].get<double>() - sent["mean"].get<double>() >= 148e3);
    for (const char* const name : {"min", "p50", "p90", "p99", "max"}) {
        CAPTURE(name);
        CHECK(sent[name].get<double>() <= 1.01 * due[name].get<double>());
    }
}

TEST_CASE("perf -R: sends no request before it is due")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-R", "1000", "-n", "201", "-c", "4", "--json"}));
    CHECK(outcome.status == 0);
    const json report = json::parse(outcome.out);
    CHECK(report["requests"] == 201);
    CHECK(report["duration_s"].get<double>() >= 0.2);
}

TEST_CASE("perf -R: a queue that the warm-up leaves does not count in the measuring")
{
    std::latch over(1);
    ScriptedServer server([&](Peer& peer) {
        if (peer.line()) {
            over.wait();
            peer.send("1\n");
            answer(peer);
        }
    });
    Process process(perf(server, {"-R", "1000", "-n", "50", "-w", "300ms", "-i", "100ms"}));
    const bool measuring = process.shows(" s\n");  // a line that does not end with (warm-up)
    over.count_down();
    REQUIRE(measuring);
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "  50 requests in "));
}

TEST_CASE("perf -R: a closed loop has no second latency")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-n", "10", "--json"}));
    CHECK(outcome.status == 0);
    const json report = json::parse(outcome.out);
    CHECK(report["mode"] == "closed");
    CHECK_FALSE(report.contains("latency_from_send_us"));
    CHECK_FALSE(contains(outcome.err, "From send"));
}

TEST_CASE("perf -R: goes on with the connections that are left")
{
    ScriptedServer server([](Peer& peer) {
        if (peer.number() == 0) {
            static_cast<void>(peer.line());
            return;
        }
        answer(peer);
    });
    const Outcome outcome = run(perf(server, {"-R", "1000", "-n", "100", "-c", "2", "--json"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["errors"]["read"] == 1);
    CHECK(report["errors"]["unanswered"] == 1);
    CHECK(report["requests"] == 99);
}

TEST_CASE("perf -R: Ctrl-C ends with the report while requests wait")
{
    ScriptedServer server([](Peer& peer) { count_requests(peer); });
    Process process(perf(server, {"-R", "1000", "-i", "20ms"}));
    REQUIRE(process.shows("no reply for"));
    process.signal(SIGINT);
    CHECK(process.wait() == 1);
    CHECK(contains(process.out(), "still waited to be sent"));
    CHECK(contains(process.out(), "Requests/sec:"));
}

TEST_CASE("perf --reconnect: makes a connection for each request, and closes it after the reply")
{
    std::atomic<int> connections = 0;
    std::atomic<int> requests = 0;
    std::atomic<int> silent = 0;
    for (const char* const rate : {"", "-R2000"}) {
        CAPTURE(rate);
        connections = requests = silent = 0;
        {
            ScriptedServer server([&](Peer& peer) {
                ++connections;
                int here = 0;
                while (peer.line()) {
                    ++here;
                    peer.send("1\n");
                }
                requests += here;
                silent += here == 0 ? 1 : 0;
            });
            auto options =
                perf(server, {"--reconnect", "-n", "200", "-c", "4", "--json", "-i", "10ms"});
            if (*rate != '\0') {
                options.emplace_back(rate);
            }
            const Outcome outcome = run(options);
            CHECK(outcome.status == 0);
            const json report = json::parse(outcome.out);
            CHECK(report["reconnect"] == true);
            CHECK(report["requests"] == 200);
            CHECK(report["connects"] == 200);
            CHECK(report["connects_per_s"].get<double>() > 0);
            CHECK(contains(outcome.err, "  200 connections made, "));
            CHECK(contains(outcome.err, "per second; connecting is part of the latency"));
        }
        CHECK(requests == 200);
        CHECK(silent == 1);  // the one that tested whether the server is there
        CHECK(connections == 201);
    }
}

TEST_CASE("perf --reconnect: a broken connection costs one request and no more")
{
    ScriptedServer server([](Peer& peer) {
        if (peer.line() && peer.number() % 5 != 0) {
            peer.send("1\n");
            static_cast<void>(peer.line());
        }
    });
    const Outcome outcome = run(perf(server, {"--reconnect", "-n", "20", "--json"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["requests"] == 16);
    CHECK(report["errors"]["read"] == 4);
    CHECK(report["errors"]["unanswered"] == 4);
    CHECK(contains(outcome.err, "4 of 20 connections broke off or were closed by the server"));
}

TEST_CASE("perf --reconnect: ends at once, and says so, when the server has gone")
{
    auto server = std::make_unique<ScriptedServer>([&](Peer& peer) {
        while (peer.line()) {
            peer.send("1\n");
        }
    });
    Process process(perf(*server, {"--reconnect", "-c", "3", "-R", "1000", "-i", "20ms"}));
    REQUIRE(process.shows("p50 "));
    server.reset();
    CHECK(process.wait() == 1);
    CHECK(contains(process.out(), "Errors: connect 3, "));
}

TEST_CASE("perf --idle: opens further connections, which stay open and silent")
{
    std::mutex mutex;
    std::map<std::size_t, int> requests;
    {
        std::latch all_here(152);
        ScriptedServer server([&](Peer& peer) {
            all_here.count_down();
            int count = 0;
            for (; peer.line(); ++count) {
                all_here.wait();
                peer.send("1\n");
            }
            const std::lock_guard lock(mutex);
            requests[peer.number()] = count;
        });
        const Outcome outcome =
            run(perf(server, {"--idle", "150", "-n", "40", "-c", "2", "--json"}));
        CHECK(outcome.status == 0);
        const json report = json::parse(outcome.out);
        CHECK(report["connections"] == 2);
        CHECK(report["idle"] == json::parse(R"({"connections":150,"open":150,"closed":0})"));
        CHECK(contains(outcome.err, "  150 of 150 idle connections still open at the end\n"));
    }
    CHECK(requests.size() == 152);
    CHECK(std::count_if(requests.begin(), requests.end(),
                        [](const auto& entry) { return entry.second > 0; }) == 2);
}

TEST_CASE("perf --idle: connections that the server closes are counted, and perf fails")
{
    std::latch closed(2);
    ScriptedServer server([&](Peer& peer) {
        if (peer.number() == 0) {  // the one that sends requests: it was there first
            closed.wait();
            answer(peer);
        } else if (peer.number() <= 2) {
            peer.send("[Error] server full\n");
            peer.hang_up();
            closed.count_down();
        } else {
            static_cast<void>(peer.line());
        }
    });
    const Outcome outcome = run(perf(server, {"--idle", "5", "-n", "100", "--json"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["requests"] == 100);
    CHECK(report["idle"] == json::parse(R"({"connections":5,"open":3,"closed":2})"));
    CHECK(contains(outcome.err, "Failed: 2 of 5 idle connections closed by the server"));
    CHECK(contains(outcome.err, "saying '[Error] server full'"));
}

TEST_CASE("perf --csv: a header and a line for each interval, and nothing else on stdout")
{
    ScriptedServer server(answer);
    const TemporaryFile file;
    const Outcome outcome = run(
        perf(server, {"-d", "500ms", "-w", "100ms", "-i", "50ms", "--csv", "--json=" + file.path}));
    CHECK(outcome.status == 0);
    CHECK(contains(outcome.err, "Requests/sec:"));
    const auto printed = lines(outcome.out);
    const json intervals = json::parse(file.text())["intervals"];
    REQUIRE(printed.size() == intervals.size() + 1);  // none of the warm-up
    REQUIRE(printed.size() >= 3);
    CHECK(printed[0] == "at_s,rate,p50_us,p99_us,errors");
    double before = 0;
    for (std::size_t i = 1; i < printed.size(); ++i) {
        CAPTURE(printed[i]);
        const double at = std::stod(printed[i]);
        CHECK(at > before);
        before = at;
        CHECK(std::count(printed[i].begin(), printed[i].end(), ',') == 4);
        CHECK(printed[i].ends_with(",0"));
    }
}

TEST_CASE("perf --csv=FILE: an interval without replies has no latency, and errors are counted")
{
    const TemporaryFile file;
    {
        ScriptedServer server([](Peer& peer) { count_requests(peer); });
        const Outcome outcome =
            run(perf(server, {"-d", "250ms", "-i", "50ms", "--csv=" + file.path}));
        CHECK(outcome.status == 1);
        CHECK(contains(outcome.out, "Requests/sec:"));
        for (const std::string& line : lines(file.text())) {
            CAPTURE(line);
            CHECK((line.starts_with("at_s") || line.ends_with(",0.00,,,0")));
        }
    }
    {
        ScriptedServer server([](Peer& peer) {
            while (peer.line()) {
                peer.send("2\n");
            }
        });
        const Outcome outcome =
            run(perf(server, {"-d", "500ms", "-i", "50ms", "--json", "--csv=" + file.path}));
        CHECK(outcome.status == 1);
        const json intervals = json::parse(outcome.out)["intervals"];
        const auto printed = lines(file.text());
        REQUIRE(printed.size() == intervals.size() + 1);
        int errors = 0;
        for (std::size_t i = 0; i < intervals.size(); ++i) {
            CAPTURE(printed[i + 1]);
            CHECK(printed[i + 1].ends_with(",0.00,,," + intervals[i]["errors"].dump()));
            errors += intervals[i]["errors"].get<int>();
        }
        CHECK(errors > 0);
    }
}

TEST_CASE("perf --csv=FILE: if the file can't be written, it says so before the run")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-n", "1", "--csv=/no/such/directory/file"}));
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err == "perf: can't write /no/such/directory/file; choose another --csv=FILE\n");
}
