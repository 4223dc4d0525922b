// server.cpp -- what any server promises as a process, and under load.
#include "promise.hpp"
#include "tests/suite.hpp"

#include <fmt/format.h>

#include <signal.h>

#include <chrono>
#include <cstddef>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace ground::test;
using std::chrono::milliseconds;

TEST_CASE("it starts, listens and replies" *
          promise({.id = "start/replies",
                   .page = "docs/protocol.md",
                   .help = "print what it does to stderr: the judge shows that"}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("10\n") == "55");
}

TEST_CASE("a number that does not fit 32 bits is right" *
          promise({.id = "protocol/large-numbers",
                   .page = "docs/protocol.md#requests-and-replies",
                   .help = "fib(47) is the first that does not fit a signed int"}))
{
    // fib(47) takes 11 * 11 * 11 times as long as fib(32).
    constexpr milliseconds acceptable{5};
    const Server server({"--algorithm", "fast"});
    Client client(server);
    const auto start = std::chrono::steady_clock::now();
    CHECK(client.ask("32\n") == "2178309");
    if (stage().foreign() != nullptr && std::chrono::steady_clock::now() - start > acceptable) {
        throw DoesNotApply("fib(47) would take it too long");
    }
    client.send("47\n");
    client.wait_readable(Deadline(std::chrono::seconds(30 * slowdown)));
    CHECK(client.read_line() == "2971215073");
}

TEST_CASE("when several clients ask at the same time, none of their replies is lost or wrong" *
          promise({.id = "load/every-reply",
                   .page = "docs/01_blocking.md",
                   .after = "protocol/half-close",
                   .help = "what do two conversations share? Do two workers wait for each other?"}))
{
    constexpr int clients = 8;
    constexpr int requests = 200;
    const Server server;
    const auto talk = [&](int number) -> std::string {
        std::string text;
        std::vector<std::string> expected;
        for (int i = 0; i < requests; ++i) {
            const auto n = static_cast<unsigned>((i * 7 + number) % 18);
            text += fmt::format("{}\n", n);
            expected.push_back(fmt::format("{}", n == 0 ? 1 : ground::fib_fast(n)));
        }
        Client client(server);
        try {
            client.send(text);
            client.shutdown_send();
            for (int i = 0; i < requests; ++i) {
                client.wait_readable(Deadline(2 * patience));  // it may not be this client's turn
                const std::string reply = client.read_line();
                if (reply != expected[static_cast<std::size_t>(i)]) {
                    return fmt::format("client {} of {}: reply {} of {} was '{}' instead of '{}'",
                                       number, clients, i + 1, requests, reply,
                                       expected[static_cast<std::size_t>(i)]);
                }
            }
            const std::string rest = client.read_all();
            return rest.empty() ? "" : fmt::format("client {}: '{}' more", number, rest);
        } catch (const std::exception& problem) {
            return fmt::format("client {} of {}: {}", number, clients, problem.what());
        }
    };
    for (int round = 0; round < 3; ++round) {
        std::vector<std::future<std::string>> talks;
        for (int i = 1; i <= clients; ++i) {
            talks.push_back(std::async(std::launch::async, talk, i));
        }
        std::string problems;
        for (auto& each : talks) {
            const std::string problem = each.get();
            problems = problems.empty() ? problem : problems;
        }
        REQUIRE(problems == "");
    }
}

TEST_CASE("a client that has left costs no descriptor" *
          promise({.id = "process/descriptors",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .help = "close a client's socket on every way out of its conversation"}))
{
    const Server server;
    server.require_process();
    const auto come_and_go = [&] {
        for (int i = 0; i < 20; ++i) {
            Client client(server);
            REQUIRE(client.ask("10\n") == "55");
        }
    };
    come_and_go();  // by now it has everything that it keeps
    const std::size_t before = server.descriptors();
    for (int i = 0; i < 3; ++i) {
        come_and_go();
    }
    try {
        eventually("all descriptors are closed", [&] { return server.descriptors() <= before; });
    } catch (const std::exception&) {
        throw std::runtime_error(
            fmt::format("it has {} descriptors open, 60 clients before it had {}",
                        server.descriptors(), before));
    }
}

TEST_CASE("a server that no client asks for anything uses hardly any CPU time" *
          promise({.id = "process/idle",
                   .page = "docs/04_generators.md",
                   .needs = Needs::process,
                   .help = "wait in the kernel (recv, select, epoll) instead of asking again and "
                           "again"}))
{
    const Server server;
    server.require_process();
    Client idle(server);
    CHECK(idle.ask("10\n") == "55");
    // At the beginning it may have something to do: a pool to start, a rate to measure.
    std::string seen;
    try {
        eventually("it is idle", [&] {
            constexpr milliseconds window{300};
            const auto before = cpu_time_with_descendants(server);
            const std::uint64_t written = server.written();
            std::this_thread::sleep_for(window);
            const auto used = cpu_time_with_descendants(server) - before;
            const std::uint64_t more = server.written() - written;
            seen = fmt::format("it used {} ms of CPU time in {} ms, and wrote {} bytes",
                               used.count(), window.count(), more);
            return used <= window / 10 && more < 10'000;
        });
    } catch (const std::exception&) {
        throw std::runtime_error(seen);
    }
}

TEST_CASE("what it writes does not grow without bounds" *
          promise({.id = "process/log",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/idle",
                   .help = "a line for a conversation, and none for a request"}))
{
    constexpr std::size_t requests = 2000;
    const Server server;
    Client client(server);
    std::string text;
    for (std::size_t i = 0; i < requests; ++i) {
        text += "10\n";
    }
    CHECK(count_lines(client.converse(text)) == requests);
    CHECK(server.written() < 200 * requests);
}

TEST_CASE("SIGTERM ends it, also while a client is connected, and leaves no process behind" *
          promise({.id = "process/sigterm",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .help = "a handler that only sets a variable does not end accept()"}))
{
    Server server;
    server.require_process();
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    server.signal(SIGTERM);
    const int status = server.wait(Deadline(time_to_end));
    CHECK((status == 0 || status == -SIGTERM || status == 128 + SIGTERM));
    eventually(
        "no process is left", [&] { return server.descendants().empty(); }, Deadline(time_to_end));
}
