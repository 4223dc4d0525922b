// protocol.cpp -- the contract of docs/protocol.md, against any server.
#include "promise.hpp"
#include "tests/suite.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <string>

using namespace ground::test;
using std::chrono::milliseconds;

TEST_CASE("each line gets one reply" * promise({.id = "protocol/reply-per-line",
                                                .page = "docs/protocol.md#requests-and-replies"}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    CHECK(client.ask("20\n") == "6765");
    CHECK(client.ask("11\n") == "89");
}

TEST_CASE("one client after another is served" *
          promise({.id = "protocol/one-after-another", .page = "docs/01_blocking.md"}))
{
    const Server server;
    for (int i = 0; i < 20; ++i) {
        Client client(server);
        REQUIRE(client.ask("10\n") == "55");
    }
}

TEST_CASE("what one client has begun is no part of what the next one sends" *
          promise({.id = "protocol/own-lines",
                   .page = "docs/protocol.md#framing-where-does-a-request-end",
                   .help = "each connection needs a buffer of its own"}))
{
    const Server server({"--framing", "line"});
    for (const bool resets : {true, false}) {
        CAPTURE(resets);
        Client client(server);
        begin_with_a_line(client);
        client.send("3");
        wait_until_read(server, client);
        if (resets) {
            client.reset();
        } else {
            client.close();
        }
        Client next(server);
        CHECK(next.ask("10\n") == "55");
    }
}

TEST_CASE("right answers" * promise({.id = "protocol/right-answers",
                                     .page = "docs/protocol.md#requests-and-replies"}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("1\n") == "1");
    CHECK(client.ask("2\n") == "1");
    CHECK(client.ask("3\n") == "2");
    CHECK(client.ask("10\n") == "55");
    CHECK(client.ask("30\n") == "832040");
    CHECK(client.ask("0\n") == "1");
    CHECK(client.ask("007\n") == "13");
    CHECK(client.ask("+7\n") == "13");
}

TEST_CASE("replies come in the order of the requests, also if a later one takes less time" *
          promise({.id = "protocol/order",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .help = "several requests of one client may be computed at the same time, but "
                           "replies have to wait for those before them"}))
{
    const LongRequest long_request(milliseconds(20));
    const Server server;
    Client client(server);
    for (int i = 0; i < 2; ++i) {
        client.send(long_request.text() + "10\n" + long_request.text() + "11\n");
    }
    for (int i = 0; i < 2; ++i) {
        REQUIRE(client.read_line() == long_request.reply());
        REQUIRE(client.read_line() == "55");
        REQUIRE(client.read_line() == long_request.reply());
        REQUIRE(client.read_line() == "89");
    }
}

TEST_CASE(
    "a client that half-closes gets every reply that it is owed, and then the end" *
    promise(
        {.id = "protocol/half-close",
         .page = "docs/protocol.md#order-pipelining-and-half-close",
         .after = "protocol/order",
         .help =
             "the end of the input is not the end of the conversation: replies are still owed"}))
{
    const Server server;
    Client client(server);
    client.send("25\n3\nx\n10\n");
    client.shutdown_send();
    CHECK(client.read_line() == "75025");
    CHECK(client.read_line() == "2");
    CHECK(client.read_line().starts_with("[Error] "));
    CHECK(client.read_all() == "55\n");
}

TEST_CASE("line framing: an unterminated number waits for its end" *
          promise({.id = "protocol/waits-for-line-end",
                   .page = "docs/protocol.md#framing-where-does-a-request-end",
                   .help = "keep what stands behind the last line end until the rest has come"}))
{
    const Server server({"--framing", "line"});
    Client client(server);
    begin_with_a_line(client);
    client.send("3");
    wait_until_read(server, client);
    client.send("0");
    wait_until_read(server, client);
    CHECK(client.ask("\n") == "832040");
    // The same behind a complete line, in one packet.
    CHECK(client.ask("10\n3") == "55");
    wait_until_read(server, client);
    CHECK(client.ask("0\n") == "832040");
}

TEST_CASE(
    "an unterminated last line is a request" *
    promise({.id = "protocol/unterminated-last-line",
             .page = "docs/protocol.md#order-pipelining-and-half-close",
             .after = "protocol/half-close",
             .help = "at the end of the input, look at what stands behind the last line end"}))
{
    for (const char* framing : {"auto", "line", "chunk"}) {
        CAPTURE(framing);
        const Server server({"--framing", framing});
        Client client(server);
        CHECK(client.converse("3\n30") == "2\n832040\n");
    }
}

TEST_CASE("blanks around a number do not matter" *
          promise({.id = "protocol/blanks", .page = "docs/protocol.md#requests-and-replies"}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("  30\n") == "832040");
    CHECK(client.ask("30  \n") == "832040");
    CHECK(client.ask(" \t30\t \r\n") == "832040");
}

TEST_CASE("bad input gets an error that says why, and the connection stays open" *
          promise({.id = "protocol/errors", .page = "docs/protocol.md#requests-and-replies"}))
{
    struct Bad {
        std::string input;
        std::string_view reason;
    };
    const std::array<Bad, 17> inputs{{
        {"hello", "not a number"},
        {"1.5", "not a number"},
        {"1e3", "not a number"},
        {"0x10", "not a number"},
        {"1 2", "not a number"},
        {"30!", "not a number"},
        {"-", "not a number"},
        {"+", "not a number"},
        {"--5", "not a number"},
        {"+-5", "not a number"},
        {std::string("3\0", 2), "not a number"},
        {"\xff\xfe", "not a number"},
        {"-1", "negative"},
        {"-99999999999999999999999", "negative"},
        {"51", "50"},
        {"4294967297", "50"},
        {"99999999999999999999999", "50"},
    }};
    const Server server;
    Client client(server);
    for (const Bad& bad : inputs) {
        CAPTURE(bad.input);
        const std::string reply = client.ask(bad.input + "\n");
        CHECK(reply.starts_with("[Error] "));
        CHECK_MESSAGE(reply.find(bad.reason) != std::string::npos,
                      fmt::format("its error does not say \"{}\": {}", bad.reason, reply));
        CHECK(client.ask("20\n") == "6765");
    }
}

TEST_CASE("a line ends with LF, CRLF or CR, in any mixture" *
          promise({.id = "protocol/line-ends",
                   .page = "docs/protocol.md#requests-and-replies",
                   .after = "protocol/half-close"}))
{
    const Server server({"--framing", "line"});
    Client client(server);
    CHECK(client.converse("1\n3\r\n4\r5\n6\r\n7\r") == "1\n2\n3\n5\n8\n13\n");
}

TEST_CASE("blank lines are ignored" * promise({.id = "protocol/blank-lines",
                                               .page = "docs/protocol.md#requests-and-replies",
                                               .after = "protocol/half-close"}))
{
    const Server server;
    Client client(server);
    CHECK(client.converse("\n\r\n \n\t\r\r30\n\n\n \r\n1\n\n") == "832040\n1\n");
}

TEST_CASE("line framing: a request may come one byte at a time" *
          promise({.id = "protocol/byte-by-byte",
                   .page = "docs/protocol.md#framing-where-does-a-request-end",
                   .help = "recv() returns what has come, which may be a part of a line"}))
{
    const Server server({"--framing", "line"});
    Client client(server);
    begin_with_a_line(client);
    for (const char byte : std::string_view("30\r\n-1\r7\n")) {
        client.send({&byte, 1});
        wait_until_read(server, client);
    }
    CHECK(client.read_line() == "832040");
    CHECK(client.read_line().starts_with("[Error] "));
    CHECK(client.read_line() == "13");
}

TEST_CASE("auto framing: numbers without line ends are answered" *
          promise({.id = "protocol/talks-clients",
                   .page = "docs/protocol.md#framing-where-does-a-request-end",
                   .needs = Needs::guesses}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("30") == "832040");
    CHECK(client.ask("3") == "2");
    CHECK(client.ask("1") == "1");
}

TEST_CASE("auto framing: the first line end of a connection switches to lines" *
          promise({.id = "protocol/first-line-end-decides",
                   .page = "docs/protocol.md#framing-where-does-a-request-end",
                   .needs = Needs::guesses}))
{
    const Server server;
    Client client(server);
    CHECK(client.ask("3") == "2");
    CHECK(client.ask("7\n") == "13");
    client.send("3");
    wait_until_read(server, client);
    CHECK(client.ask("0\n") == "832040");
    // For each connection by itself.
    client.close();
    Client next(server);
    CHECK(next.ask("3") == "2");
}

TEST_CASE("a thousand requests in one segment are answered in their order" *
          promise({.id = "protocol/pipelining",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .after = "protocol/order",
                   .help = "one recv() may return many requests"}))
{
    const std::array<std::string, 5> numbers{"1", "3", "10", "x", "7"};
    std::string requests;
    for (std::size_t i = 0; i < 1000; ++i) {
        requests += numbers[i % numbers.size()] + "\n";
    }
    const Server server;
    Client client(server);
    client.send(requests);
    for (std::size_t i = 0; i < 1000; i += numbers.size()) {
        REQUIRE(client.read_line() == "1");
        REQUIRE(client.read_line() == "2");
        REQUIRE(client.read_line() == "55");
        REQUIRE(client.read_line().starts_with("[Error] "));
        REQUIRE(client.read_line() == "13");
    }
    CHECK(client.ask("30\n") == "832040");
}

TEST_CASE("an endless stream of requests is answered while it comes" *
          promise({.id = "protocol/endless-stream",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .after = "protocol/half-close",
                   .help = "send replies while requests still come, or both sides wait for room"}))
{
    // If nothing is waited for in between, each request may make the stack grow. The pool takes
    // longer. Through a broker, on a busy machine, it takes longer than this test should, and a
    // server in another language may be slow.
    const int pairs = stage().pool_is_broker()       ? 1'000
                      : stage().foreign() != nullptr ? 1'000
                      : stage().computes_by_itself() ? 10'000
                                                     : 2'000;
    // Long lines, because a server may do something else after the first 64 kB.
    const std::string blanks(stage().foreign() != nullptr ? 95 : 0, ' ');
    std::string requests;
    std::string replies;
    for (int i = 0; i < pairs; ++i) {
        requests += blanks + "10\n" + blanks + "1\n";
        replies += "55\n1\n";
    }
    const Server server;
    Client client(server);
    CHECK(client.converse(requests) == replies);
}

TEST_CASE("a client that half-closes without a request gets the end without a reply" *
          promise({.id = "protocol/half-close-at-once",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .after = "protocol/half-close"}))
{
    const Server server;
    Client client(server);
    const std::string replies = client.converse("");
    CHECK_MESSAGE(replies.empty(), fmt::format("a reply to nothing: {}", replies));
}

TEST_CASE("a line of 100 bytes is served, one of 101 is refused and the connection closed" *
          promise({.id = "protocol/longest-line", .page = "docs/protocol.md#requests-and-replies"}))
{
    const Server server;
    {
        Client client(server);
        CHECK(client.ask(std::string(98, ' ') + "30\n") == "832040");
        CHECK(client.ask(std::string(98, ' ') + "30\r\n") == "832040");
    }
    for (const char* end : {"\n", "\r\n", ""}) {
        CAPTURE(end);
        Client client(server);
        client.send("3\n" + std::string(101, '1') + end);
        CHECK(client.read_line() == "2");
        const std::string reply = client.read_line();
        CHECK(reply.starts_with("[Error] "));
        CHECK_MESSAGE(reply.find("100") != std::string::npos,
                      fmt::format("its error does not say \"100\": {}", reply));
        CHECK(client.read_all().empty());
    }
}

TEST_CASE("the reply to an endless line reaches a client that first sends all of it" *
          promise({.id = "protocol/lingering-close",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .help = "a close with bytes unread becomes a reset, which can destroy the "
                           "reply: shut the sending side down, then read to the end"}))
{
    const Server server;
    Client client(server);
    client.send("3\n" + std::string(256 << 10, '1'));  // the server reads hardly any of it
    const std::string replies = client.read_all();     // the end, and no reset
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK_MESSAGE(
        count_lines(replies) == 2,
        fmt::format("{} lines came, instead of a reply and an error", count_lines(replies)));
}

TEST_CASE("the reply to an endless line reaches a client that has half-closed meanwhile" *
          promise({.id = "protocol/lingering-close-half-closed",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .after = "protocol/lingering-close"}))
{
    const Server server;
    Client client(server);
    const std::string replies = client.converse("3\n" + std::string(1 << 20, '1'));
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK_MESSAGE(
        count_lines(replies) == 2,
        fmt::format("{} lines came, instead of a reply and an error", count_lines(replies)));
}

TEST_CASE("an endless line is refused" *
          promise({.id = "protocol/endless-line",
                   .page = "docs/protocol.md#requests-and-replies",
                   .after = "protocol/lingering-close",
                   .help = "look at the length also while the line has no end"}))
{
    const Server server;
    Client client(server);
    client.send("3\n" + std::string(100'000, '1'));
    const std::string replies = client.read_all();
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK_MESSAGE(
        count_lines(replies) == 2,
        fmt::format("{} lines came, instead of a reply and an error", count_lines(replies)));
    Client next(server);
    CHECK(next.ask("30\n") == "832040");
}

TEST_CASE("a reply leaves in one write" *
          promise({.id = "protocol/one-write",
                   .page = "docs/protocol.md#order-pipelining-and-half-close",
                   .help = "put the number and its LF together before send()"}))
{
    const Server server;
    Client client(server);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(client.ask("20\n") == "6765");
        REQUIRE(client.ask("x\n").starts_with("[Error] "));
    }
    // TCP_NODELAY turns each write into a segment of its own.
    const auto segments = client.segments_received();
    CHECK_MESSAGE(
        segments <= 200,
        fmt::format("200 replies came in {} segments, at least one for each write", segments));
}
