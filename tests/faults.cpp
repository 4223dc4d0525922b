// faults.cpp -- what may happen to a server, against one stage.
#include "suite.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <set>

using namespace ground::test;
using std::chrono::milliseconds;

namespace {

// A server has to end within 2 s of SIGINT or SIGTERM; the rest is for a busy machine. A server
// that waited for endless_request would need far more.
constexpr std::chrono::seconds time_to_end{2 + 3 * slowdown};

void check_serves(const Server& server)
{
    Client client(server);
    CHECK(client.ask("10\n") == "55");
}

// How many descriptors it needs for itself: as many as with one client, but for that one. (With
// none it may have just begun to listen, and not have opened all that it will.)
std::size_t own_descriptors(const Server& server)
{
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    const std::size_t own = server.descriptors() - 1;
    client.close();
    eventually("the client is forgotten", [&] { return server.descriptors() == own; });
    return own;
}

// All that it has opened for its clients is closed again.
void check_descriptors_return_to(std::size_t before, const Server& server)
{
    CHECK_NOTHROW(
        eventually("all descriptors are closed", [&] { return server.descriptors() == before; }));
    CHECK(server.descriptors() == before);
}

void check_nothing_is_left(const Server& server)
{
    CHECK_NOTHROW(eventually("no process is left", [&] { return server.descendants().empty(); }));
}

void check_port_is_free(const Server& server)
{
    const Server next({"--port", std::to_string(server.port())});
    CHECK(next.port() == server.port());
    check_serves(next);
}

std::size_t count(std::string_view text, std::string_view word)
{
    std::size_t found = 0;
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
        ++found;
    }
    return found;
}

milliseconds own_cpu_time()
{
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1'000'000);
}

milliseconds cpu_time_with_descendants(const Program& program)
{
    milliseconds sum = program.info().cpu;
    for (const ProcessInfo& process : program.descendants()) {
        sum += process.cpu;
    }
    return sum;
}

// Keeps one core busy for a while: the measure for what somebody else uses meanwhile.
void burn(milliseconds cpu_time)
{
    const auto end = own_cpu_time() + cpu_time;
    while (own_cpu_time() < end) {
    }
}

void allow_descriptors(rlim_t number)
{
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    REQUIRE_MESSAGE(limit.rlim_max >= number, "this test needs ulimit -Hn of " << number);
    limit.rlim_cur = std::max(limit.rlim_cur, number);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

}  // namespace

TEST_CASE("clients that reset in the middle of a request are forgotten")
{
    const Server server({"--framing", "line"});
    const std::size_t before = own_descriptors(server);
    for (int i = 0; i < 20; ++i) {
        Client client(server);
        CHECK(client.ask("10\n") == "55");
        client.send("3");
        wait_until_read(server, client);
        client.reset();
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("clients that reset at once, before or after they are accepted, are forgotten")
{
    const Server server;
    const std::size_t before = own_descriptors(server);
    for (int i = 0; i < 100; ++i) {
        Client client(server);
        client.send("1\n");
        client.reset();
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("a client that resets while its number is computed is forgotten")
{
    const LongRequest long_request;
    const Server server;
    const std::size_t before = own_descriptors(server);
    Client client(server);
    client.send(long_request.text());
    wait_until_computing(server);
    client.reset();
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("a client that closes with replies still owed is forgotten")
{
    const LongRequest long_request;
    const Server server;
    const std::size_t before = own_descriptors(server);
    Client client(server);
    std::string requests = long_request.text();
    for (int i = 0; i < 1000; ++i) {
        requests += "3\n";
    }
    client.send(requests);
    wait_until_computing(server);
    client.close();
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("binary garbage is answered with errors or the end, and hurts nobody else")
{
    const Server server({"--framing", "line", "--max-n", "10"});
    const std::size_t before = own_descriptors(server);
    std::uint32_t random = 1;  // Numerical Recipes' generator: the same bytes in every run
    for (int round = 0; round < 20; ++round) {
        std::string bytes;
        for (int i = 0; i < 5000; ++i) {
            random = random * 1664525U + 1013904223U;
            bytes.push_back(static_cast<char>(random >> 24U));
        }
        Client client(server);
        try {
            client.send(bytes);
            client.shutdown_send();
        } catch (const std::system_error&) {
            // A line was too long, so the server has closed.
        }
        const std::string replies = client.read_until_gone();
        CHECK(replies.starts_with("[Error] "));
        CHECK(replies.ends_with("\n"));
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("a worker killed while it computes fails that request only, and is replaced" *
          only_if(stage().has_processes()))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    Client one(server);
    Client two(server);
    for (int round = 0; round < 3; ++round) {
        one.send(endless_request);
        REQUIRE(wait_until_descendants_compute(server, 1).size() == 1);
        two.send(endless_request);
        const auto busy = wait_until_descendants_compute(server, 2);
        REQUIRE(busy.size() == 2);

        for (const pid_t worker : busy) {
            REQUIRE(::kill(worker, SIGKILL) == 0);
        }
        CHECK(one.read_line() == "[Error] worker died");
        CHECK(two.read_line() == "[Error] worker died");
        CHECK(one.ask("10\n") == "55");
        CHECK(two.ask("10\n") == "55");
        CHECK_NOTHROW(wait_for_workers(server, 2));
    }
}

TEST_CASE("a worker killed while another computes does not disturb that one" *
          only_if(stage().has_processes()))
{
    const Server server({"--workers", "2"});
    Client one(server);
    one.send(endless_request);
    const auto first = wait_until_descendants_compute(server, 1);
    REQUIRE(first.size() == 1);
    Client two(server);
    two.send(endless_request);
    auto both = wait_until_descendants_compute(server, 2);
    REQUIRE(both.size() == 2);
    const pid_t second = both[0] == first[0] ? both[1] : both[0];

    REQUIRE(::kill(second, SIGKILL) == 0);
    CHECK(two.read_line() == "[Error] worker died");
    CHECK(two.ask("10\n") == "55");
    CHECK_FALSE(one.readable());
    CHECK(wait_until_descendants_compute(server, 1) == first);
}

TEST_CASE("a helper process killed while nobody computes costs no request" *
          only_if(stage().has_processes()))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    for (std::size_t i = 0; i < 2 * processes_of_pool(2); ++i) {
        // Each in its turn: those of the beginning, and after that those that replaced them.
        const auto now = server.descendants();
        REQUIRE(::kill(now[i % now.size()].pid, SIGKILL) == 0);
        for (int k = 0; k < 10; ++k) {
            REQUIRE(client.ask("10\n") == "55");
        }
        CHECK_NOTHROW(wait_for_workers(server, 2));
        REQUIRE(client.ask("20\n") == "6765");
    }
}

TEST_CASE("a stopped worker delays only what it computes" * only_if(stage().has_processes()))
{
    const LongRequest long_request;
    const Server server({"--workers", "2"});
    Client one(server);
    one.send(long_request.text());
    const auto busy = wait_until_descendants_compute(server, 1);
    REQUIRE(busy.size() == 1);
    REQUIRE(::kill(busy[0], SIGSTOP) == 0);
    Client two(server);
    for (int i = 0; i < 20; ++i) {
        REQUIRE(two.ask("10\n") == "55");
    }
    CHECK_FALSE(one.readable());
    REQUIRE(::kill(busy[0], SIGCONT) == 0);
    CHECK(one.read_line() == long_request.reply());
}

TEST_CASE("1,100 clients: select holds no more than FD_SETSIZE, the surplus is told so" *
          only_if(stage().uses_select()))
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
    for (std::size_t i = 0; i < 1000; ++i) {
        CAPTURE(i);
        REQUIRE(clients[i].ask("10\n") == "55");
    }
    // And when somebody leaves there is room for a newcomer.
    const std::size_t full = server.descriptors();
    clients.pop_front();
    CHECK_NOTHROW(eventually("there is room", [&] { return server.descriptors() < full; }));
    check_serves(server);
}

TEST_CASE("1,100 clients are all served" * only_if(!stage().uses_select()))
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
        CHECK(server.descriptors() >= before + 1100);
    }
    // While all are here, or where only one can be served at a time, one after the other.
    for (; !clients.empty(); clients.pop_front()) {
        if (!stage().serves_others()) {
            REQUIRE(clients.front().read_line() == "55");
        }
    }
    check_descriptors_return_to(before, server);
}

TEST_CASE("without descriptors newcomers wait, and are served when others leave" *
          only_if(stage().serves_others()))
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
    CHECK_FALSE(clients.back().readable());

    // It waits without spinning: while this process uses half a second of CPU time, it uses hardly
    // any.
    const auto used_before = cpu_time_with_descendants(server);
    burn(milliseconds(500));
    CHECK(cpu_time_with_descendants(server) - used_before < milliseconds(100));
    CHECK(count(server.err().text(), "descriptors") == 1);

    CHECK(clients.front().read_line() == "55");
    CHECK_FALSE(clients.back().readable());
    clients.pop_front();
    for (; !clients.empty(); clients.pop_front()) {
        REQUIRE(clients.front().read_line() == "55");
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
}

// A thread needs address space for its stack, so a limit on that is one on threads. (Not with
// sanitizers, which need terabytes of it.)
TEST_CASE("without threads newcomers are refused, and the others are served on" *
          only_if(stage().has_thread_per_client() && !sanitized))
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
}

TEST_CASE("a client that sends and never reads costs bounded memory")
{
    const Server server({"--quiet"});
    const std::size_t before = own_descriptors(server);
    {
        Client first(server);
        CHECK(first.ask("10\n") == "55");
    }
    const std::size_t memory_before = server.memory();
    {
        Client flood(server.port(), 4096);
        std::string requests;
        for (int i = 0; i < 10'000; ++i) {
            requests += "x\n";
        }
        // Until the server has not read on for a while, or has read far too much.
        std::size_t sent = 0;
        int pauses = 0;
        while (pauses < 20 && sent < 64'000'000) {
            const std::size_t size = flood.send_some(requests);
            sent += size;
            pauses = size == 0 ? pauses + 1 : 0;
            if (size == 0) {
                std::this_thread::sleep_for(milliseconds(10));
            }
        }
        CAPTURE(sent);
        CHECK(server.memory() < memory_before + 16'000'000 * slowdown);
        if (stage().serves_others()) {
            check_serves(server);
        }
        flood.reset();
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
}

TEST_CASE("SIGTERM and SIGINT end it with clients connected, and leave nothing behind")
{
    for (const int number : {SIGTERM, SIGINT}) {
        CAPTURE(number);
        Server server;
        Client served(server);
        CHECK(served.ask("10\n") == "55");
        const Client silent(server);
        server.signal(number);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        CHECK(served.read_until_gone().empty());
        check_nothing_is_left(server);
        check_port_is_free(server);
    }
}

TEST_CASE("SIGTERM and SIGINT end it while it computes, and leave nothing behind")
{
    for (const int number : {SIGTERM, SIGINT}) {
        CAPTURE(number);
        Server server;
        Client client(server);
        client.send(endless_request);
        wait_until_computing(server);
        server.signal(number);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        check_nothing_is_left(server);
        check_port_is_free(server);
    }
}

TEST_CASE("Ctrl-C reaches the whole process group and ends it in silence")
{
    Server server({"--quiet"});
    Client client(server);
    client.send(endless_request);
    wait_until_computing(server);
    server.signal_group(SIGINT);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    check_nothing_is_left(server);
    CHECK(server.err().read_all().empty());
}

TEST_CASE("SIGTERM lets it finish what it is computing" * only_if(stage().finishes_when_stopped()))
{
    const LongRequest long_request;
    Server server;
    Client client(server);
    client.send(long_request.text());
    wait_until_computing(server);
    server.signal(SIGTERM);
    CHECK(client.read_line() == long_request.reply());
    CHECK(client.read_all().empty());
    CHECK(server.wait(Deadline(time_to_end)) == 0);
}

TEST_CASE("SIGKILL leaves nothing behind")
{
    for (const bool computing : {false, true}) {
        CAPTURE(computing);
        Server server;
        Client client(server);
        CHECK(client.ask("10\n") == "55");
        if (computing) {
            client.send(endless_request);
            wait_until_computing(server);
        }
        CHECK(server.descendants().empty() == !stage().has_processes());
        server.signal(SIGKILL);
        CHECK(server.wait() == -SIGKILL);
        CHECK(client.read_until_gone().empty());
        check_nothing_is_left(server);
        check_port_is_free(server);
    }
}
