// clients.cpp -- what a single client may do to a server and to the other clients.
#include "support.hpp"
#include "tests/promises/promise.hpp"

#include <fmt/format.h>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <string>
#include <vector>

using namespace ground::test;
using std::chrono::milliseconds;

namespace {

// Takes just enough CPU time to be seen.
const LongRequest& long_request()
{
    static const LongRequest request(milliseconds(100));
    return request;
}

// A point of a conversation at which its client may end it.
struct Point {
    std::string_view name;
    // Brings a new client there.
    std::function<void(const Server&, Client&)> reach;
    // The replies that the server owes the client from there on.
    std::string owed;
    // The server is stopped, because it would otherwise go on to the next point.
    bool stopped = false;
};

// For servers with --framing line.
std::vector<Point> points()
{
    const auto ask = [](std::string text) {
        return [text = std::move(text)](const Server& server, Client& client) {
            client.send(text);
            wait_until_read(server, client);
        };
    };
    return {
        {"before accept", [](const Server&, Client&) {}, "", true},
        {"after connect", ask(""), ""},
        {"in the middle of a request", ask("3"), "2\n"},
        {"with a request that the server has not read",
         [](const Server& server, Client& client) {
             CHECK(client.ask("3\n") == "2");
             server.stop();
             client.send("10\n");
         },
         "55\n", true},
        {"while its number is computed",
         [](const Server& server, Client& client) {
             wait_until_computing(server, [&] { client.send(long_request().text()); });
         },
         long_request().reply() + "\n"},
        {"with a reply that it has not read",
         [](const Server&, Client& client) {
             client.send("10\n");
             client.wait_readable();
         },
         "55\n"},
        {"between replies",
         [](const Server& server, Client& client) {
             std::string requests = long_request().text();
             for (int i = 0; i < 1000; ++i) {
                 requests += "3\n";
             }
             wait_until_computing(server, [&] {
                 client.send("4\n" + requests);
                 CHECK(client.read_line() == "3");
             });
         },
         [] {
             std::string replies = long_request().reply() + "\n";
             for (int i = 0; i < 1000; ++i) {
                 replies += "2\n";
             }
             return replies;
         }()},
        {"after it has half-closed",
         [](const Server& server, Client& client) {
             CHECK(client.ask("3\n") == "2");
             server.stop();
             client.send("10\n");
             client.shutdown_send();
         },
         "55\n", true},
    };
}

void at_every_point(const std::function<void(const Server&, Client&, const Point&)>& end)
{
    const Server server({"--framing", "line"});
    const std::size_t before = own_descriptors(server);
    for (const Point& point : points()) {
        CAPTURE(point.name);
        if (point.name == "before accept") {
            server.stop();
        }
        Client client(server);
        point.reach(server, client);
        end(server, client, point);
        check_serves(server);
        check_descriptors_return_to(before, server);
    }
}

}  // namespace

TEST_SUITE_BEGIN("reset at every point");

TEST_CASE(
    "a client that resets, at any point of its conversation, is forgotten" *
    promise(
        {.id = "faults/reset",
         .page = "docs/robustness.md",
         .needs = Needs::process,
         .after = "process/descriptors",
         .help =
             "a reset is an error of recv() or send(): it ends this conversation and no other"}))
{
    at_every_point([](const Server& server, Client& client, const Point& point) {
        client.reset();
        if (point.stopped) {
            server.resume();
        }
    });
    held();
}

TEST_CASE("clients that reset at once, before or after they are accepted, are forgotten" *
          promise({.id = "faults/reset-at-once",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/descriptors"}))
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
    held();
}

TEST_CASE("the request of a client that has gone is still computed to its end")
{
    // CPU time shows it, however busy the machine is: most of the computing was still to be done
    // when its client left.
    const LongRequest long_one(milliseconds(250));
    Server::Arguments arguments;
    if (stage().has_pool()) {
        arguments = {"--workers", "1"};
    }
    const Server server(arguments);
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    const auto before = cpu_time_with_descendants(server);
    wait_until_computing(server, [&] { client.send(long_one.text()); });
    client.reset();
    if (stage().blocks_while_computing()) {
        check_serves(server);
        CHECK(cpu_time_with_descendants(server) - before >= milliseconds(150));
        by_design("others wait until its number has been computed");
    } else {
        if (!stage().has_pool()) {
            check_serves(server);
        }
        CHECK_NOTHROW(eventually("it has been computed", [&] {
            return cpu_time_with_descendants(server) - before >= milliseconds(150);
        }));
        check_serves(server);
        held("its number is still computed to the end");
    }
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("close with replies owed");

TEST_CASE("a client that closes with replies still owed is forgotten" *
          promise({.id = "faults/close-with-replies-owed",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/descriptors",
                   .help = "send() to a client that has gone raises SIGPIPE, which ends the "
                           "process unless it is ignored",
                   .stories = "leaves"}))
{
    const Server server;
    const std::size_t before = own_descriptors(server);
    std::string requests;
    for (int i = 0; i < 1000; ++i) {
        requests += "3\n";
    }
    // The client has gone before the server sees it. The first reply is refused, and the second one
    // raises SIGPIPE.
    server.stop();
    {
        Client gone(server);
        gone.send(requests);
    }
    server.resume();
    check_serves(server);
    check_descriptors_return_to(before, server);
    // Between a request and its reply.
    Client client(server);
    requests = long_request().text() + requests;
    wait_until_computing(server, [&] { client.send(requests); });
    client.close();
    check_serves(server);
    check_descriptors_return_to(before, server);
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("a close with bytes unread");

TEST_CASE("the last reply arrives although the client is still sending" *
          promise({.id = "faults/bytes-unread",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .needs = Needs::process,
                   .after = "protocol/lingering-close"}))
{
    const Server server;
    const std::size_t before = own_descriptors(server);
    Client endless(server);
    endless.send("3\n" + std::string(256 << 10, '1'));  // the server reads hardly any of it
    // This client has read no byte yet. Other clients are still served.
    if (stage().serves_others()) {
        check_serves(server);
    }
    const std::string replies = endless.read_all();  // the end, and no reset
    CHECK(replies.starts_with("2\n[Error] line longer than"));
    CHECK(count(replies, "\n") == 2);
    endless.close();
    check_serves(server);
    check_descriptors_return_to(before, server);
    held("the last reply arrives");
}

TEST_CASE("each of 50 clients whose line is too long gets its last reply")
{
    const Server server;
    const std::size_t before = own_descriptors(server);
    for (int i = 0; i < 50; ++i) {
        CAPTURE(i);
        Client endless(server);
        endless.send(std::string(150, '1'));
        REQUIRE(endless.read_all().starts_with("[Error] line longer than"));
        // The server still reads from this client. If it did not, a reset would come at once.
        endless.send("2");
        pollfd reset{endless.native_handle(), 0, 0};
        REQUIRE(::poll(&reset, 1, 0) == 0);
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
    held("the last reply arrives");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("half-close at every point");

TEST_CASE("a client that half-closes, at any point, still gets all replies that it is owed" *
          promise({.id = "faults/half-close",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "protocol/half-close"}))
{
    at_every_point([](const Server& server, Client& client, const Point& point) {
        if (point.name != "after it has half-closed") {
            client.shutdown_send();
        }
        if (point.stopped) {
            server.resume();
        }
        CHECK(client.read_all() == point.owed);
    });
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("garbage");

TEST_CASE("binary garbage gets error replies, and does not affect other clients" *
          promise({.id = "faults/garbage",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/descriptors"}))
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
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow reader");

TEST_CASE("a client that reads its replies byte by byte gets all of them, and others are served" *
          promise({.id = "faults/slow-reader",
                   .page = "docs/robustness.md",
                   .needs = Needs::process | Needs::model,
                   .after = "process/descriptors",
                   .help = "send() may send less than it was given, or wait: what do other clients "
                           "do meanwhile?"}))
{
    const Server server({"--quiet", "--framing", "line"});
    const std::size_t before = own_descriptors(server);
    Client slow(server.port(), 4096);
    constexpr int requests = 100'000;
    std::string text;
    for (int i = 0; i < requests; ++i) {
        text += "x\n";
    }
    slow.send(text);
    slow.shutdown_send();
    Others others(server);
    std::string reply;
    for (char byte = 0; byte != '\n'; reply += byte) {
        byte = slow.read_byte();
        others.check_now();
    }
    CHECK(reply.starts_with("[Error] not a number"));
    std::size_t received = reply.size();
    bool right = true;
    for (; received < 3000; ++received) {
        right = right && slow.read_byte() == reply[received % reply.size()];
        if (received % 100 == 0) {
            others.check_now();
        }
    }
    // By now the server is stuck: there are requests that it does not read, because there is no
    // room for replies. (A server in another language may have read all of them into its memory.)
    const auto end = server_end(server, slow);
    CHECK((stage().foreign() != nullptr || (end && end->unread > 0)));
    // The server waits for room and does not spin: in the end it uses hardly any CPU time while
    // this process uses 100 ms. (A slow server has to read until it is stuck first.)
    eventually("the server waits for room", [&] {
        const auto used_before = cpu_time_with_descendants(server);
        burn(milliseconds(100));
        return sanitized || cpu_time_with_descendants(server) - used_before < milliseconds(30);
    });
    slow.grow_receive_buffer();  // the rest may come faster
    for (const char byte : slow.read_all()) {
        right = right && byte == reply[received % reply.size()];
        ++received;
    }
    CHECK_MESSAGE(right, "a reply was wrong");
    CHECK_MESSAGE(received == requests * reply.size(),
                  fmt::format("{} bytes of replies came, {} were promised", received,
                              requests * reply.size()));
    others.check_when_it_has_left();
    check_descriptors_return_to(before, server);
    others.report();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("flood that never reads");

TEST_CASE("a client that sends and never reads costs bounded memory" *
          promise({.id = "faults/flood",
                   .page = "docs/robustness.md",
                   .needs = Needs::process | Needs::model,
                   .after = "process/descriptors",
                   .help = "read no more requests while replies wait to be sent"}))
{
    const Server server({"--quiet"});
    const std::size_t before = own_descriptors(server);
    {
        Client first(server);
        CHECK(first.ask("10\n") == "55");
    }
    // A process for each client has memory of its own, which is no part of the flood.
    Client flood(server.port(), 4096);
    CHECK(flood.ask("10\n") == "55");
    Others others(server);
    others.check_now();
    const std::size_t memory_before = server.memory();
    std::string requests;
    for (int i = 0; i < 10'000; ++i) {
        requests += "x\n";
    }
    // Sends until there is no room for 200 ms (the server reads no further), or until the server
    // has read far too much.
    std::size_t sent = 0;
    std::size_t memory = memory_before;
    pollfd room{flood.native_handle(), POLLOUT, 0};
    while (::poll(&room, 1, 200) == 1 && sent < 64'000'000) {
        sent += flood.send_some(requests);
        memory = std::max(memory, server.memory());
    }
    CAPTURE(sent);
    CHECK_MESSAGE(sent < 64'000'000,
                  fmt::format("it read {} MB of a client that read no reply", sent / 1'000'000));
    CHECK_MESSAGE(memory < memory_before + 16'000'000 * slowdown,
                  fmt::format("it needs {} MB more since a client sends and does not read",
                              (memory - memory_before) / 1'000'000));
    others.check_now();
    flood.reset();
    others.check_when_it_has_left();
    check_descriptors_return_to(before, server);
    others.report();
    measured(fmt::format("{} kB", (memory - memory_before) / 1000));
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("never reads, under a time limit");

TEST_CASE("a client that never reads its replies is forgotten when its time limit is over" *
          only_if(stage().has_limits()) * because("has no time limits"))
{
    const Server server({"--idle-timeout", "200ms"});
    const std::size_t before = own_descriptors(server);
    Client flood(server.port(), 4096);
    std::string requests;
    for (int i = 0; i < 10'000; ++i) {
        requests += "x\n";
    }
    eventually("the server gives the client up", [&] {
        pollfd state{flood.native_handle(), POLLOUT, 0};
        if (::poll(&state, 1, 10) == 1 && (state.revents & (POLLERR | POLLHUP)) == 0) {
            flood.send_some(requests);
        }
        return server.err().text().find("Lost a client: Connection timed out") != std::string::npos;
    });
    check_serves(server);
    flood.close();
    check_descriptors_return_to(before, server);
    held("it is closed when its time limit is over");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("an urgent byte");

TEST_CASE("an urgent byte does not count as leaving: the reply comes, and the conversation goes on")
{
    const Server server;
    const std::size_t before = own_descriptors(server);
    {
        Client client(server);
        wait_until_computing(server, [&] { client.send(long_request().text()); });
        REQUIRE(::send(client.native_handle(), "!", 1, MSG_OOB | MSG_NOSIGNAL) == 1);
        CHECK(client.read_line() == long_request().reply());
        CHECK(client.ask("10\n") == "55");
        client.reset();
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("slow writer in a crowd");

TEST_CASE(
    "a client that writes a byte at a time and a busy crowd do not disturb each other" *
    promise({.id = "faults/slow-writer", .page = "docs/robustness.md", .needs = Needs::model}))
{
    constexpr std::size_t crowd_size = 16;
    const Server server({"--framing", "line"});
    Client slow(server);
    begin_with_a_line(slow);
    std::deque<Client> crowd;
    for (std::size_t i = 0; i < crowd_size; ++i) {
        crowd.emplace_back(server);
    }
    const auto all_ask = [&] {
        for (Client& client : crowd) {
            client.send("20\n");
        }
    };
    const auto all_are_answered = [&] {
        for (Client& client : crowd) {
            REQUIRE(client.read_line() == "6765");
        }
    };
    if (!stage().serves_others()) {
        all_ask();
    }
    for (const char byte : std::string_view("  30  \r\nhello\n+7\n00010\n")) {
        slow.send({&byte, 1});
        wait_until_read(server, slow);
        if (stage().serves_others()) {
            all_ask();
            all_are_answered();
        } else {
            REQUIRE(std::none_of(crowd.begin(), crowd.end(), std::mem_fn(&Client::readable)));
        }
    }
    CHECK(slow.read_line() == "832040");
    CHECK(slow.read_line().starts_with("[Error] not a number"));
    CHECK(slow.read_line() == "13");
    CHECK(slow.read_line() == "55");
    CHECK_FALSE(slow.readable());
    slow.close();
    if (stage().serves_others()) {
        held();
        return;
    }
    for (; !crowd.empty(); crowd.pop_front()) {
        REQUIRE(crowd.front().read_line() == "6765");
    }
    by_design("others wait until it leaves");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("connection churn");

TEST_CASE("1,000 clients and more that come and go leave nothing behind" *
          promise({.id = "faults/churn",
                   .page = "docs/robustness.md",
                   .needs = Needs::process,
                   .after = "process/descriptors"}))
{
    const int rounds = sanitized || stage().foreign() != nullptr ? 10 : 100;
    constexpr int clients_per_round = 100;
    const Server server({"--quiet", "--framing", "line"});
    const std::size_t before = own_descriptors(server);
    unsigned threads_before = 0;
    std::size_t memory_before = 0;
    for (int round = 0; round < rounds; ++round) {
        // Every tenth round comes and goes before the server accepts any of it.
        const bool unseen = round % 10 == 5;
        if (unseen) {
            server.stop();
        }
        for (int i = 0; i < clients_per_round; ++i) {
            Client client(server);
            if (i % 3 == 1) {
                client.send("10\n1");
            }
            if (i % 5 == 2) {
                client.reset();
            }
        }
        if (unseen) {
            server.resume();
        }
        check_serves(server);  // and so the server has accepted all that came before
        if (round == rounds / 5) {
            // By now the server has everything that it keeps for reuse: heap, and stacks of
            // threads.
            check_descriptors_return_to(before, server);
            threads_before = server.info().threads;
            memory_before = server.memory();
        }
    }
    check_descriptors_return_to(before, server);
    // A runtime such as Go's keeps threads for reuse, and starts some more now and then.
    const unsigned spare = stage().foreign() != nullptr ? clients_per_round : 0;
    CHECK_NOTHROW(eventually(
        "the threads end", [&] { return server.info().threads <= threads_before + spare; },
        [&] {
            return fmt::format(
                "it had {} threads when all clients had left, and {} after {} of "
                "{} clients",
                server.info().threads, threads_before, (rounds / 5 + 1) * clients_per_round,
                rounds * clients_per_round);
        }));
    // A sanitizer keeps freed memory for a while, to catch its use. So does a garbage collector.
    if (!sanitized && stage().foreign() == nullptr) {
        CHECK(server.memory() < memory_before + 1'000'000);
        measured(fmt::format("{:+} kB", (static_cast<std::int64_t>(server.memory()) -
                                         static_cast<std::int64_t>(memory_before)) /
                                            1000));
    }
    held();
}

TEST_SUITE_END();
