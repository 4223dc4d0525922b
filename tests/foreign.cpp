// foreign.cpp -- clients that were not written here, against one stage.
#include "suite.hpp"

#include <fmt/format.h>

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>

using namespace ground::test;

namespace {

bool installed(const std::string& program)
{
    const char* path = std::getenv("PATH");
    std::istringstream directories(path == nullptr ? "" : path);
    for (std::string directory; std::getline(directories, directory, ':');) {
        if (::access((directory + '/' + program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

// A missing program is a failure, because a test that silently does nothing proves nothing.
void require_installed(const std::string& program, const std::string& package)
{
    REQUIRE_MESSAGE(installed(program),
                    program << " is missing. On Debian or Ubuntu: apt-get install " << package);
}

// As people use it: a line, its reply, the next line.
void converse_with(Program& program)
{
    program.write("30\n");
    program.out().wait_for("832040\n");
    program.write("hello\n");
    program.out().wait_for("[Error] not a number");
    program.write("20\n");
    program.out().wait_for("6765\n");
}

std::vector<std::string> command(const Server& server, std::vector<std::string> words)
{
    words.push_back("127.0.0.1");
    words.push_back(std::to_string(server.port()));
    return words;
}

}  // namespace

TEST_CASE("netcat-openbsd, line by line")
{
    require_installed("nc.openbsd", "netcat-openbsd");
    const Server server;
    Program nc({.command = command(server, {"nc.openbsd", "-N"})});
    converse_with(nc);
    nc.close_stdin();
    CHECK(nc.wait() == 0);
}

TEST_CASE("netcat-openbsd, piped, with LF and with CRLF")
{
    require_installed("nc.openbsd", "netcat-openbsd");
    const Server server;
    for (const char* options : {"-N", "-NC"}) {
        CAPTURE(options);
        Program nc({.command = command(server, {"nc.openbsd", options})});
        nc.write("30\n1\n20\n");
        nc.close_stdin();
        CHECK(nc.wait() == 0);
        CHECK(nc.out().read_all() == "832040\n1\n6765\n");
    }
}

TEST_CASE("netcat-traditional, line by line")
{
    require_installed("nc.traditional", "netcat-traditional");
    const Server server;
    // It cannot half-close: -q 0 makes it leave at the end of its input.
    Program nc({.command = command(server, {"nc.traditional", "-q", "0"})});
    converse_with(nc);
    nc.close_stdin();
    CHECK(nc.wait() == 0);
}

TEST_CASE("telnet, line by line")
{
    require_installed("telnet", "telnet");
    const Server server;
    Program telnet({.command = command(server, {"telnet"})});
    telnet.out().wait_for("Connected");
    converse_with(telnet);
    telnet.close_stdin();
    static_cast<void>(telnet.wait());  // its status after an end of input differs by version
}

TEST_CASE("socat, line by line and piped")
{
    require_installed("socat", "socat");
    const Server server;
    const std::string address = fmt::format("TCP:127.0.0.1:{}", server.port());
    {
        Program socat({.command = {"socat", "-", address}});
        converse_with(socat);
        socat.close_stdin();
        CHECK(socat.wait() == 0);
    }
    // -t: how long it waits for the rest of the replies after the end of its input.
    Program socat({.command = {"socat", "-t", std::to_string(patience.count()), "-", address}});
    socat.write("30\n1\n20");
    socat.close_stdin();
    CHECK(socat.wait() == 0);
    CHECK(socat.out().read_all() == "832040\n1\n6765\n");
}

// sock.send(b'30'); resp = sock.recv(100), over and over.
TEST_CASE("the talk's clients, which send numbers without line ends")
{
    const Server server;
    Client client(server);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(client.ask("1") == "1");
    }
    CHECK(client.ask("30") == "832040");
    CHECK(client.ask("20") == "6765");
}
