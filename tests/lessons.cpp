// lessons.cpp -- what each stage shows, its flaws included. A run tests one stage.
//
// The tests look at the order of events: what has happened when something else happens. Hardly
// anything is timed.
#include "promises/promise.hpp"
#include "suite.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <future>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace ground::test;
using std::chrono::milliseconds;

TEST_CASE("an idle client DOES delay another" * only_if(!stage().serves_others()) *
          promise({.id = "model/idle-client-delays",
                   .page = "docs/01_blocking.md",
                   .needs = Needs::model,
                   .by_design = "other clients wait until it leaves"}))
{
    const Server server;
    Client idle(server);
    CHECK(idle.ask("10\n") == "55");
    Client other(server);
    other.send("20\n");
    for (int i = 0; i < 100; ++i) {
        REQUIRE(idle.ask("10\n") == "55");
    }
    CHECK_FALSE(other.readable());
    idle.close();
    CHECK(other.read_line() == "6765");
    if (stage().foreign() != nullptr) {
        return;  // its log has its own words
    }
    // The server begins with the other client only after that.
    const std::string end_of_idle = fmt::format("Closed 127.0.0.1:{}\n", idle.local_port());
    const std::string begin_of_other = fmt::format("Connection 127.0.0.1:{}\n", other.local_port());
    server.err().wait_for(end_of_idle);
    server.err().wait_for(begin_of_other);
    const std::string log = server.err().text();
    CHECK(log.find(end_of_idle) < log.find(begin_of_other));
}

TEST_CASE("an idle client does not delay another" * only_if(stage().serves_others()) *
          promise({.id = "model/idle-client",
                   .page = "docs/02_threads.md",
                   .needs = Needs::model,
                   .help = "accept() the next client before this one has left"}))
{
    const Server server;
    Client idle(server);
    CHECK(idle.ask("10\n") == "55");
    Client silent(server);  // never says a word
    Client other(server);
    CHECK(other.ask("20\n") == "6765");
    CHECK(idle.ask("10\n") == "55");
    CHECK(silent.ask("10\n") == "55");
}

TEST_CASE("a big request DOES delay a small one of another client" *
          only_if(stage().blocks_while_computing()) *
          promise({.id = "model/big-request-delays",
                   .page = "docs/04_generators.md",
                   .needs = Needs::process | Needs::model,
                   .by_design = "a big request stops all clients"}))
{
    const LongRequest long_request;
    const Server server;
    Client big(server);
    if (stage().serves_others()) {
        Client small(server);
        CHECK(small.ask("10\n") == "55");
        wait_until_computing(server, [&] { big.send(long_request.text()); });
        CHECK(small.ask("10\n") == "55");
    } else {
        wait_until_computing(server, [&] { big.send(long_request.text()); });
        Client small(server);
        small.send("10\n");
        big.wait_readable();
        CHECK_FALSE(small.readable());
        CHECK(big.read_line() == long_request.reply());
        big.close();
        CHECK(small.read_line() == "55");
        return;
    }
    // The reply to the small request is here. The reply to the big one must have come before.
    CHECK(big.readable());
    CHECK(big.read_line() == long_request.reply());
}

TEST_CASE("a big request does not delay a small one of another client" *
          only_if(stage().serves_while_computing()) *
          promise({.id = "model/big-request",
                   .page = "docs/05_futures.md",
                   .needs = Needs::process | Needs::model,
                   .help = "the thread that talks to clients must not compute"}))
{
    require_that_some_are_big();
    Server::Arguments two_workers;
    if (stage().has_pool()) {
        two_workers = {"--workers", "2"};
    }
    const Server server(two_workers);
    Client big(server);
    big.send(endless_request);
    wait_until_computing(server);
    Client small(server);
    for (int i = 0; i < 20; ++i) {
        REQUIRE(small.ask("10\n") == "55");
    }
    CHECK_FALSE(big.readable());
}

TEST_CASE("a thread that computes has the lock until another one asks for it" *
          only_if(stage().is("02b_threads_gil")))
{
    const Server server({"--switch-interval", "3600s"});  // no thread asks before the test is over
    Client big(server);
    Client small(server);
    CHECK(small.ask("10\n") == "55");
    big.send(endless_request);
    wait_until_computing(server);
    small.send("10\n");
    const auto computed = [&server] {
        milliseconds sum(0);
        for (const ProcessInfo& thread : threads_of(server.pid())) {
            sum += std::chrono::duration_cast<milliseconds>(thread.cpu);
        }
        return sum;
    };
    const milliseconds before = computed();
    eventually("it computes on", [&] { return computed() >= before + milliseconds(300); });
    CHECK_FALSE(small.readable());
}

TEST_CASE("big requests are computed at the same time" * only_if(stage().is("02_threads")))
{
    const Server server;
    std::deque<Client> clients;
    for (int i = 0; i < 3; ++i) {
        clients.emplace_back(server);
        clients.back().send(endless_request);
    }
    eventually("three threads compute", [&] {
        const auto threads = threads_of(server.pid());
        return std::count_if(threads.begin(), threads.end(), [](const ProcessInfo& thread) {
                   return thread.cpu >= milliseconds(100);
               }) == 3;
    });
    for (const Client& client : clients) {
        CHECK_FALSE(client.readable());
    }
}

TEST_CASE("each client has a thread of its own, as long as it is connected" *
          only_if(stage().has_thread_per_client()) *
          promise({.id = "model/thread-per-client",
                   .page = "docs/02_threads.md",
                   .needs = Needs::process | Needs::model,
                   .help = "a thread has to end with its client"}))
{
    const Server server;
    {
        // Some things begin with the first client, for example a sanitizer's own thread.
        Client first(server);
        CHECK(first.ask("10\n") == "55");
        const unsigned with_one = server.info().threads;
        std::deque<Client> clients;
        for (int i = 0; i < 10; ++i) {
            clients.emplace_back(server);
            REQUIRE(clients.back().ask("10\n") == "55");
        }
        unsigned threads = server.info().threads;
        CHECK_MESSAGE(threads == with_one + 10,
                      fmt::format("it had {} threads with 11 clients, and {} with one; a thread "
                                  "for each client was promised",
                                  threads, with_one));
        clients.clear();
        CHECK_NOTHROW(eventually(
            "threads end",
            [&] {
                threads = server.info().threads;
                return threads == with_one;
            },
            [&] {
                return fmt::format(
                    "it had {} threads when 10 of 11 clients had left, and {} "
                    "before they came",
                    threads, with_one);
            }));
    }
}

TEST_CASE("one thread serves all clients" *
          only_if(!stage().serves_others() || stage().has_event_loop()) *
          promise({.id = "model/one-thread",
                   .page = "docs/04_generators.md",
                   .needs = Needs::process | Needs::model}))
{
    Server::Arguments one_loop;
    if (stage().has_event_loops()) {
        one_loop = {"--threads", "1"};  // otherwise the thread of another loop may still start
    }
    const Server server(one_loop);
    Client first(server);
    CHECK(first.ask("10\n") == "55");
    const unsigned with_one = server.info().threads;
    if (!stage().has_pool() && !sanitized && stage().foreign() == nullptr) {
        CHECK(with_one == 1);
    }
    if (stage().serves_others()) {
        std::deque<Client> clients;
        for (int i = 0; i < 10; ++i) {
            clients.emplace_back(server);
            REQUIRE(clients.back().ask("10\n") == "55");
        }
        const unsigned threads = server.info().threads;
        CHECK_MESSAGE(threads == with_one,
                      fmt::format("it had {} threads with 11 clients, and {} with one; no thread "
                                  "more was promised",
                                  threads, with_one));
    }
}

TEST_CASE("a reply comes although only the worker wakes the scheduler" *
          only_if(stage().has_event_loop() && stage().serves_while_computing()))
{
    const LongRequest long_request;
    const Server server;
    Client only(server);
    // First slowly enough that the scheduler is certainly asleep, then as fast as possible.
    CHECK(only.ask("30\n") == "832040");
    CHECK(only.ask(long_request.text()) == long_request.reply());
    for (int i = 0; i < 300; ++i) {
        REQUIRE(only.ask("1\n") == "1");
    }
}

TEST_CASE("requests are computed in other processes, in as many as there are workers" *
          only_if(stage().has_processes()))
{
    constexpr std::size_t workers = 3;
    const Server server({"--workers", std::to_string(workers)});
    std::deque<Client> clients;
    if (stage().is("07b_cheap_inline")) {
        server.err().wait_for("cheaper to compute here");  // that has been measured now
    }
    const auto own_before = server.info().cpu;
    for (std::size_t i = 0; i < workers + 2; ++i) {
        clients.emplace_back(server);
        clients.back().send(endless_request);
    }
    auto computing = wait_until_descendants_compute(server, workers);
    // Wait once more, for as long as before: by then one more worker would have computed, too.
    auto later = wait_until_descendants_compute(server, workers);
    std::sort(computing.begin(), computing.end());
    std::sort(later.begin(), later.end());
    CHECK(computing.size() == workers);
    CHECK(computing == later);
    CHECK(server.info().cpu - own_before < milliseconds(50 * slowdown));
}

TEST_CASE("with one worker, a small request waits until a big one is computed" *
          only_if(stage().has_processes() && !stage().is("07b_cheap_inline")))
{
    const Server server({"--workers", "1"});
    Client big(server);
    Client small(server);
    CHECK(small.ask("10\n") == "55");
    big.send(endless_request);
    const auto worker = wait_until_descendants_compute(server, 1);
    small.send("10\n");
    wait_until_read(server, small);
    CHECK(wait_until_descendants_compute(server, 1) == worker);
    CHECK_FALSE(small.readable());
    // The end of the big one: an error.
    REQUIRE(::kill(worker.front(), SIGKILL) == 0);
    CHECK(big.read_line() == "[Error] worker died");
    CHECK(small.read_line() == "55");
}

TEST_CASE("no worker holds a client's socket, and no replacement does" *
          only_if(stage().has_processes()))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    std::deque<Client> clients;
    std::vector<std::uint64_t> inodes;
    for (int i = 0; i < 3; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
        const auto end = server_end(server, clients.back());
        REQUIRE(end.has_value());
        inodes.push_back(end->inode);
    }
    const auto holds_one = [&](pid_t pid) {
        const auto held = socket_inodes(pid);
        return std::find_first_of(held.begin(), held.end(), inodes.begin(), inodes.end()) !=
               held.end();
    };
    CHECK(holds_one(server.pid()));
    const auto before = server.descendants();
    for (const ProcessInfo& process : before) {
        CHECK_FALSE(holds_one(process.pid));
    }
    for (const ProcessInfo& process : before) {
        ::kill(process.pid, SIGKILL);
    }
    CHECK(clients.front().ask("20\n") == "6765");
    wait_for_workers(server, 2);
    for (const ProcessInfo& process : server.descendants()) {
        CHECK_FALSE(holds_one(process.pid));
    }
}

// ---- 02d_shared_state: with --guard none, mutex or atomic

namespace {

bool has_guard(std::initializer_list<std::string_view> values)
{
    const std::string guard = stage().option("--guard").value_or("mutex");
    return stage().has_guard() && std::find(values.begin(), values.end(), guard) != values.end();
}

struct Asked {
    std::uint64_t answered = 0;
    std::uint64_t wrongly = 0;
};

// Several clients, each on a thread of its own, ask for these numbers in turn, many at a time.
Asked ask_all_at_once(const Server& server, const std::vector<unsigned>& numbers)
{
    constexpr int clients = 4;
    constexpr int rounds = 50;
    std::string segment;
    std::vector<std::string> replies;
    while (replies.size() < 100) {
        const unsigned n = numbers[replies.size() % numbers.size()];
        segment += fmt::format("{}\n", n);
        replies.push_back(fmt::format("{}", ground::fib_fast(n)));
    }
    const auto talk = [&] {
        Asked asked;
        Client client(server);
        for (int round = 0; round < rounds; ++round) {
            client.send(segment);
            for (const std::string& reply : replies) {
                asked.wrongly += client.read_line() == reply ? 0U : 1U;
                ++asked.answered;
            }
        }
        return asked;
    };
    std::vector<std::future<Asked>> talks;
    for (int i = 0; i < clients; ++i) {
        talks.push_back(std::async(std::launch::async, talk));
    }
    Asked sum;
    for (auto& each : talks) {
        const Asked asked = each.get();
        sum.answered += asked.answered;
        sum.wrongly += asked.wrongly;
    }
    return sum;
}

std::uint64_t counted(const Server& server)
{
    Client client(server);
    return std::stoull(client.ask("count\n"));
}

}  // namespace

TEST_CASE("a result that one client asked for, another client gets without computing" *
          only_if(stage().has_guard()))
{
    const LongRequest long_request;
    const Server server;
    Client first(server);
    Client second(server);
    CHECK(first.ask(long_request.text()) == long_request.reply());
    const auto before = server.info().cpu;
    CHECK(second.ask(long_request.text()) == long_request.reply());
    CHECK(server.info().cpu - before < milliseconds(150));
    CHECK(counted(server) == 2);
}

TEST_CASE("with a lock or an atomic increment, every request is counted" *
          only_if(has_guard({"mutex", "atomic"})))
{
    const Server server;
    const Asked asked = ask_all_at_once(server, {1});
    CHECK(counted(server) == asked.answered);
    CHECK(counted(server) == asked.answered);  // the question itself does not count
}

TEST_CASE("without a guard, some requests are answered but NOT counted" *
          only_if(has_guard({"none"})))
{
    const Server server;
    std::uint64_t answered = 0;
    eventually("an update is lost", [&] {
        answered += ask_all_at_once(server, {1}).answered;
        REQUIRE(counted(server) <= answered);
        return counted(server) < answered;
    });
}

TEST_CASE("with a lock, a pair of values stays consistent" * only_if(has_guard({"mutex"})))
{
    const Server server;
    CHECK(ask_all_at_once(server, {3, 4, 5}).wrongly == 0);
}

TEST_CASE("without a lock, a pair of values does NOT stay consistent, atomic or not" *
          only_if(has_guard({"none", "atomic"})))
{
    const Server server;
    eventually("a reply is wrong", [&] { return ask_all_at_once(server, {3, 4, 5}).wrongly > 0; });
}

TEST_CASE("each client has a process of its own, which is reaped when it leaves" *
          only_if(stage().has_process_per_client() && !handlers_are_held_back) *
          promise({.id = "model/process-per-client",
                   .page = "docs/02c_fork.md",
                   .needs = Needs::process | Needs::model,
                   .help = "wait for the children, or they stay as zombies"}))
{
    const Server server;
    std::deque<Client> clients;
    for (std::size_t i = 1; i <= 10; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
        const std::size_t children = server.descendants().size();
        CHECK_MESSAGE(children == i,
                      fmt::format("it had {} processes beside the first one, and {} clients; one "
                                  "for each was promised",
                                  children, i));
    }
    std::vector<pid_t> processes;
    for (const ProcessInfo& process : server.descendants()) {
        processes.push_back(process.pid);
    }
    clients.clear();
    CHECK_NOTHROW(eventually(
        "no child is left, not even as a zombie",
        [&] { return std::none_of(processes.begin(), processes.end(), process_info); },
        [&] {
            return fmt::format("{} of {} child processes were left when their clients had left",
                               std::count_if(processes.begin(), processes.end(), process_info),
                               processes.size());
        }));
    CHECK(server.err().text().find("Lost a client") == std::string::npos);
}

TEST_CASE("a conversation that crashes does not affect the others" *
          only_if(stage().has_process_per_client() && !handlers_are_held_back) *
          promise({.id = "model/crash-of-a-conversation",
                   .page = "docs/02c_fork.md",
                   .needs = Needs::process | Needs::model}))
{
    require_that_some_are_big();
    const Server server;
    Client before(server);
    CHECK(before.ask("10\n") == "55");
    Client victim(server);
    victim.send(endless_request);
    const pid_t process = wait_until_descendants_compute(server, 1).front();
    Client after(server);
    CHECK(after.ask("10\n") == "55");
    REQUIRE(::kill(process, SIGKILL) == 0);
    CHECK(victim.read_until_gone().empty());
    if (stage().foreign() == nullptr) {
        server.err().wait_for(
            fmt::format("Lost a client: process {} was ended by signal 9 (Killed)\n", process));
    }
    CHECK(before.ask("20\n") == "6765");
    CHECK(after.ask("20\n") == "6765");
    CHECK(Client(server).ask("20\n") == "6765");
}

TEST_CASE("a client's process holds neither the listening socket nor another client's" *
          only_if(stage().has_process_per_client()))
{
    const Server server;
    std::deque<Client> clients;
    for (int i = 0; i < 5; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
    }
    eventually("the server holds no client's",
               [&] { return socket_inodes(server.pid()).size() == 1; });
    std::vector<std::uint64_t> seen = socket_inodes(server.pid());
    for (const ProcessInfo& process : server.descendants()) {
        const auto own = socket_inodes(process.pid);
        CHECK(own.size() == 1);
        seen.insert(seen.end(), own.begin(), own.end());
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
    // So a client learns at once that its server has gone, and the port is free.
    CHECK(seen.size() == 1 + clients.size());
}

// ---- 08_cancellation and later stages

// A broker can't take back what has been sent to it.
TEST_CASE("when a client leaves, its request is cancelled" *
          only_if(stage().has_limits() && stage().serves_while_computing() &&
                  !stage().pool_is_broker()))
{
    const LongRequest long_request(milliseconds(1000));
    const Server server({"--workers", "1"});
    Client first(server);
    first.send(long_request.text());
    wait_until_computing(server);
    Client departed(server);
    CHECK(departed.ask(fmt::format("x\n{}", endless_request)).starts_with("[Error]"));
    departed.reset();
    server.err().wait_for("Lost a client");
    REQUIRE_FALSE(first.readable());
    CHECK(Client(server).ask("10\n") == "55");
    CHECK(first.read_line() == long_request.reply());
}

// Most of these leave while the server sends them the first of their replies.
TEST_CASE("when clients leave as soon as they have asked, their requests are cancelled" *
          only_if(stage().has_limits() && stage().serves_while_computing() &&
                  !stage().pool_is_broker()))
{
    constexpr std::size_t many = 50;
    eventually("all have left while the only worker was busy", [&] {
        const LongRequest long_request(milliseconds(1000));
        const Server server({"--workers", "1"});
        Client first(server);
        first.send(long_request.text());
        wait_until_computing(server);
        for (std::size_t i = 0; i < many; ++i) {
            Client departed(server);
            departed.send(fmt::format("x\n{}", endless_request));
            if (i % 2 == 0) {
                // So the server has this request. Of the other clients it may see the reset first.
                CHECK(departed.read_line().starts_with("[Error]"));
            }
            departed.reset();
        }
        eventually("all are forgotten", [&] {
            const std::string log = server.err().text();
            std::size_t closed = 0;
            for (auto at = log.find("Closed"); at != std::string::npos;
                 at = log.find("Closed", at + 1)) {
                ++closed;
            }
            return closed == many;
        });
        if (first.readable()) {
            return false;
        }
        CHECK(Client(server).ask("10\n") == "55");
        return true;
    });
}

TEST_CASE(
    "a server that gets SIGTERM while it computes for a client that has left ends with status 0" *
    only_if(stage().has_limits() && stage().serves_while_computing()))
{
    Server server({"--workers", "2"});
    Client departed(server);
    departed.send(endless_request);
    wait_until_computing(server);
    departed.reset();
    CHECK(Client(server).ask("10\n") == "55");
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
}

TEST_CASE("the request of a client that has left IS computed, before those of others" *
          only_if(stage().has_event_loop() && stage().has_processes() && !stage().has_limits() &&
                  !stage().is("07b_cheap_inline")))
{
    const LongRequest short_one(milliseconds(100));
    const LongRequest long_one(milliseconds(400));
    const Server server({"--workers", "1"});
    Client first(server);
    first.send(short_one.text());
    const pid_t worker = wait_until_descendants_compute(server, 1).front();
    Client departed(server);
    CHECK(departed.ask("x\n" + long_one.text()).starts_with("[Error]"));
    departed.reset();
    CHECK(Client(server).ask("10\n") == "55");
    CHECK(process_info(worker)->cpu >= milliseconds(300));  // the first alone takes 200 at most
}

TEST_CASE("on SIGTERM requests that have arrived are answered, and no client counts as lost" *
          only_if(stage().finishes_when_stopped()))
{
    int in_time =
        0;  // rounds in which the server ended by itself; if it stays 0, there are more rounds
    for (int round = 0; round < 10 || (in_time == 0 && round < 20); ++round) {
        Server server;
        std::deque<Client> clients;
        for (int i = 0; i < 20; ++i) {
            clients.emplace_back(server);
            REQUIRE(clients.back().ask("10\n") == "55");
        }
        server.stop();
        for (Client& client : clients) {
            client.send("20\n");
        }
        eventually("all of it has arrived", [&] {
            return std::all_of(clients.begin(), clients.end(), [&](const Client& client) {
                const auto end = server_end(server, client);
                return end && end->unread == 3;
            });
        });
        server.signal(SIGTERM);
        const auto start = std::chrono::steady_clock::now();
        server.resume();
        std::size_t answered = 0;
        for (Client& client : clients) {
            answered += client.read_until_gone() == "6765\n" ? 1U : 0U;
        }
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        const bool cut_off = std::chrono::steady_clock::now() - start >= time_until_cut_off;
        in_time += cut_off ? 0 : 1;
        CHECK((cut_off || answered == clients.size()));
        CHECK(server.err().read_all().find("Lost a client") == std::string::npos);
    }
    CHECK(in_time > 0);
}

TEST_CASE("a request that takes too long is an error, and the conversation goes on" *
          only_if(stage().has_limits() && stage().serves_while_computing()))
{
    const Server server({"--workers", "2", "--request-timeout", "100ms"});
    Client client(server);
    CHECK(client.ask(endless_request) == "[Error] it took too long, try a smaller number");
    eventually("the other worker is in time", [&] { return client.ask("10\n") == "55"; });
}

TEST_CASE("a client that asks nothing for too long gets an error and is closed" *
          only_if(stage().has_limits()))
{
    const Server server({"--idle-timeout", "50ms"});
    Client client(server);
    CHECK(client.read_all() == "[Error] no request came for too long\n");
}

TEST_CASE("a request that takes too long is an error although replies before it still wait" *
          only_if(stage().has_limits() && stage().serves_while_computing()))
{
    const Server server({"--workers", "2", "--request-timeout", "100ms"});
    Client client(server);
    client.send(fmt::format("10\nx\n{}20\n", endless_request));
    CHECK(client.read_line() == "55");
    CHECK(client.read_line().starts_with("[Error] not a number"));
    CHECK(client.read_line() == "[Error] it took too long, try a smaller number");
    CHECK(client.read_line() == "6765");
}

TEST_CASE("a client that asks in time is not idle" * only_if(stage().has_limits()))
{
    const Server server({"--idle-timeout", "60s"});
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    CHECK(client.converse("20\n30\n") == "6765\n832040\n");
}

TEST_CASE("beyond the bound a request is refused as busy, at once" *
          only_if(stage().has_limits() && stage().serves_while_computing()))
{
    const Server server({"--workers", "1", "--max-waiting", "1"});
    Client computed(server);
    computed.send(endless_request);
    wait_until_computing(server);
    Client waiting(server);
    CHECK(waiting.ask(fmt::format("x\n{}", endless_request)).starts_with("[Error]"));
    Client client(server);
    CHECK(client.ask("10\n") == "[Error] busy, try again later");
    waiting.reset();
    eventually("there is room again", [&] {
        Client other(server);
        other.send("10\n");
        const bool told = other.readable() && other.read_line().starts_with("[Error] busy");
        other.reset();
        return !told;
    });
}

// ---- 07b_cheap_inline

namespace {

// While this lives, all processes of the pool stand still.
class StoppedPool {
  public:
    explicit StoppedPool(const Server& server) : processes_(server.descendants())
    {
        signal_all(SIGSTOP);
    }
    ~StoppedPool() { signal_all(SIGCONT); }
    StoppedPool(const StoppedPool&) = delete;
    StoppedPool& operator=(const StoppedPool&) = delete;

  private:
    void signal_all(int number) const
    {
        for (const ProcessInfo& process : processes_) {
            ::kill(process.pid, number);
        }
    }

    std::vector<ProcessInfo> processes_;
};

bool is_07b_with_processes() { return stage().is("07b_cheap_inline") && stage().has_processes(); }

}  // namespace

TEST_CASE("the loop computes cheap requests, and the pool the rest" *
          only_if(is_07b_with_processes()))
{
    const Server server({"--workers", "2", "--inline-below", "20"});
    wait_for_workers(server, 2);
    Client cheap(server);
    Client dear(server);
    {
        const StoppedPool stopped(server);
        dear.send("20\n");
        wait_until_read(server, dear);
        CHECK(cheap.ask("19\n") == "4181");
        CHECK_FALSE(dear.readable());
    }
    CHECK(dear.read_line() == "6765");
}

TEST_CASE("with a limit of 0 no request is cheap: the pool computes all of them" *
          only_if(is_07b_with_processes()))
{
    const Server server({"--workers", "2", "--inline-below", "0"});
    wait_for_workers(server, 2);
    Client client(server);
    {
        const StoppedPool stopped(server);
        client.send("1\n");
        wait_until_read(server, client);
        Client other(server);
        CHECK(other.ask("x\n").starts_with("[Error]"));
        CHECK_FALSE(client.readable());
    }
    CHECK(client.read_line() == "1");
}

TEST_CASE("an expensive request that is taken for cheap DOES delay others" *
          only_if(stage().is("07b_cheap_inline")))
{
    const LongRequest long_request;
    const Server server({"--inline-below", "94"});
    Client big(server);
    Client small(server);
    CHECK(small.ask("10\n") == "55");
    wait_until_computing(server, [&] { big.send(long_request.text()); });
    CHECK(small.ask("10\n") == "55");
    CHECK(big.readable());
    CHECK(big.read_line() == long_request.reply());
}

TEST_CASE("the server measures at its start what is cheap, and says so" *
          only_if(is_07b_with_processes()))
{
    const Server measured;
    measured.err().wait_for("us; below fib(");
    const std::string line = measured.err().text();
    CHECK(line.starts_with("07b_cheap_inline: a trip to the pool takes "));
    // fib(1) is one function call. A trip to another process must take longer.
    CHECK(line.find("below fib(1)") == std::string::npos);
    const Server told({"--inline-below", "20"});
    CHECK(Client(told).ask("10\n") == "55");
    CHECK(told.err().text().find("a trip") == std::string::npos);
}

// ---- 07c_io_uring

TEST_CASE("its loop uses io_uring, and no epoll" * only_if(stage().is("07c_io_uring")))
{
    const Server server;
    std::string open;
    const std::filesystem::path descriptors(fmt::format("/proc/{}/fd", server.pid()));
    for (const auto& descriptor : std::filesystem::directory_iterator(descriptors)) {
        open += std::filesystem::read_symlink(descriptor.path()).string() + "\n";
    }
    CAPTURE(open);
    CHECK(open.find("[io_uring]") != std::string::npos);
    CHECK(open.find("[eventpoll]") == std::string::npos);
}

TEST_CASE("its port is free when it has ended, even if the kernel still cleans up after it" *
          only_if(stage().is("07c_io_uring")))
{
    for (int round = 0; round < 5; ++round) {
        Server server;
        std::deque<Client> clients;
        for (int i = 0; i < 100; ++i) {
            clients.emplace_back(server);
            REQUIRE(clients.back().ask("10\n") == "55");
        }
        server.signal(SIGTERM);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        const ground::Descriptor next(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const int yes = 1;
        ::setsockopt(next.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(server.port());
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(::bind(next.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        CHECK(::listen(next.get(), 1) == 0);
    }
}

TEST_CASE("if io_uring is forbidden, or has no memory, it says so in one line" *
          only_if(stage().is("07c_io_uring") && !sanitized))
{
    // As in a container: the call fails. A filter is for ever, but only for the thread that has
    // installed it, and for the processes that this thread starts.
    for (const unsigned error : {unsigned{EPERM}, unsigned{ENOMEM}}) {
        CAPTURE(error);
        Outcome outcome;
        bool filtered = false;
        std::thread([&] {
            sock_filter program[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            };
            const sock_fprog filter{std::size(program), program};
            filtered = ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                       ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
            if (filtered) {
                outcome = run({.command = {stage().executable(), "--port", "0"}});
            }
        }).join();
        REQUIRE(filtered);
        CHECK(outcome.status == 1);
        CHECK(outcome.out.empty());
        CHECK(outcome.err.starts_with("07c_io_uring: no io_uring here ("));
        const std::string advice = error == ENOMEM ? "ulimit -l" : "container";
        CHECK(outcome.err.find(advice) != std::string::npos);
        CHECK(outcome.err.find('\n') == outcome.err.size() - 1);
    }
}

// ---- 09_all_cores

namespace {

// How many clients each loop had, as it says at its end.
std::vector<unsigned> clients_of_loops(const std::string& log)
{
    std::vector<unsigned> counts;
    constexpr std::string_view begin = "Clients of one loop: ";
    for (auto at = log.find(begin); at != std::string::npos; at = log.find(begin, at + 1)) {
        counts.push_back(static_cast<unsigned>(std::stoul(log.substr(at + begin.size()))));
    }
    return counts;
}

void check_spread_of_clients(const char* option)
{
    Server server({option, "4"});
    std::deque<Client> clients;
    for (int i = 0; i < 64; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
    }
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    const std::vector<unsigned> counts = clients_of_loops(server.err().read_all());
    CAPTURE(fmt::format("{}", fmt::join(counts, " ")));
    CHECK(counts.size() == 4);
    CHECK(std::accumulate(counts.begin(), counts.end(), 0U) == 64);
    // By chance a loop may get no client, but not three of the four loops.
    CHECK(std::count(counts.begin(), counts.end(), 0U) < 3);
}

}  // namespace

TEST_CASE("clients are distributed over the loops" * only_if(stage().has_event_loops()))
{
    SUBCASE("threads") { check_spread_of_clients("--threads"); }
    SUBCASE("processes") { check_spread_of_clients("--processes"); }
}

TEST_CASE("there are as many loops as the option says, each with a thread" *
          only_if(stage().has_event_loops()))
{
    const auto with_one = [] {
        const Server server({"--threads", "1"});
        Client client(server);
        CHECK(client.ask("10\n") == "55");
        return server.info().threads;
    }();
    const Server server({"--threads", "5"});
    CHECK_NOTHROW(
        eventually("all loops run", [&] { return server.info().threads == with_one + 4; }));
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    CHECK(server.info().threads == with_one + 4);
}

TEST_CASE("a big request that is computed inline DOES stop its own loop's clients, and no others" *
          only_if(stage().has_event_loops() && !stage().serves_while_computing()))
{
    const Server server({"--threads", "2"});
    std::deque<Client> clients;
    for (int i = 0; i < 32; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
    }
    Client big(server);
    CHECK(big.ask("10\n") == "55");
    wait_until_computing(server, [&] { big.send(endless_request); });
    for (Client& client : clients) {
        client.send("10\n");
    }
    std::deque<Client*> served;
    eventually("a client is served", [&] {
        for (Client& client : clients) {
            if (client.readable()) {
                served.push_back(&client);
            }
        }
        return !served.empty();
    });
    Client& one = *served.front();
    CHECK(one.read_line() == "55");
    for (int i = 0; i < 300; ++i) {
        REQUIRE(one.ask("10\n") == "55");
    }
    CHECK(std::any_of(clients.begin(), clients.end(),
                      [&](const Client& client) { return &client != &one && !client.readable(); }));
}

TEST_CASE("the replies to one read leave in one write" *
          only_if(stage().has_event_loops() && !stage().serves_while_computing()))
{
    const Server server;
    Client client(server);
    std::string requests;
    for (int i = 0; i < 40; ++i) {
        requests += "1\n";
    }
    for (int round = 0; round < 10; ++round) {
        client.send(requests);
        for (int i = 0; i < 40; ++i) {
            REQUIRE(client.read_line() == "1");
        }
    }
    CHECK(client.segments_received() <= 20);
}

TEST_CASE("a reply does not wait for those behind it" * only_if(stage().serves_while_computing()) *
          promise({.id = "model/reply-at-once",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .needs = Needs::process | Needs::model}))
{
    require_that_some_are_big();
    const Server server;
    Client client(server);
    client.send(fmt::format("10\n{}", endless_request));
    CHECK(client.read_line() == "55");
}

TEST_CASE(
    "loops in processes: when one crashes, its own clients lose their connections, and no others" *
    only_if(stage().has_event_loops() && !stage().has_processes()))
{
    Server server({"--processes", "2"});
    std::vector<ProcessInfo> loops;
    eventually("both are there", [&] {
        loops = server.descendants();
        return loops.size() == 2;
    });
    std::deque<Client> clients;
    for (int i = 0; i < 32; ++i) {
        clients.emplace_back(server);
        REQUIRE(clients.back().ask("10\n") == "55");
    }
    ::kill(loops.front().pid, SIGKILL);
    server.err().wait_for(
        fmt::format("Lost a loop: process {} was ended by signal 9 (Killed)\n", loops.front().pid));
    int served = 0;
    for (Client& client : clients) {
        try {
            served += client.ask("10\n") == "55" ? 1 : 0;
        } catch (const std::exception&) {
            // It was a client of the loop that was killed.
        }
    }
    CHECK(served > 0);
    CHECK(served < 32);
    for (int i = 0; i < 8; ++i) {
        CHECK(Client(server).ask("20\n") == "6765");  // no client comes to the port of the dead one
    }
    ::kill(loops.back().pid, SIGKILL);
    CHECK(server.wait() == 1);
}

TEST_CASE("loops in processes: a conversation that the loop ends does not stop it" *
          only_if(stage().has_event_loops()))
{
    const Server server({"--processes", "1"});
    // The test may be delayed so much that the server no longer listens to the refused client.
    eventually("another client is served while the one that is sent away may still talk", [&] {
        Client other(server);
        CHECK(other.ask("10\n") == "55");
        Client overlong(server);
        overlong.send(std::string(150, '1'));
        CHECK(overlong.read_all().starts_with("[Error] line longer than"));
        CHECK(other.ask("10\n") == "55");
        const auto end = server_end(server, overlong);
        return end && end->inode != 0;
    });
}

TEST_CASE("loops in processes: all of them finish on SIGTERM and Ctrl-C, and SIGKILL leaves none" *
          only_if(stage().has_event_loops()))
{
    for (const int number : {SIGTERM, SIGINT}) {
        CAPTURE(number);
        eventually("one comes to its end in time", [&] {
            const LongRequest long_request(milliseconds(50));
            Server server({"--processes", "2"});
            Client client(server);
            client.send(long_request.text());
            wait_until_read(server, client);
            const auto start = std::chrono::steady_clock::now();
            if (number == SIGINT) {
                server.signal_group(SIGINT);  // as the terminal does
            } else {
                server.signal(SIGTERM);
            }
            const std::string reply = client.read_until_gone();
            CHECK(server.wait(Deadline(time_to_end)) == 0);
            const auto taken = std::chrono::steady_clock::now() - start;
            CHECK((reply == long_request.reply() + "\n" ||
                   (reply.empty() && taken >= time_until_cut_off)));
            return !reply.empty();
        });
    }
    Server server({"--processes", "2"});
    CHECK(Client(server).ask("10\n") == "55");
    server.signal(SIGKILL);
    CHECK(server.wait() == -SIGKILL);
    eventually("none is left", [&] { return server.descendants().empty(); });
}
