// limits.cpp -- what a server does when the system gives it no more.
#include "support.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <deque>

using namespace ground::test;
using std::chrono::milliseconds;

TEST_SUITE_BEGIN("1,100 clients");

TEST_CASE(
    "1,100 clients: select holds no more than FD_SETSIZE, and the others are refused with a line" *
    only_if(stage().uses_select()) * because("no select"))
{
    allow_descriptors(1300);
    const Server server({"--quiet"});
    std::deque<Client> clients;
    for (int i = 0; i < 1100; ++i) {
        clients.emplace_back(server);
    }
    // The server needs a few descriptors for itself, so the first 1,000 fit and the last 76 do not.
    for (std::size_t i = 1024; i < 1100; ++i) {
        CAPTURE(i);
        REQUIRE(clients[i].read_until_gone().starts_with("[Error] server full"));
    }
    // Even a client that first sends everything gets this line.
    while (clients.size() > 1024) {
        clients.pop_back();
    }
    for (int i = 0; i < 10; ++i) {
        Client talkative(server);
        talkative.send(std::string(256 << 10, '1'));
        REQUIRE(talkative.read_all() == "[Error] server full\n");
    }
    for (std::size_t i = 0; i < 1000; ++i) {
        CAPTURE(i);
        REQUIRE(clients[i].ask("10\n") == "55");
    }
    // When a client leaves there is room for another.
    const std::size_t full = server.descriptors();
    clients.pop_front();
    CHECK_NOTHROW(eventually("there is room", [&] { return server.descriptors() < full; }));
    check_serves(server);
    refused("server full beyond FD_SETSIZE descriptors");
}

TEST_CASE("1,100 clients are all served" * only_if(!stage().uses_select()) *
          because("select holds no more than FD_SETSIZE"))
{
    allow_descriptors(1300);
    const Server server({"--quiet"});
    const std::size_t before = own_descriptors(server);
    std::deque<Client> clients;
    for (int i = 0; i < 1100; ++i) {
        clients.emplace_back(server);
        clients.back().send("10\n");
    }
    if (stage().serves_others()) {
        for (Client& client : clients) {
            REQUIRE(client.read_line() == "55");
        }
        if (stage().has_process_per_client()) {
            CHECK(server.descendants().size() == 1100);
        } else {
            CHECK(server.descriptors() >= before + 1100);
        }
    }
    // While all are connected. If the stage serves one at a time: one after the other.
    for (; !clients.empty(); clients.pop_front()) {
        if (!stage().serves_others()) {
            REQUIRE(clients.front().read_line() == "55");
        }
    }
    check_descriptors_return_to(before, server);
    if (stage().serves_others()) {
        held();
    } else {
        by_design("one after the other");
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("no descriptors left");

TEST_CASE("without descriptors newcomers wait, and are served when others leave" *
          only_if(stage().serves_others() && !stage().has_process_per_client()) *
          because("one client at a time, or each in a process of its own"))
{
    constexpr rlimit few{32, 32};
    const Server server({}, {.command = {}, .limits = {{RLIMIT_NOFILE, few}}});
    const std::size_t before = own_descriptors(server);
    std::deque<Client> clients;
    for (int i = 0; i < 40; ++i) {
        clients.emplace_back(server);
        clients.back().send("10\n");
    }
    server.err().wait_for("descriptors");
    // If each of several loops has its own queue of newcomers, it is unknown which one comes last.
    const bool in_order = !stage().has_event_loops();
    const auto waits = [](const Client& client) { return !client.readable(); };
    CHECK((in_order ? waits(clients.back()) : std::any_of(clients.begin(), clients.end(), waits)));

    // The server waits without spinning: while this process uses a fifth of a second of CPU time,
    // the server uses hardly any.
    const auto used_before = cpu_time_with_descendants(server);
    burn(milliseconds(200));
    CHECK(cpu_time_with_descendants(server) - used_before < milliseconds(60));
    CHECK(count(server.err().text(), "descriptors") == 1);

    while (!clients.empty()) {
        const auto client = next_served(clients);
        REQUIRE(client->read_line() == "55");
        CHECK((!in_order || clients.size() < 40 || waits(clients.back())));
        clients.erase(client);
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
    held("newcomers wait");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("no threads left");

TEST_CASE("without threads newcomers are refused, and the server keeps serving the others" *
          only_if(stage().has_thread_per_client() && !sanitized) * because("no thread per client"))
{
    constexpr rlim_t mebibyte = 1 << 20;
    constexpr rlimit stack{64 * mebibyte, 64 * mebibyte};
    constexpr rlimit space{1024 * mebibyte, 1024 * mebibyte};
    const Server server({}, {.command = {}, .limits = {{RLIMIT_STACK, stack}, {RLIMIT_AS, space}}});
    std::deque<Client> served;
    for (;;) {
        REQUIRE(served.size() < 20);
        Client client(server);
        client.send("10\n");
        const std::string reply = client.read_line();
        if (reply != "55") {
            CHECK(reply.starts_with("[Error] server full"));
            break;
        }
        served.push_back(std::move(client));
    }
    REQUIRE(served.size() >= 2);
    for (Client& client : served) {
        CHECK(client.ask("20\n") == "6765");
    }
    const auto threads = server.info().threads;
    served.clear();
    CHECK_NOTHROW(
        eventually("a thread has ended", [&] { return server.info().threads < threads; }));
    check_serves(server);
    refused("server full, no more threads");
}

TEST_CASE("beyond the number of threads that its user may have, newcomers are refused" *
          only_if(stage().has_thread_per_client() && user_of_our_own().has_value()) *
          because("no thread per client, or the test is not run by root"))
{
    const Server server({}, {.command = {}, .user = user_of_our_own()});
    // Some things begin with the first client, for example a sanitizer's own thread.
    Client first(server);
    CHECK(first.ask("10\n") == "55");
    const unsigned with_one = server.info().threads;
    first.close();
    eventually("its thread ends", [&] { return server.info().threads == with_one - 1; });
    rlim_t all = server.info().threads;
    for (const ProcessInfo& process : server.descendants()) {
        all += process.threads;
    }
    set_limit(server.pid(), RLIMIT_NPROC, all + 5, user_of_our_own());
    std::deque<Client> served;
    for (int i = 0; i < 5; ++i) {
        served.emplace_back(server);
        REQUIRE(served.back().ask("10\n") == "55");
    }
    CHECK(Client(server).read_line().starts_with("[Error] server full"));
    for (Client& client : served) {
        CHECK(client.ask("20\n") == "6765");
    }
    served.pop_front();
    CHECK_NOTHROW(
        eventually("a thread has ended", [&] { return server.info().threads < with_one + 4; }));
    check_serves(server);
    refused("server full, no more threads");
}

TEST_CASE("beyond the number of processes that its user may have, newcomers are refused" *
          only_if(stage().has_process_per_client() && user_of_our_own().has_value()) *
          because("no process per client, or the test is not run by root"))
{
    const Server server({}, {.command = {}, .user = user_of_our_own()});
    check_serves(server);
    eventually("its process ends", [&] { return server.descendants().empty(); });
    set_limit(server.pid(), RLIMIT_NPROC, server.info().threads + 5, user_of_our_own());
    std::deque<Client> served;
    for (int i = 0; i < 5; ++i) {
        served.emplace_back(server);
        REQUIRE(served.back().ask("10\n") == "55");
    }
    CHECK(Client(server).read_line() == "[Error] server full, no more processes");
    server.err().wait_for("Refused a client: server full, no more processes\n");
    for (Client& client : served) {
        CHECK(client.ask("20\n") == "6765");
    }
    served.pop_front();
    CHECK_NOTHROW(
        eventually("a process has ended", [&] { return server.descendants().size() == 4; }));
    check_serves(server);
    refused("server full, no more processes");
}

TEST_CASE("a pool whose threads can't be started says so in one line" *
          only_if(stage().pool_is_threads() && !stage().green() && user_of_our_own().has_value()) *
          because("no thread per client or in the pool, or the test is not run by root"))
{
    constexpr rlimit few{10, 10};
    Start start{
        .command = stage().command(), .limits = {{RLIMIT_NPROC, few}}, .user = user_of_our_own()};
    start.command.insert(start.command.end(), {"--port", "0", "--workers", "64"});
    start.command.insert(start.command.end(), stage().arguments().begin(),
                         stage().arguments().end());
    const Outcome outcome = run(start);
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(count(outcome.err, "\n") == 1);
    CHECK(outcome.err.find("try fewer --workers") != std::string::npos);
    refused("does not start, and says: try fewer --workers");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("no memory left");

// (Asio has a set for all of its sockets, which an io_context waits for, too: that is not our
// code.)
TEST_CASE(
    "if the kernel has no memory to wait for a client, that client is refused and others are "
    "served" *
    only_if(stage().scheduler_is_ours() && !stage().uses_select() && !sanitized) *
    because("Asio or select waits, or each client has a thread; not with sanitizers"))
{
    const Server server(
        {}, {.command = {},
             .environment = {std::string("LD_PRELOAD=") + RARE_MOMENTS, "MOST_WATCHES=20"}});
    const auto is_served = [](Client& client) {
        try {
            return client.ask("10\n") == "55";
        } catch (const std::exception&) {
            return false;  // it has been refused
        }
    };
    std::deque<Client> served;
    int sent_away = 0;
    for (int i = 0; i < 40; ++i) {
        Client client(server);
        if (is_served(client)) {
            served.push_back(std::move(client));
        } else {
            ++sent_away;
        }
    }
    CHECK(served.size() > 5);
    CHECK(sent_away > 5);
    for (Client& client : served) {
        REQUIRE(client.ask("20\n") == "6765");
    }
    served.clear();
    eventually("there is room again", [&] {
        Client client(server);
        return is_served(client);
    });
    held();
}

bool still_serves(const Server& server)
try {
    check_serves(server);
    return true;
} catch (const std::exception&) {
    return false;
}

// (Sanitizers need terabytes of address space.)
TEST_CASE("without memory it refuses or loses clients, or ends with one line, and never hangs" *
          only_if(!sanitized) * because("not with sanitizers"))
{
    allow_descriptors(1300);
    Server server({"--quiet"});
    const std::size_t before = own_descriptors(server);
    set_limit(server.pid(), RLIMIT_AS, server.address_space());
    std::deque<Client> clients;
    try {
        for (int i = 0; i < 900; ++i) {
            clients.emplace_back(server);
            clients.back().send("10\n");
            clients.back().shutdown_send();
        }
    } catch (const std::system_error&) {
        // The server has ended.
    }
    REQUIRE(!clients.empty());
    if (stage().serves_others()) {
        clients.back().wait_readable();
    }
    int without_reply = 0;
    bool told = false;
    for (; !clients.empty(); clients.pop_front()) {
        const std::string reply = clients.front().read_until_gone();
        without_reply += reply != "55\n" ? 1 : 0;
        told = told || reply.starts_with("[Error] server full");
        REQUIRE((reply.empty() || reply == "55\n" || reply.starts_with("[Error] server full")));
    }
    // The server may also have ended after it had answered all that had come. Only still_serves()
    // notices that.
    set_limit(server.pid(), RLIMIT_AS, RLIM_INFINITY);
    if ((without_reply > 0 && !told) || !still_serves(server)) {
        CHECK(server.wait() == 1);
        CHECK(count(server.err().read_all(), "\n") == 1);
        CHECK(server.err().text().starts_with("Out of memory"));
        check_nothing_is_left(server);
        by_design("ends with one line: out of memory");
        return;
    }
    check_descriptors_return_to(before, server);
    if (told) {
        refused("server full, no more threads");
    } else {
        held("more clients need no more memory");
    }
}

TEST_SUITE_END();
