// server.cpp -- what any server promises as a process, and under load.
#include "promise.hpp"
#include "tests/cpu_watch.hpp"
#include "tests/suite.hpp"

#include <fmt/format.h>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace ground::test;
using std::chrono::milliseconds;

namespace {

std::vector<pid_t> all_processes(const Server& server)
{
    std::vector<pid_t> all{server.pid()};
    for (const ProcessInfo& process : server.helpers()) {
        all.push_back(process.pid);
    }
    return all;
}

// What there is of a server.
struct Population {
    std::size_t threads = 0;
    std::size_t processes = 0;
    std::size_t zombies = 0;
};

Population population_of(const Server& server)
{
    Population all;
    const std::vector<pid_t> alive = all_processes(server);
    all.processes = alive.size();
    for (const pid_t process : alive) {
        all.threads += threads_of(process).size();
        all.zombies += zombies_of(process);
    }
    return all;
}

std::string waited_for_a_cpu(const CpuLook& look)
{
    return look.waited < look.used / 10
               ? ""
               : fmt::format(" (and waited for a CPU for {} ms)", look.waited / milliseconds(1));
}

}  // namespace

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
    auto time = std::chrono::nanoseconds::max();
    for (int i = 0; i < 5; ++i) {
        const auto start = std::chrono::steady_clock::now();
        REQUIRE(client.ask("32\n") == "2178309");
        time = std::min<std::chrono::nanoseconds>(time, std::chrono::steady_clock::now() - start);
    }
    if (stage().foreign() != nullptr && time > acceptable) {
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
                   .help = "what do two conversations share? Do two workers wait for each other?",
                   .stories = "two,same"}))
{
    // All are connected before the first has its replies. One after the other is served, or all at
    // once: both are right. Each asks for a few numbers at a time, so that conversations take
    // turns.
    constexpr int clients = 8;
    constexpr int batches = 10;
    constexpr int requests = 20;
    // A fast server is asked more often, because a reply may be lost seldom.
    constexpr int least_rounds = 2;
    constexpr int most_rounds = 20;
    constexpr std::chrono::seconds enough{1};
    const Server server;
    const auto number_of = [](int client, int batch, int i) {
        return static_cast<unsigned>(1 + (client * 5 + batch * 3 + i * 7) % 17);
    };
    const auto send = [&](Client& client, int number, int batch) {
        std::string text;
        for (int i = 0; i < requests; ++i) {
            text += fmt::format("{}\n", number_of(number, batch, i));
        }
        client.send(text);
    };
    const auto talk = [&](Client& client, int number) -> std::string {
        const std::string who = fmt::format("client {} of {}", number, clients);
        int replies = 0;
        try {
            client.wait_readable(Deadline(2 * patience));  // it may not be this client's turn
            for (int batch = 0; batch < batches; ++batch) {
                if (batch > 0) {
                    send(client, number, batch);
                }
                for (int i = 0; i < requests; ++i, ++replies) {
                    const std::string reply = client.read_line();
                    const auto right = ground::fib_fast(number_of(number, batch, i));
                    if (reply != fmt::format("{}", right)) {
                        return fmt::format("{}: reply {} was '{}' instead of '{}'", who,
                                           replies + 1, reply, right);
                    }
                }
            }
            client.shutdown_send();
            const std::string rest = client.read_all();
            client.close();
            return rest.empty() ? "" : fmt::format("{}: '{}' after all replies", who, rest);
        } catch (const std::exception& problem) {
            client.close();
            return fmt::format("{}, after {} of {} replies: {}", who, replies, batches * requests,
                               problem.what());
        }
    };
    const auto start = std::chrono::steady_clock::now();
    const auto more = [&](int round) {
        return round < least_rounds || (stage().foreign() != nullptr && round < most_rounds &&
                                        std::chrono::steady_clock::now() - start < enough);
    };
    for (int round = 0; more(round); ++round) {
        std::deque<Client> all;
        for (int i = 1; i <= clients; ++i) {
            send(all.emplace_back(server), i, 0);
        }
        std::vector<std::future<std::string>> talks;
        for (int i = 1; i <= clients; ++i) {
            talks.push_back(std::async(std::launch::async, talk,
                                       std::ref(all[static_cast<std::size_t>(i - 1)]), i));
        }
        std::string problems;
        for (auto& each : talks) {
            const std::string problem = each.get();
            problems = problems.empty() ? problem : problems;
        }
        REQUIRE_MESSAGE(problems.empty(), problems);
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
    eventually(
        "all descriptors are closed", [&] { return server.descriptors() <= before; },
        [&] {
            return fmt::format("it has {} descriptors open, 60 clients before it had {}",
                               server.descriptors(), before);
        });
}

TEST_CASE("a client that has left leaves no thread and no process behind, not even a zombie" *
          promise({.id = "process/left-behind",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/descriptors",
                   .help = "a thread that is not detached has to be joined, and a child to be "
                           "waited for"}))
{
    // A pool may grow with the first clients, and a server may clean up when the next client comes.
    constexpr int clients = 60;
    constexpr std::size_t few = 20;
    const Server server;
    server.require_process();
    const auto come_and_go = [&](int times) {
        for (int i = 0; i < times; ++i) {
            Client client(server);
            REQUIRE(client.ask("10\n") == "55");
        }
    };
    come_and_go(clients / 3);
    const Population before = population_of(server);
    come_and_go(clients);
    Population now;
    eventually(
        "they end",
        [&] {
            now = population_of(server);
            return now.threads <= before.threads + few && now.processes <= before.processes + few &&
                   now.zombies <= few;
        },
        [&] {
            return fmt::format(
                "it has {} threads, {} processes and {} zombies, {} clients before "
                "it had {}, {} and {}",
                now.threads, now.processes, now.zombies, clients, before.threads, before.processes,
                before.zombies);
        });
}

TEST_CASE("a request that has been answered costs no memory" * only_if(!sanitized) *
          promise({.id = "process/memory",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .help = "what is kept for each request, and is never looked at again?"}))
{
    // Memory that a garbage collector has not reclaimed yet is no leak. So it must not grow in each
    // round, and by less than what 20,000 requests of any language leave to a collector.
    constexpr int rounds = 10;
    constexpr int batches = 20;
    constexpr int requests = 100;
    constexpr std::size_t a_little = 100'000;
    constexpr std::size_t much = 16'000'000;
    const Server server;
    server.require_process();
    constexpr std::size_t terabyte = 1'000'000'000'000;
    if (server.address_space() > terabyte) {
        throw DoesNotApply("a sanitizer keeps freed memory");
    }
    std::string text;
    for (int i = 0; i < requests; ++i) {
        text += "10\n";
    }
    std::size_t before = 0;
    std::size_t first = 0;
    for (int round = 0; round <= rounds; ++round) {
        Client client(server);
        for (int batch = 0; batch < batches; ++batch) {
            client.send(text);
            for (int i = 0; i < requests; ++i) {
                REQUIRE(client.read_line() == "55");
            }
        }
        const std::size_t memory = server.memory();
        first = round == 0 ? memory : first;
        if (round > 0 && memory < before + a_little) {
            return;
        }
        before = memory;
    }
    if (before > first + much) {
        throw std::runtime_error(fmt::format("it needs {} MB more than {} requests before",
                                             (before - first) / 1'000'000,
                                             rounds * batches * requests));
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
    // It may spin only once a client has gone.
    for (const bool resets : {true, false}) {
        Client gone(server);
        CHECK(gone.ask("10\n") == "55");
        if (resets) {
            gone.reset();
        } else {
            CHECK(gone.converse("20\n") == "6765\n");  // half-closes
        }
    }
    Client idle(server);
    CHECK(idle.ask("10\n") == "55");
    // At the beginning it may have something to do: a pool to start, a rate to measure.
    CpuWatch watch;
    std::string seen;
    eventually(
        "it is idle",
        [&] {
            constexpr milliseconds window{300};
            constexpr double hardly_any = 0.1;
            const std::uint64_t written = server.written();
            static_cast<void>(watch.look(all_processes(server)));
            std::this_thread::sleep_for(window);
            const CpuLook look = watch.look(all_processes(server));
            const std::uint64_t more = server.written() - written;
            seen = fmt::format("it used {} ms of CPU time in {} ms{}, and wrote {} bytes",
                               look.used / milliseconds(1), look.time / milliseconds(1),
                               waited_for_a_cpu(look), more);
            return look.demand <= hardly_any && more < 10'000 && !server.still_writes();
        },
        [&] { return seen; }, Deadline(stage().foreign() != nullptr ? patience / 2 : patience));
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
    const auto replies = count_lines(client.converse(text));
    CHECK_MESSAGE(replies == requests, fmt::format("{} replies to {} requests", replies, requests));
    const auto written = server.written();
    CHECK_MESSAGE(written < 200 * requests,
                  fmt::format("it wrote {} bytes for {} requests", written, requests));
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
    const bool ended_well = status == 0 || status == -SIGTERM || status == 128 + SIGTERM;
    CHECK_MESSAGE(ended_well, fmt::format("SIGTERM ended it with {}",
                                          status < 0 ? fmt::format("signal {}", -status)
                                                     : fmt::format("exit status {}", status)));
    eventually(
        "no process is left", [&] { return server.descendants().empty(); },
        [&] {
            return fmt::format("{} of the processes that it has started are left",
                               server.descendants().size());
        },
        Deadline(time_to_end));
}
