// many.cpp -- 10,000 clients at once, against a stage that promises to hold them.
#include "common/base/limits.hpp"
#include "suite.hpp"

#include <signal.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <linux/sockios.h>
#include <string>

using namespace ground::test;

namespace {

constexpr std::size_t promised = 10'000;

#ifdef __OPTIMIZE__
constexpr bool optimised = true;
#else
constexpr bool optimised = false;
#endif

// As many clients as are promised, or as fit. (Under a sanitizer each costs ten times as much.)
std::size_t many()
{
    constexpr std::size_t own = 64;  // what the test itself has open
    const std::size_t limit = ground::raise_descriptor_limit();
    REQUIRE(limit > 2 * own);
    const std::size_t number = std::min(sanitized ? promised / 10 : promised, limit - own);
    if (!sanitized && number < promised) {
        MESSAGE("ulimit -Hn is " << limit << ": only " << number << " clients instead of "
                                 << promised);
    }
    return number;
}

// Connects this many and lets each ask once, so that the server has accepted them all.
std::deque<Client> connect(const Server& server, std::size_t number)
{
    std::deque<Client> clients;
    std::size_t answered = 0;
    while (answered < number) {
        // A thousand at a time: the backlog has room for them, whatever the server is doing.
        const std::size_t next = std::min(answered + 1000, number);
        while (clients.size() < next) {
            clients.emplace_back(server).send("10\n");
        }
        for (; answered < next; ++answered) {
            CAPTURE(answered);
            REQUIRE(clients[answered].read_line() == "55");
        }
    }
    return clients;
}

// Waits until the server's sockets have everything that the clients have sent. On a busy machine
// the kernel may delay that, even on loopback. A server that is told to stop need not answer what
// has not arrived.
void wait_until_delivered(const std::deque<Client>& clients)
{
    eventually("all is delivered", [&] {
        return std::all_of(clients.begin(), clients.end(), [](const Client& client) {
            int under_way = 0;
            return ::ioctl(client.native_handle(), SIOCOUTQ, &under_way) == 0 && under_way == 0;
        });
    });
}

}  // namespace

TEST_CASE("10,000 clients are held, all are answered, and all are forgotten when they leave")
{
    const std::size_t number = many();
    const Server server({"--quiet"});
    auto first = connect(server, 1);
    const std::size_t own = server.descriptors() - 1;
    const std::size_t memory = server.memory();

    std::deque<Client> clients = connect(server, number - 1);
    CHECK(server.descriptors() == own + number);
    const auto check_memory = [&](std::size_t limit) {
        const std::size_t each = (server.memory() - memory) / clients.size();
        MESSAGE(each << " bytes for each of " << number << " clients");
        CHECK((sanitized || !optimised || each <= limit));
    };
    // A stack consists of pages. Each stack of 06b needs two, beside what is on the heap. A wait
    // that can be ended costs more.
    const std::size_t more = stage().is("06b_greenlets")  ? 8192
                             : stage().has_limits()       ? 900
                             : stage().is("07c_io_uring") ? 300
                                                          : 0;
    check_memory(1600 + more);
    for (Client& client : clients) {
        client.send("20\n");
    }
    for (Client& client : clients) {
        REQUIRE(client.read_line() == "6765");
    }
    check_memory(1800 + more);  // on a busy machine all 10,000 have waited in the pool's queue
    clients.clear();
    CHECK_NOTHROW(eventually("all are forgotten", [&] { return server.descriptors() == own + 1; }));
    CHECK(first.front().ask("10\n") == "55");
    CHECK(server.err().text().empty());
}

TEST_CASE(
    "SIGTERM while 10,000 ask, some for long requests: all is answered, as far as there is time" *
    only_if(stage().finishes_when_stopped()))
{
    const LongRequest long_request;
    Server server({"--quiet"});
    std::deque<Client> clients = connect(server, many());
    clients.front().send(long_request.text());
    for (auto client = clients.begin() + 1; client != clients.end(); ++client) {
        client->send("10\n11\n12\n");
    }
    wait_until_delivered(clients);
    const auto start = std::chrono::steady_clock::now();
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    const auto taken = std::chrono::steady_clock::now() - start;
    CHECK(server.descendants().empty());
    // On a machine that is too busy the server is cut off, and so are the replies. But if the
    // server has ended by itself before that, nothing may be missing.
    const bool all = taken < time_until_cut_off;
    MESSAGE(fmt::format("{} ms to the end{}", taken / std::chrono::milliseconds(1),
                        all ? "" : ": cut off"));
    const auto check = [all](const std::string& replies, const std::string& expected) {
        CAPTURE(replies);
        REQUIRE((all ? replies == expected : expected.starts_with(replies)));
    };
    check(clients.front().read_until_gone(), long_request.reply() + "\n");
    for (auto client = clients.begin() + 1; client != clients.end(); ++client) {
        CAPTURE(client - clients.begin());
        check(client->read_until_gone(), "55\n89\n144\n");
    }
    CHECK(server.err().read_all().empty());
}

TEST_CASE("SIGTERM while 10,000 ask, some for endless requests: it still ends in time")
{
    Server server({"--quiet"});
    std::deque<Client> clients = connect(server, many());
    clients.front().send(endless_request);
    wait_until_computing(server);
    for (auto client = clients.begin() + 1; client != clients.end(); ++client) {
        client->send("10\n");
    }
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    CHECK(server.descendants().empty());
    CHECK(clients.front().read_until_gone().empty());
    // The server is cut off, so the number of replies depends on the machine.
    for (auto client = clients.begin() + 1; client != clients.end(); ++client) {
        CAPTURE(client - clients.begin());
        const std::string replies = client->read_until_gone();
        const bool may_be_answered = !stage().blocks_while_computing() && replies == "55\n";
        REQUIRE((replies.empty() || may_be_answered));
    }
    const Server next({"--quiet", "--port", std::to_string(server.port())});
    CHECK(next.port() == server.port());
}

TEST_CASE("if fewer fit, it says at the start how many, and what to type")
{
    constexpr rlimit few{64, 64};
    const Server::Arguments one_worker{"--quiet", "--workers", "1"};
    const Server server(stage().has_pool() ? one_worker : Server::Arguments(),
                        {.command = {}, .limits = {{RLIMIT_NOFILE, few}}});
    server.err().wait_for("\n");
    const std::string line = server.err().text();
    CAPTURE(line);
    CHECK(line.starts_with(fmt::format("{}: room for ", stage().name())));
    CHECK(line.find("ulimit -n is 64") != std::string::npos);
    CHECK(line.find("sudo prlimit --pid $$ --nofile=11000") != std::string::npos);
    CHECK(line.find('\n') == line.size() - 1);

    // This many do fit.
    const std::size_t room = std::stoul(line.substr(line.find("room for ") + 9));
    CHECK(room >= 40);
    CHECK(connect(server, room).size() == room);
    CHECK(server.err().text().find("No descriptors left") == std::string::npos);
}
