#include "common/base/tcp_sockets.hpp"

#include "common/server/net.hpp"
#include "common/server/who_listens.hpp"

#include <asio/write.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <unistd.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

using namespace ground;

namespace {

// A listening socket, and both ends of a connection to it.
struct Sockets {
    asio::io_context context;
    std::optional<tcp::acceptor> listener{std::in_place, context,
                                          tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
    tcp::socket client{context};
    tcp::socket server{context};
    std::uint16_t port = listener->local_endpoint().port();

    Sockets()
    {
        client.connect(listener->local_endpoint());
        server = listener->accept();
    }
};

std::vector<TcpSocket> in(const Sockets& sockets, TcpState state)
{
    return tcp_sockets(sockets.port, in_state(state));
}

}  // namespace

TEST_CASE("tcp sockets: they are found by port and state, with the bytes that were not read")
{
    Sockets sockets;
    const std::uint16_t client_port = sockets.client.local_endpoint().port();
    CHECK(in(sockets, TcpState::listen).size() == 1);
    asio::write(sockets.client, asio::buffer("30\n", 3));
    auto connected = in(sockets, TcpState::established);
    REQUIRE(connected.size() == 1);
    CHECK(connected.front().local_port == sockets.port);
    CHECK(connected.front().remote_port == client_port);
    CHECK(connected.front().unread == 3);
    CHECK(connected.front().inode != 0);
    CHECK(tcp_sockets(client_port, in_state(TcpState::established)).size() == 1);

    sockets.client.close();
    connected = in(sockets, TcpState::close_wait);
    REQUIRE(connected.size() == 1);
    CHECK(connected.front().unread == 4);  // with the end of file
}

TEST_CASE("tcp sockets: those in TIME_WAIT are listed only if they are asked for")
{
    Sockets sockets;
    sockets.server.close();  // the end that closes first has to wait
    sockets.client.close();
    CHECK(in(sockets, TcpState::time_wait).size() == 1);
    CHECK(tcp_sockets(sockets.port, ~in_state(TcpState::time_wait)).size() == 1);  // the listener
}

TEST_CASE("who listens: the process with the listening socket, and none that has a connection only")
{
    Sockets sockets;
    CHECK(who_listens(sockets.port) == fmt::format("unit_tcp_sockets (process {})", ::getpid()));
    sockets.listener.reset();
    CHECK(who_listens(sockets.port).empty());
}
