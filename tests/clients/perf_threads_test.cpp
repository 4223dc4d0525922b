// perf's threads: together they do what one would do.

#include "clients/perf/schedule.hpp"
#include "perf_command.hpp"
#include "process.hpp"
#include "scripted_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <signal.h>

#include <atomic>
#include <map>
#include <mutex>
#include <numeric>
#include <set>

using namespace ground;
using namespace std::chrono_literals;
using nlohmann::json;

TEST_CASE("part: every connection and every request belongs to exactly one thread")
{
    for (const unsigned connections : {3U, 4U, 7U, 16U}) {
        for (const unsigned requests : {0U, 1U, 5U, 16U, 100U}) {
            CAPTURE(connections);
            CAPTURE(requests);
            std::uint64_t dealt = 0;
            std::uint64_t sent = 0;
            std::set<std::uint64_t> seen;
            for (unsigned number = 0; number < 3; ++number) {
                const Part part{number, 3, connections};
                dealt += part.of(connections);
                sent += part.of_requests(requests);
                for (std::uint64_t k = 0; k < part.of_requests(requests); ++k) {
                    CHECK(part.request(k) < requests);
                    seen.insert(part.request(k));
                }
                CHECK(part.request(part.of_requests(requests)) >= requests);
            }
            CHECK(dealt == connections);
            CHECK(sent == requests);
            CHECK(seen.size() == requests);
        }
    }
}

TEST_CASE("part: a thread with more connections has more requests")
{
    CHECK(Part{0, 2, 3}.of_requests(300) == 200);
    CHECK(Part{1, 2, 3}.of_requests(300) == 100);
}

TEST_CASE("schedule: the requests of several threads are due at the same times as those of one")
{
    const Schedule::Time begin(1000s);
    constexpr int requests = 1000;
    std::multiset<Schedule::Time> expected;
    Schedule one(7777);
    one.start(begin);
    for (int i = 0; i < requests; ++i) {
        expected.insert(one.take());
    }
    std::multiset<Schedule::Time> found;
    const Schedule::Time end = *expected.rbegin();
    for (unsigned number = 0; number < 3; ++number) {
        Schedule schedule(7777, Part{number, 3, 8});
        schedule.start(begin);
        const std::uint64_t due = schedule.due(end);
        for (std::uint64_t i = 0; i < due; ++i) {
            CHECK(schedule.due(end) == due - i);
            CHECK(schedule.due(schedule.next()) == 1);
            CHECK(schedule.due(schedule.next() - 1ns) == 0);
            found.insert(schedule.take());
        }
        CHECK(schedule.due(end) == 0);
    }
    CHECK(found == expected);
}

TEST_CASE("perf -t: -n sends exactly this many requests, each connection its share")
{
    for (const char* const threads : {"2", "3", "7"}) {
        CAPTURE(threads);
        std::mutex mutex;
        std::map<std::size_t, int> requests;
        {
            ScriptedServer server([&](Peer& peer) {
                int count = 0;
                for (; peer.line(); ++count) {
                    peer.send("1\n");
                }
                const std::lock_guard lock(mutex);
                requests[peer.number()] = count;
            });
            const Outcome outcome =
                run(perf(server, {"-c", "7", "-t", threads, "-n", "500", "-P", "3"}));
            CHECK(outcome.status == 0);
            CHECK(outcome.err.empty());
            CHECK(contains(outcome.out, "7 connections on "));
            CHECK(contains(outcome.out, "  500 requests in "));
        }
        CHECK(requests.size() == 7);
        CHECK(std::accumulate(requests.begin(), requests.end(), 0,
                              [](int sum, const auto& pair) { return sum + pair.second; }) == 500);
    }
}

TEST_CASE("perf -t: there is one report, and its intervals add up to the whole")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-c", "4", "-t", "4", "-d", "500ms", "-i", "50ms",
                                              "--json", "--histograms", "--idle", "3"}));
    CHECK(outcome.status == 0);
    const json report = json::parse(outcome.out);
    CHECK(report["threads"] == 4);
    CHECK(report["connections"] == 4);
    CHECK(report["idle"]["open"] == 3);
    std::uint64_t requests = 0;
    double at = 0;
    for (const json& interval : report["intervals"]) {
        std::uint64_t latencies = 0;
        for (const json& pair : interval["latencies"]) {
            latencies += pair[1].get<std::uint64_t>();
        }
        CHECK(latencies == interval["requests"]);
        requests += latencies;
        CHECK(interval["at_s"] > at);
        at = interval["at_s"];
    }
    // What is left at the end may be too short for an interval.
    CHECK(requests <= report["requests"]);
    CHECK(report["requests"].get<double>() ==
          doctest::Approx(report["rate"].get<double>() * report["duration_s"].get<double>()));
}

TEST_CASE("perf -t -R: all threads together send what is due, and say what was not sent")
{
    std::atomic<int> requests = 0;
    {
        ScriptedServer server([&](Peer& peer) {
            while (peer.line()) {
                ++requests;
            }
        });
        const Outcome outcome = run(
            perf(server, {"-R", "100", "-d", "300ms", "-c", "3", "-t", "2", "-P", "4", "--json"}));
        CHECK(outcome.status == 1);
        const json report = json::parse(outcome.out);
        CHECK(report["errors"]["unanswered"] == 12);
        CHECK(report["unsent"] == 18);
        CHECK(report["starved"] == 3);
        CHECK(report["longest_wait_s"].get<double>() >= 0.2);
    }
    CHECK(requests == 12);
}

TEST_CASE("perf -t: errors on one thread's connection are in the report, the others go on")
{
    ScriptedServer server([](Peer& peer) {
        if (peer.number() == 1) {
            static_cast<void>(peer.line());
            peer.send("[Error] not today\n");
            static_cast<void>(peer.line());
            return;  // closes
        }
        answer(peer);
    });
    const Outcome outcome =
        run(perf(server, {"-c", "2", "-t", "2", "-d", "300ms", "--json", "-q"}));
    CHECK(outcome.status == 1);
    const json report = json::parse(outcome.out);
    CHECK(report["errors"]["reply"] == 1);
    CHECK(report["errors"]["read"] == 1);
    CHECK(report["requests"] > 0);
    CHECK(report["failures"].dump().find("[Error] not today") != std::string::npos);
}

TEST_CASE("perf -t: Ctrl-C ends all threads, with the report")
{
    ScriptedServer server(answer);
    Process process(perf(server, {"-c", "3", "-t", "3", "-i", "50ms"}));
    REQUIRE(process.shows("reqs/sec"));
    process.signal(SIGINT);
    CHECK(process.wait() == 0);
    CHECK(contains(process.out(), "Requests/sec:"));
}

TEST_CASE("perf -t: warm-up, and a new connection for each request")
{
    std::atomic<int> clients = 0;
    {
        ScriptedServer server([&](Peer& peer) {
            ++clients;
            answer(peer);
        });
        const Outcome outcome = run(perf(
            server, {"-c", "4", "-t", "2", "-n", "40", "-w", "50ms", "--reconnect", "--json"}));
        CHECK(outcome.status == 0);
        CHECK(json::parse(outcome.out)["requests"] == 40);
    }
    CHECK(clients > 40);
}

TEST_CASE("perf -t: --each shows every reply")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(perf(server, {"-c", "4", "-t", "2", "-n", "40", "--each"}));
    CHECK(outcome.status == 0);
    std::size_t shown = 0;
    for (const std::string& line : lines(outcome.out)) {
        shown += contains(line, " s   fib(1) = 1") ? 1U : 0U;
    }
    CHECK(shown == 40);
}

TEST_CASE("perf -t: more threads than connections are refused")
{
    const Outcome outcome = run({PERF_PATH, "-c", "2", "-t", "3"});
    CHECK(outcome.status == 2);
    CHECK(outcome.err == "perf: --threads 3 needs --connections 3: each thread has at least one\n");
}
