// conformance.cpp -- the command line and the log of one stage. What it promises like any other
// server is in promises/.
#include "suite.hpp"

#include <signal.h>

#include <string>

using namespace ground::test;

namespace {

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
