// surroundings.cpp -- what a terminal, an operator or the system may do to a server.
#include "support.hpp"

#include <signal.h>

using namespace ground::test;
using std::chrono::milliseconds;

TEST_SUITE_BEGIN("SIGTERM and SIGINT");

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
        check_nothing_was_left(server);
        check_port_is_free(server);
    }
    held();
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
        check_nothing_was_left(server);
        check_port_is_free(server);
    }
    held();
}

TEST_CASE("Ctrl-C reaches the whole process group and ends it in silence")
{
    Server server({"--quiet"});
    Client client(server);
    client.send(endless_request);
    wait_until_computing(server);
    server.signal_group(SIGINT);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    check_nothing_was_left(server);
    CHECK(server.err().read_all().empty());
    held();
}

TEST_CASE("SIGTERM lets it finish what it is computing" * only_if(stage().finishes_when_stopped()) *
          because("ends at once"))
{
    const LongRequest long_request(milliseconds(200));
    Server server;
    Client client(server);
    client.send(long_request.text());
    wait_until_computing(server);
    server.signal(SIGTERM);
    CHECK(client.read_line() == long_request.reply());
    CHECK(client.read_all().empty());
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    held("07 finishes what it is computing");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("SIGKILL");

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
    held();
}

TEST_SUITE_END();
