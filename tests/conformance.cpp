// conformance.cpp -- the contract of docs/protocol.md, and the command line, against one stage.
#include "suite.hpp"

#include <signal.h>

#include <algorithm>
#include <array>
#include <string>

using namespace ground::test;

namespace {

std::size_t count_lines(const std::string& text)
{
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// The output of the command when it is told not to serve.
Outcome run_stage(std::vector<std::string> arguments)
{
    const auto command = stage().command();
    arguments.insert(arguments.begin(), command.begin(), command.end());
    return run({.command = std::move(arguments)});
}

// It ended with this status, with one line on stderr and nothing on stdout.
void check_refusal(const Outcome& outcome, int status, std::string_view word)
{
    CAPTURE(outcome.err);
    CHECK(outcome.status == status);
    CHECK(outcome.out.empty());
    CHECK(count_lines(outcome.err) == 1);
    CHECK(outcome.err.starts_with(std::string(stage().name()) + ": "));
    CHECK(outcome.err.find(word) != std::string::npos);
}

}  // namespace

TEST_CASE("right answers")
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

TEST_CASE("blanks around a number do not matter")
{
    const Server server;
    Client client(server);
    CHECK(client.ask("  30\n") == "832040");
    CHECK(client.ask("30  \n") == "832040");
    CHECK(client.ask(" \t30\t \r\n") == "832040");
}

TEST_CASE("bad input gets an error that says why, and the connection stays open")
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
        CHECK_MESSAGE(reply.find(bad.reason) != std::string::npos, reply);
        CHECK(client.ask("30\n") == "832040");
    }
}

TEST_CASE("numbers above --max-n are refused")
{
    const Server server({"--max-n", "10"});
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    const std::string reply = client.ask("11\n");
    CHECK(reply.starts_with("[Error] "));
    CHECK(reply.find("10") != std::string::npos);
}

TEST_CASE("a number among the options is decimal, even with leading zeros")
{
    const Server server({"--max-n", "012"});
    Client client(server);
    CHECK(client.ask("12\n") == "144");
    CHECK(client.ask("13\n").starts_with("[Error] "));
}

TEST_CASE("if an option is given twice the last one counts")
{
    const Server server({"--max-n", "10", "--framing", "line", "--max-n=12"});
    Client client(server);
    CHECK(client.ask("12\n") == "144");
    CHECK(client.ask("13\n").starts_with("[Error] "));
}

TEST_CASE("the fast algorithm reaches the last number that fits 64 bits")
{
    const Server server({"--max-n", "93", "--algorithm", "fast"});
    Client client(server);
    CHECK(client.ask("93\n") == "12200160415121876738");
    CHECK(client.ask("1\n") == "1");
    CHECK(client.ask("94\n").starts_with("[Error] "));
}

TEST_CASE("a line ends with LF, CRLF or CR, in any mixture")
{
    const Server server({"--framing", "line"});
    Client client(server);
    CHECK(client.converse("1\n3\r\n4\r5\n6\r\n7\r") == "1\n2\n3\n5\n8\n13\n");
}

TEST_CASE("blank lines are ignored")
{
    const Server server;
    Client client(server);
    CHECK(client.converse("\n\r\n \n\t\r\r30\n\n\n \r\n1\n\n") == "832040\n1\n");
}

TEST_CASE("line framing: a request may come one byte at a time")
{
    const Server server({"--framing", "line"});
    Client client(server);
    for (const char byte : std::string_view("30\r\n-1\r7\n")) {
        client.send({&byte, 1});
        wait_until_read(server, client);
    }
    CHECK(client.read_line() == "832040");
    CHECK(client.read_line().starts_with("[Error] "));
    CHECK(client.read_line() == "13");
}

TEST_CASE("line framing: an unterminated number waits for its end")
{
    const Server server({"--framing", "line"});
    Client client(server);
    client.send("3");
    wait_until_read(server, client);
    client.send("0");
    wait_until_read(server, client);
    CHECK(client.ask("\n") == "832040");
}

TEST_CASE("chunk framing: an unterminated number is a whole request")
{
    const Server server({"--framing", "chunk"});
    Client client(server);
    CHECK(client.ask("30") == "832040");
    CHECK(client.ask("7\n") == "13");
    // Also after a terminator: two reads, two requests.
    CHECK(client.ask("3") == "2");
    CHECK(client.ask("10\n") == "55");
}

TEST_CASE("auto framing: numbers without line ends are answered")
{
    const Server server;
    Client client(server);
    CHECK(client.ask("30") == "832040");
    CHECK(client.ask("3") == "2");
    CHECK(client.ask("1") == "1");
}

TEST_CASE("auto framing: the first line end of a connection switches to lines")
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

TEST_CASE("a thousand requests in one segment are answered in their order")
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

TEST_CASE("an endless stream of requests is answered while it comes")
{
    // If nothing is waited for in between, each request may make the stack grow. The pool takes
    // longer. Through a broker, on a busy machine, it takes longer than this test should.
    const int pairs = stage().pool_is_broker()       ? 1'000
                      : stage().computes_by_itself() ? 10'000
                                                     : 2'000;
    std::string requests;
    std::string replies;
    for (int i = 0; i < pairs; ++i) {
        requests += "10\n1\n";
        replies += "55\n1\n";
    }
    const Server server;
    Client client(server);
    CHECK(client.converse(requests) == replies);
}

TEST_CASE("a client that half-closes gets every reply that it is owed, and then the end")
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

TEST_CASE("an unterminated last line is a request")
{
    for (const char* framing : {"auto", "line", "chunk"}) {
        CAPTURE(framing);
        const Server server({"--framing", framing});
        Client client(server);
        CHECK(client.converse("3\n30") == "2\n832040\n");
    }
}

TEST_CASE("a client that half-closes without a request gets the end without a reply")
{
    const Server server;
    Client client(server);
    CHECK(client.converse("") == "");
}

TEST_CASE("a line of 100 bytes is served, one of 101 is refused and the connection closed")
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
        CHECK(reply.find("100") != std::string::npos);
        CHECK(client.read_all().empty());
    }
}

TEST_CASE("an endless line is refused")
{
    const Server server;
    Client client(server);
    client.send("3\n" + std::string(100'000, '1'));
    const std::string replies = client.read_all();
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK(count_lines(replies) == 2);
    Client next(server);
    CHECK(next.ask("30\n") == "832040");
}

TEST_CASE("the reply to an endless line reaches a client that first sends all of it")
{
    const Server server;
    Client client(server);
    client.send("3\n" + std::string(256 << 10, '1'));  // the server reads hardly any of it
    const std::string replies = client.read_all();     // the end, and no reset
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK(count_lines(replies) == 2);
}

TEST_CASE("the reply to an endless line reaches a client that has half-closed meanwhile")
{
    const Server server;
    Client client(server);
    const std::string replies = client.converse("3\n" + std::string(1 << 20, '1'));
    CHECK(replies.starts_with("2\n[Error] "));
    CHECK(count_lines(replies) == 2);
}

TEST_CASE("a reply leaves in one write")
{
    const Server server;
    Client client(server);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(client.ask("30\n") == "832040");
        REQUIRE(client.ask("x\n").starts_with("[Error] "));
    }
    // TCP_NODELAY turns each write into a segment of its own.
    CHECK(client.segments_received() <= 200);
}

TEST_CASE("one client after another is served")
{
    const Server server;
    for (int i = 0; i < 20; ++i) {
        Client client(server);
        REQUIRE(client.ask("10\n") == "55");
    }
}

TEST_CASE("it says once, in one line on stdout, where it listens")
{
    Server server;
    {
        Client client(server);
        CHECK(client.ask("1\n") == "1");
    }
    server.signal(SIGTERM);
    CHECK(server.wait() == 0);
    CHECK(server.out().read_all() == std::string(stage().name()) + " listening on 127.0.0.1:" +
                                         std::to_string(server.port()) + "\n");
}

TEST_CASE("it logs the beginning and the end of each connection")
{
    const Server server;
    Client client(server);
    const std::string peer = "127.0.0.1:" + std::to_string(client.local_port());
    CHECK(client.ask("x\n").starts_with("[Error] "));
    server.err().wait_for("Connection " + peer + "\n");
    CHECK(server.err().text().find("Closed") == std::string::npos);
    client.close();
    server.err().wait_for("Closed " + peer + "\n");
    // 07b says at its start what it has measured.
    CHECK(count_lines(server.err().text()) == (stage().is("07b_cheap_inline") ? 3 : 2));
}

TEST_CASE("with --quiet it logs no connection")
{
    Server server({"--quiet"});
    {
        Client client(server);
        CHECK(client.converse("1\n") == "1\n");
    }
    {
        Client client(server);
        client.send("3");
        client.reset();
    }
    {
        Client client(server);
        CHECK(client.converse("1\n") == "1\n");
    }
    server.signal(SIGTERM);
    CHECK(server.wait() == 0);
    CHECK(server.err().read_all().empty());
}

TEST_CASE("it keeps serving when its log is no longer read")
{
    const Server server({}, {.command = {}, .limits = {}, .err = Stream::deaf});
    for (int i = 0; i < 5; ++i) {
        Client client(server);
        REQUIRE(client.ask("10\n") == "55");
    }
}

TEST_CASE("--help says what the stage teaches and names every option")
{
    const Outcome outcome = run_stage({"--help"});
    CHECK(outcome.status == 0);
    CHECK(outcome.err.empty());
    for (const char* option : {"--host", "--port", "--framing", "--max-n", "--algorithm", "--quiet",
                               "25000", "127.0.0.1"}) {
        CHECK_MESSAGE(outcome.out.find(option) != std::string::npos, option);
    }
    for (const char* option : {"--pool", "--workers"}) {
        CHECK((outcome.out.find(option) != std::string::npos) == stage().has_pool());
    }
}

TEST_CASE("a bad option ends it with status 2 and one line that names the option")
{
    check_refusal(run_stage({"--no-such-option"}), 2, "--no-such-option");
    check_refusal(run_stage({"word"}), 2, "word");
    check_refusal(run_stage({"--port"}), 2, "--port");
    check_refusal(run_stage({"--port", "70000"}), 2, "--port");
    check_refusal(run_stage({"--port", "-1"}), 2, "--port");
    check_refusal(run_stage({"--port", "http"}), 2, "--port");
    check_refusal(run_stage({"--framing", "lines"}), 2, "--framing");
    check_refusal(run_stage({"--max-n", "94"}), 2, "--max-n");
    check_refusal(run_stage({"--max-n", "-1"}), 2, "--max-n");
    check_refusal(run_stage({"--max-n", "0x10"}), 2, "--max-n");
    check_refusal(run_stage({"--max-n", "1e1"}), 2, "--max-n");
    check_refusal(run_stage({"--algorithm", "quick"}), 2, "--algorithm");
    if (stage().has_pool()) {
        check_refusal(run_stage({"--pool", "none"}), 2, "--pool");
        check_refusal(run_stage({"--workers", "0"}), 2, "--workers");
    } else {
        check_refusal(run_stage({"--pool", "threads"}), 2, "--pool is for stages with a pool: 0");
        check_refusal(run_stage({"--workers=2"}), 2, "03_process_pool");
    }
}

TEST_CASE("a mistyped option gets a hint at the right one")
{
    check_refusal(run_stage({"--prot", "25000"}), 2, "no option --prot; did you mean --port?");
    check_refusal(run_stage({"--qiet"}), 2, "did you mean --quiet?");
    check_refusal(run_stage({"--algo=fast"}), 2, "did you mean --algorithm?");
    check_refusal(run_stage({"25001"}), 2, "did you mean --port 25001?");
    check_refusal(run_stage({"--port"}), 2, "--port needs a value; --help lists the options");
}

TEST_CASE("a port in use ends it with one line that names the port and the program that has it")
{
    const Server server;
    const std::string port = std::to_string(server.port());
    check_refusal(run_stage({"--port", port}), 1, port);
    check_refusal(run_stage({"--port", port}), 1, "is in use by ");
    check_refusal(run_stage({"--port", port}), 1, " (process ");
}

TEST_CASE("a host that is not this machine ends it with one line that names the host")
{
    // An address that is reserved for documentation, and a name that no resolver is asked for.
    check_refusal(run_stage({"--port", "0", "--host", "192.0.2.1"}), 1, "192.0.2.1");
    check_refusal(run_stage({"--port", "0", "--host", "no..host"}), 1, "no..host");
}
