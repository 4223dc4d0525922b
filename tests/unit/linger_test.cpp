#include "common/server/linger.hpp"

#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>
#include <doctest/doctest.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

using namespace ground;
using asio::ip::tcp;

namespace {

// Both ends of a connection.
struct Connection {
    Connection() : client(context)
    {
        tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
        acceptor.set_option(asio::socket_base::receive_buffer_size(100'000));  // those of clients
        client.open(tcp::v4());
        client.set_option(asio::socket_base::send_buffer_size(100'000));
        client.connect(acceptor.local_endpoint());
        server = Descriptor(acceptor.accept().release());
    }
    asio::io_context context;
    tcp::socket client;
    Descriptor server;
};

// What the client still gets. "reset" in place of an end.
std::string rest(tcp::socket& client)
{
    std::string text;
    asio::error_code error;
    asio::read(client, asio::dynamic_buffer(text), error);
    return error == asio::error::eof ? text : text + "reset";
}

}  // namespace

TEST_CASE("linger: a client that still sends gets its last reply, and then the end")
{
    Connection connection;
    asio::write(connection.client, asio::buffer(std::string(1'000, 'x')));
    REQUIRE(::write(connection.server.get(), "last", 4) == 4);
    close_lingering(std::move(connection.server));
    asio::error_code gone;
    for (int i = 0; i < 10; ++i) {
        asio::write(connection.client, asio::buffer(std::string(1'000, 'y')), gone);
    }
    CHECK(!gone);
    CHECK(rest(connection.client) == "last");
}

TEST_CASE("linger: of a client that sends without end only so much is read")
{
    constexpr std::size_t most = 16 << 20;
    const std::vector<char> some(65'536);
    std::size_t sent = 0;
    // On a busy machine the time may be over before so much has been sent. Then it tries again.
    for (int tries = 0; tries < 20 && sent < most; ++tries) {
        Connection connection;
        asio::write(connection.client, asio::buffer("x", 1));
        close_lingering(std::move(connection.server));
        asio::error_code end;
        for (sent = 0; !end && sent < 100 * most;) {
            sent += connection.client.write_some(asio::buffer(some), end);
        }
    }
    CHECK(sent >= most);
    CHECK(sent < most + 3'000'000);  // what the buffers between the two hold
}

TEST_CASE("linger: a connection whose client has closed already is not kept")
{
    Connection connection;
    connection.client.close();
    const int fd = connection.server.get();
    std::array<char, 1> end{};
    REQUIRE(::read(fd, end.data(), 1) == 0);
    close_lingering(std::move(connection.server));
    CHECK(::fcntl(fd, F_GETFD) == -1);  // no thread has it
}
