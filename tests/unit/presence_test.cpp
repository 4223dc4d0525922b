#include "common/server/presence.hpp"

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

TEST_CASE("presence: a loss is told to what waits, once")
{
    asio::io_context context;
    Connection connection(context);
    Presence presence(connection.ours);
    int calls = 0;
    bool called = false;
    {
        const OnLeaving left(presence, [&] {
            ++calls;
            called = true;
        });
        connection.reset();
        run_for_a_while(context, called);
        CHECK(calls == 1);
    }
    CHECK(calls == 1);
}

TEST_CASE("presence: a loss while nothing waits is told to what waits next")
{
    asio::io_context context;
    Connection connection(context);
    Presence presence(connection.ours);
    connection.reset();
    run_what_is_there(context);
    bool called = false;
    const OnLeaving left(presence, [&] { called = true; });
    CHECK(called);
}

TEST_CASE("presence: one loss after the other is told")
{
    asio::io_context context;
    Connection first(context);
    Connection second(context);
    Presence presence_of_first(first.ours);
    Presence presence_of_second(second.ours);
    for (auto [connection, presence] :
         {std::pair(&first, &presence_of_first), std::pair(&second, &presence_of_second)}) {
        bool called = false;
        const OnLeaving left(*presence, [&] { called = true; });
        connection->reset();
        run_for_a_while(context, called);
        CHECK(called);
    }
}

TEST_CASE("presence: without a loss it calls back at the end of its scope")
{
    asio::io_context context;
    Connection connection(context);
    Presence presence(connection.ours);
    bool called = false;
    {
        const OnLeaving left(presence, [&] { called = true; });
        CHECK_FALSE(called);
    }
    CHECK(called);
}

TEST_CASE("presence: neither bytes, an urgent one included, nor their end are a loss")
{
    asio::io_context context;
    Connection connection(context);
    Presence presence(connection.ours);
    bool called = false;
    const OnLeaving left(presence, [&] { called = true; });
    connection.peer.send(asio::buffer("x", 1));
    connection.peer.send(asio::buffer("!", 1), asio::socket_base::message_out_of_band);
    connection.peer.shutdown(tcp::socket::shutdown_send);
    run_what_is_there(context);
    CHECK_FALSE(called);
}

TEST_CASE("presence: of one that has ended nothing is told, though its socket is still open")
{
    asio::io_context context;
    Connection first(context);
    Connection second(context);
    std::optional<Presence> presence;
    presence.emplace(first.ours);
    presence.emplace(second.ours);  // in the same place
    bool called = false;
    const OnLeaving left(*presence, [&] { called = true; });
    first.reset();
    run_what_is_there(context);
    CHECK_FALSE(called);
}

TEST_CASE(
    "presence: run() returns when the last of them has ended, and serves those that come then")
{
    asio::io_context context;
    for (int i = 0; i < 3; ++i) {
        Connection connection(context);
        std::optional<Presence> presence(std::in_place, connection.ours);
        bool called = false;
        const auto lose = [&] {
            const OnLeaving left(*presence, [&] { called = true; });
            connection.reset();
            run_for_a_while(context, called);
        };
        lose();
        CHECK(called);
        presence.reset();
        context.restart();
        context.run();
    }
}

TEST_CASE("after: it calls back when the time is over, and not at all if the time is 0")
{
    asio::io_context context;
    bool called = false;
    const After late(context.get_executor(), milliseconds(1), [&] { called = true; });
    const After never(context.get_executor(), milliseconds(0), [] { FAIL("there is no limit"); });
    context.run();
    CHECK(called);
}

TEST_CASE("after: once out of scope it does not call back, though the time was over by then")
{
    asio::io_context context;
    std::optional<After> first;
    std::optional<After> second;
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

TEST_CASE("task group: what is spawned after a stop is dropped before it has begun")
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
