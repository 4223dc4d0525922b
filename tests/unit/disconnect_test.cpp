#include "common/server/disconnect.hpp"

#include "common/server/task_group.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <utility>

using namespace ground;
using std::chrono::milliseconds;

namespace {

// A connection within this process.
struct Connection {
    explicit Connection(asio::io_context& context) : ours(context), peer(context)
    {
        tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
        peer.connect(acceptor.local_endpoint());
        ours = acceptor.accept();
    }
    // Its end is a reset.
    void reset()
    {
        peer.set_option(asio::socket_base::linger(true, 0));
        asio::error_code ignored;
        peer.close(ignored);
    }
    tcp::socket ours;
    tcp::socket peer;
};

void run_for_a_while(asio::io_context& context, const bool& until)
{
    context.restart();
    for (int i = 0; i < 1000 && !until; ++i) {
        context.run_one_for(milliseconds(10));
    }
}

// All that is due by now.
void run_what_is_there(asio::io_context& context)
{
    context.restart();
    while (context.run_one_for(milliseconds(50)) != 0) {
    }
}

}  // namespace

TEST_CASE("OnDisconnect: a lost connection calls back exactly once")
{
    asio::io_context context;
    Connection connection(context);
    DisconnectWatch watch(connection.ours);
    int calls = 0;
    bool called = false;
    {
        const OnDisconnect left(watch, [&] {
            ++calls;
            called = true;
        });
        connection.reset();
        run_for_a_while(context, called);
        CHECK(calls == 1);
    }
    CHECK(calls == 1);
}

TEST_CASE("OnDisconnect: calls back at once if the connection was lost before")
{
    asio::io_context context;
    Connection connection(context);
    DisconnectWatch watch(connection.ours);
    connection.reset();
    run_what_is_there(context);
    bool called = false;
    const OnDisconnect left(watch, [&] { called = true; });
    CHECK(called);
}

TEST_CASE("OnDisconnect: each of two lost connections calls back")
{
    asio::io_context context;
    Connection first(context);
    Connection second(context);
    DisconnectWatch watch_of_first(first.ours);
    DisconnectWatch watch_of_second(second.ours);
    for (auto [connection, watch] :
         {std::pair(&first, &watch_of_first), std::pair(&second, &watch_of_second)}) {
        bool called = false;
        const OnDisconnect left(*watch, [&] { called = true; });
        connection->reset();
        run_for_a_while(context, called);
        CHECK(called);
    }
}

TEST_CASE("OnDisconnect: if no connection is lost, it calls back at the end of its scope")
{
    asio::io_context context;
    Connection connection(context);
    DisconnectWatch watch(connection.ours);
    bool called = false;
    {
        const OnDisconnect left(watch, [&] { called = true; });
        CHECK_FALSE(called);
    }
    CHECK(called);
}

TEST_CASE(
    "DisconnectWatch: neither bytes, nor an urgent byte, nor an end of file is a lost connection")
{
    asio::io_context context;
    Connection connection(context);
    DisconnectWatch watch(connection.ours);
    bool called = false;
    const OnDisconnect left(watch, [&] { called = true; });
    connection.peer.send(asio::buffer("x", 1));
    connection.peer.send(asio::buffer("!", 1), asio::socket_base::message_out_of_band);
    connection.peer.shutdown(tcp::socket::shutdown_send);
    run_what_is_there(context);
    CHECK_FALSE(called);
}

TEST_CASE("DisconnectWatch: once destroyed it reports nothing, even if its socket is still open")
{
    asio::io_context context;
    Connection first(context);
    Connection second(context);
    std::optional<DisconnectWatch> watch;
    watch.emplace(first.ours);
    watch.emplace(second.ours);  // in the same place
    bool called = false;
    const OnDisconnect left(*watch, [&] { called = true; });
    first.reset();
    run_what_is_there(context);
    CHECK_FALSE(called);
}

TEST_CASE(
    "DisconnectWatch: run() returns when the last one is destroyed, and works again for later ones")
{
    asio::io_context context;
    for (int i = 0; i < 3; ++i) {
        Connection connection(context);
        std::optional<DisconnectWatch> watch(std::in_place, connection.ours);
        bool called = false;
        const auto lose = [&] {
            const OnDisconnect left(*watch, [&] { called = true; });
            connection.reset();
            run_for_a_while(context, called);
        };
        lose();
        CHECK(called);
        watch.reset();
        context.restart();
        context.run();
    }
}

TEST_CASE("OnTimeout: calls back when the time is over, and never if the time is 0")
{
    asio::io_context context;
    bool called = false;
    const OnTimeout late(context.get_executor(), milliseconds(1), [&] { called = true; });
    const OnTimeout never(context.get_executor(), milliseconds(0),
                          [] { FAIL("there is no limit"); });
    context.run();
    CHECK(called);
}

TEST_CASE("OnTimeout: does not call back once it is out of scope, even if its time is over")
{
    asio::io_context context;
    std::optional<OnTimeout> first;
    std::optional<OnTimeout> second;
    // Both are due at the same time; the one that is called takes the other away.
    int calls = 0;
    first.emplace(context.get_executor(), milliseconds(1), [&] {
        ++calls;
        second.reset();
    });
    second.emplace(context.get_executor(), milliseconds(1), [&] {
        ++calls;
        first.reset();
    });
    const auto due = std::chrono::steady_clock::now() + milliseconds(2);
    while (std::chrono::steady_clock::now() < due) {
    }
    context.run();
    CHECK(calls == 1);
}

TEST_CASE("TaskGroup: a task that is spawned after a stop never starts")
{
    asio::io_context context;
    TaskGroup group(context.get_executor());
    bool begun = false;
    const auto task = [](bool& flag) -> awaitable<void> {
        flag = true;
        co_return;
    };
    group.stop();
    group.spawn(task(begun));
    context.run();
    CHECK_FALSE(begun);
}
