#include "process.hpp"
#include "scripted_server.hpp"

#include <doctest/doctest.h>

#include <signal.h>

#include <future>

using namespace ground;

namespace {

std::vector<std::string> nc(std::uint16_t port, std::vector<std::string> options = {})
{
    options.insert(options.begin(), {NC_PATH, "127.0.0.1", std::to_string(port)});
    return options;
}

}  // namespace

TEST_CASE("nc: prints every reply, in order, and nothing else")
{
    ScriptedServer server(answer);
    const Outcome outcome = run(nc(server.port()), "1\n30\n50\n");
    CHECK(outcome.status == 0);
    CHECK(outcome.out == "1\n832040\n12586269025\n");
    CHECK(outcome.err.empty());
}

TEST_CASE("nc: half-closes at the end of input, and prints the replies that are still owed")
{
    // No reply before the client has finished sending.
    ScriptedServer server([](Peer& peer) {
        int count = 0;
        while (peer.line()) {
            ++count;
        }
        for (int i = 0; i < count; ++i) {
            peer.send("reply " + std::to_string(i) + "\n");
        }
    });
    const Outcome outcome = run(nc(server.port()), "1\n1\n1\n");
    CHECK(outcome.status == 0);
    CHECK(outcome.out == "reply 0\nreply 1\nreply 2\n");
}

TEST_CASE("nc: sends and receives far more than any buffer holds")
{
    ScriptedServer server(answer);
    constexpr int count = 200'000;
    std::string input;
    std::string expected;
    for (int i = 0; i < count; ++i) {
        input += "90\n";
        expected += "2880067194370816120\n";
    }
    Process process(nc(server.port()));
    std::thread typing([&] {
        process.type(input);
        process.end_input();
    });
    const int status = process.wait();
    typing.join();
    CHECK(status == 0);
    CHECK((process.out() == expected));  // in parentheses: 4 MB are not to be printed
}

TEST_CASE("nc: an unterminated last line is sent as it is, and is owed a reply")
{
    std::promise<std::string> received;
    ScriptedServer server([&](Peer& peer) {
        std::string all;
        for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
            all += some;
        }
        peer.send("832040\n");
        received.set_value(all);
    });
    const Outcome outcome = run(nc(server.port()), "30");
    CHECK(received.get_future().get() == "30");
    CHECK(outcome.out == "832040\n");
    CHECK(outcome.status == 0);
}

TEST_CASE("nc: a reply in pieces is printed whole")
{
    ScriptedServer server([](Peer& peer) {
        while (peer.line()) {
            peer.send("83");
            peer.send("20");
            peer.send("40\n");
        }
    });
    const Outcome outcome = run(nc(server.port()), "30\n30\n");
    CHECK(outcome.status == 0);
    CHECK(outcome.out == "832040\n832040\n");
}

TEST_CASE("nc: -C sends CRLF, and leaves CRLF as it is")
{
    std::promise<std::string> received;
    ScriptedServer server([&](Peer& peer) {
        std::string all;
        for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
            all += some;
        }
        peer.send("1\n1\n1\n");
        received.set_value(all);
    });
    CHECK(run(nc(server.port(), {"-C"}), "1\n2\r\n\n3\n").status == 0);
    CHECK(received.get_future().get() == "1\r\n2\r\n\r\n3\r\n");
}

TEST_CASE("nc: a server that answers before the line is complete owes no second reply")
{
    ScriptedServer server([](Peer& peer) {
        for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
            if (some != "\n") {  // as with --framing chunk
                peer.send("1\n");
            }
        }
    });
    const Outcome outcome = run(nc(server.port(), {"--trickle", "20"}), "2\n1\n");
    CHECK(outcome.out == "1\n1\n");
    CHECK(outcome.status == 0);
}

TEST_CASE("nc: --trickle sends everything, a byte at a time")
{
    std::promise<std::vector<std::string>> received;
    ScriptedServer server([&](Peer& peer) {
        std::vector<std::string> pieces;
        for (std::string some = peer.bytes(); !some.empty(); some = peer.bytes()) {
            pieces.push_back(some);
        }
        peer.send("832040\n1\n");
        received.set_value(pieces);
    });
    const Outcome outcome = run(nc(server.port(), {"--trickle", "20"}), "30\n1\n");
    const auto pieces = received.get_future().get();
    std::string all;
    for (const std::string& piece : pieces) {
        all += piece;
    }
    CHECK(all == "30\n1\n");
    CHECK(pieces.size() > 1);  // TCP may join some, but not all of them over such a long time
    CHECK(outcome.out == "832040\n1\n");
    CHECK(outcome.status == 0);
}

TEST_CASE("nc: says what to do when nothing listens")
{
    const DeafPort port;
    const Outcome outcome = run({NC_PATH, "127.0.0.1", port.number()});
    CHECK(outcome.status == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("nc: nothing listens on 127.0.0.1:" + port.number() +
                                  "; start a stage first, for example "));
    CHECK(outcome.err.ends_with("stages/02_threads\n"));
}

TEST_CASE("nc: if the server closes and owes a reply, nc prints what came and fails")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        static_cast<void>(peer.line());
        peer.send("1\n");
    });
    const Outcome outcome = run(nc(server.port()), "1\n1\n");
    CHECK(outcome.status == 1);
    CHECK(outcome.out == "1\n");
    CHECK(outcome.err ==
          "nc: " + server.target() + " closed the connection and still owed 1 reply\n");
}

TEST_CASE("nc: it fails if the server closes before the end of input")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        peer.send("1\n");
    });
    Process process(nc(server.port()));
    process.type("1\n");  // and the pipe stays open
    CHECK(process.wait() == 1);
    CHECK(process.out() == "1\n");
    CHECK(process.err() == "nc: " + server.target() + " closed the connection\n");
}

TEST_CASE("nc: after a reset it fails with one line")
{
    ScriptedServer server([](Peer& peer) {
        static_cast<void>(peer.line());
        peer.reset();
    });
    Process process(nc(server.port()));
    process.type("1\n");
    CHECK(process.wait() == 1);
    CHECK(process.err() == "nc: lost " + server.target() + ": Connection reset by peer\n");
}

TEST_CASE("nc: -w limits the wait for a silent server")
{
    ScriptedServer server([](Peer& peer) {
        while (!peer.bytes().empty()) {
        }
    });
    Process process(nc(server.port(), {"-w", "0.2"}));
    process.type("1\n");
    CHECK(process.wait() == 1);
    CHECK(process.out().empty());
    CHECK(process.err() == "nc: timed out: nothing happened for 200 ms\n");
}

TEST_CASE("nc: a mistake in the options gets one line")
{
    using Arguments = std::vector<std::string>;
    for (const Arguments& mistake :
         {Arguments{"-w", "soon"}, Arguments{"-w", "0"}, Arguments{"--trickle", "-1"},
          Arguments{"localhost", "http"}, Arguments{"localhost", "0"}, Arguments{"--nonsense"},
          Arguments{"a", "1", "b"}, Arguments{"-w", "nan"}, Arguments{"--trickle", "0x10"}}) {
        CAPTURE(mistake);
        Arguments arguments{NC_PATH};
        arguments.insert(arguments.end(), mistake.begin(), mistake.end());
        const Outcome outcome = run(arguments);
        CHECK(outcome.status == 2);
        CHECK(lines(outcome.err).size() == 1);
        CHECK(outcome.err.starts_with("nc: "));
    }
}

TEST_CASE("nc: a third argument is refused, and if an option is given twice the last one counts")
{
    CHECK(run({NC_PATH, "localhost", "1", "more"}).err ==
          "nc: 'more' is one argument too many; --help shows what nc takes\n");
    CHECK(run({NC_PATH, "--trickel", "3"}).err ==
          "nc: there is no option --trickel; did you mean --trickle?\n");
    CHECK(
        run({NC_PATH, "-w", "1", "-w", "soon"}).err.starts_with("nc: -w: 'soon' is not a number"));
    CHECK(run({NC_PATH, "-w"}).err == "nc: -w needs a value; --help lists the options\n");
}

TEST_CASE("nc: --help names every option")
{
    const Outcome outcome = run({NC_PATH, "--help"});
    CHECK(outcome.status == 0);
    for (const char* const option : {"-w SECONDS", "-C ", "--trickle MS", "-h, --help"}) {
        CHECK(outcome.out.find(option) != std::string::npos);
    }
    for (const std::string& line : lines(outcome.out)) {
        CHECK(line.size() <= 80);
    }
}

TEST_CASE("nc: on a terminal it prompts and shows how long each reply took")
{
    ScriptedServer server(answer);
    Process process(nc(server.port()), Process::Stdio::terminal);
    REQUIRE(process.shows("> "));
    process.type("30\n");
    REQUIRE(process.shows("832040   ("));
    REQUIRE(process.shows("s)\r\n> "));
    process.type("10\n");
    REQUIRE(process.shows("55   ("));
    process.type("\x04");
    CHECK(process.wait() == 0);
    CHECK(lines(process.out()).size() == 5);  // two requests, two replies, and Ctrl-D's own line
}

TEST_CASE("nc: a blank line at the prompt is answered with a prompt")
{
    ScriptedServer server(answer);
    Process process(nc(server.port()), Process::Stdio::terminal);
    REQUIRE(process.shows("> "));
    process.type("  \n");
    REQUIRE(process.shows("  \r\n> "));
}

TEST_CASE("nc: you can type while a reply is owed, and replies come in order")
{
    std::promise<void> all_typed;
    ScriptedServer server([&](Peer& peer) {
        const auto first = peer.line();
        const auto second = peer.line();  // typed although the first has no reply
        const auto third = peer.line();
        all_typed.set_value();
        for (const auto& line : {first, second, third}) {
            peer.send("reply to " + line.value_or("nothing") + "\n");
        }
        static_cast<void>(peer.line());
    });
    Process process(nc(server.port()), Process::Stdio::terminal);
    REQUIRE(process.shows("> "));
    process.type("1\n");
    process.type("2\n3\n");
    all_typed.get_future().wait_for(patience);
    REQUIRE(process.shows("reply to 3   ("));
    REQUIRE(process.shows("s)\r\n> "));
    const std::size_t first = process.out().find("reply to 1   (");
    const std::size_t second = process.out().find("reply to 2   (");
    const std::size_t third = process.out().find("reply to 3   (");
    CHECK(first < second);
    CHECK(second < third);
    // No prompt between: one at the beginning and one at the end.
    CHECK(process.out().find("> ", 2) > third);
}

TEST_CASE("nc: at the prompt it notices a server that closes")
{
    std::promise<void> close;
    ScriptedServer server([&](Peer& peer) {
        peer.send(peer.line() ? "1\n" : "");
        close.get_future().wait_for(patience);
    });
    Process process(nc(server.port()), Process::Stdio::terminal);
    process.type("1\n");
    REQUIRE(process.shows("s)\r\n> "));
    close.set_value();
    CHECK(process.wait() == 1);  // nothing more was typed
    CHECK(process.out().ends_with("> \r\nnc: " + server.target() + " closed the connection\r\n"));
}

TEST_CASE("nc: a line that was not asked for is shown on a line of its own")
{
    std::promise<void> speak;
    ScriptedServer server([&](Peer& peer) {
        speak.get_future().wait_for(patience);
        peer.send("[Error] server full\n");
        static_cast<void>(peer.line());
    });
    Process process(nc(server.port()), Process::Stdio::terminal);
    REQUIRE(process.shows("> "));
    speak.set_value();
    CHECK(process.shows("> \r\n[Error] server full\r\n> "));
}

TEST_CASE("nc: Ctrl-D waits for the replies that are owed")
{
    ScriptedServer server([&](Peer& peer) {
        static_cast<void>(peer.line());
        const bool more = peer.line().has_value();  // false: the half-close has come
        peer.send(more ? "more\n" : "832040\n");
    });
    Process process(nc(server.port()), Process::Stdio::terminal);
    REQUIRE(process.shows("> "));
    process.type("30\n");
    process.type("\x04");
    CHECK(process.wait() == 0);
    CHECK(process.out().find("832040   (") != std::string::npos);
}

TEST_CASE("nc: Ctrl-C ends it, even if replies are owed")
{
    std::promise<void> asked;
    ScriptedServer server([&](Peer& peer) {
        static_cast<void>(peer.line());
        asked.set_value();
        static_cast<void>(peer.line());
    });
    Process process(nc(server.port()), Process::Stdio::terminal);
    process.type("45\n");
    asked.get_future().wait_for(patience);
    process.type("\x03");
    CHECK(process.wait() == 128 + SIGINT);
}
