// parts_test.cpp -- the board's film, its clients, and what it sees of a server from outside.

#include "clients/board/crowd.hpp"
#include "clients/board/doorkeeper.hpp"
#include "clients/board/film.hpp"
#include "clients/board/outside.hpp"
#include "tests/harness.hpp"

#include <asio.hpp>
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>

using namespace ground::board;
using namespace std::chrono_literals;

namespace {

using asio::ip::tcp;

constexpr std::int64_t second = 1'000'000;

std::size_t own_descriptors()
{
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                      std::filesystem::directory_iterator()));
}

// A frame a second, every other one a key frame.
void add_frames(Film& film, int count, std::size_t bytes)
{
    for (int i = 0; i < count; ++i) {
        film.add(i * second, i % 2 == 0, std::string(bytes, 'x'));
    }
}

// The changes that were taken from the crowd until this holds.
template <typename Condition>
Tally take_until(Crowd& crowd, Condition condition)
{
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    for (Tally tally = crowd.take();; tally = crowd.take()) {
        if (condition(tally)) {
            return tally;
        }
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::sleep_for(1ms);
    }
}

// Answers each line with another one, until its client leaves.
void answer_all(tcp::acceptor& acceptor)
{
    asio::error_code end;
    tcp::socket client = acceptor.accept();
    std::array<char, 1000> bytes{};
    for (;;) {
        const std::size_t size = client.read_some(asio::buffer(bytes), end);
        if (end) {
            return;
        }
        const auto lines = std::count(bytes.begin(), bytes.begin() + static_cast<long>(size), '\n');
        for (long i = 0; i < lines; ++i) {
            asio::write(client, asio::buffer("1\n", 2), end);
        }
    }
}

}  // namespace

TEST_CASE("film: it keeps the last minute, however much it was given before")
{
    Film film;
    add_frames(film, 300, 400'000);  // 24 MB a minute: two minutes would be too much
    const auto frames = film.all();
    REQUIRE(!frames.empty());
    CHECK(frames.front()->key);
    CHECK(frames.back()->microseconds - frames.front()->microseconds >= 58 * second);
    CHECK(frames.back()->microseconds - frames.front()->microseconds <= 62 * second);
}

TEST_CASE("film: it never exceeds its size, and begins with a key frame")
{
    Film film;
    add_frames(film, 100, 4 << 20);
    std::size_t bytes = 0;
    for (const auto& frame : film.all()) {
        bytes += frame->json.size();
    }
    CHECK(film.all().front()->key);
    CHECK(bytes <= 48 << 20);
    CHECK(bytes >= 36 << 20);
}

TEST_CASE("film: a viewer that is behind all kept frames gets the last key frame and what follows")
{
    Film film;
    add_frames(film, 100, 4 << 20);  // a dozen of them are kept
    for (const std::uint64_t seen : {1U, 50U, 70U, 86U, 87U}) {
        const auto frames = film.after(seen, 0ms);
        REQUIRE(!frames.empty());
        CHECK(frames.size() <= 2);
        CHECK(frames.front()->key);
        CHECK(frames.back()->number == 100);
    }
    const auto next = film.after(97, 0ms);
    REQUIRE(next.size() == 3);
    CHECK(next.front()->number == 98);
}

TEST_CASE("film: a new viewer gets the last seconds, and one that has seen all waits for more")
{
    Film film;
    add_frames(film, 40, 10);
    const auto frames = film.after(0, 0ms);
    REQUIRE(!frames.empty());
    CHECK(frames.front()->key);
    CHECK(frames.size() >= 9);
    CHECK(frames.size() <= 11);
    CHECK(film.after(40, 0ms).empty());
    const std::jthread later([&film] { film.add(41 * second, false, "new"); });
    const auto begin = std::chrono::steady_clock::now();
    const auto more = film.after(40, 60s);
    CHECK(std::chrono::steady_clock::now() - begin < 30s);  // it was woken
    REQUIRE(more.size() == 1);
    CHECK(more.front()->json == "new");
}

TEST_CASE("outside: looking again and again leaves no descriptor open")
{
    asio::io_context context;
    const tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    const std::size_t before = own_descriptors();
    for (int i = 0; i < 50; ++i) {
        (void)door_of(acceptor.local_endpoint().port());
        (void)body_of(::getpid());
    }
    CHECK(own_descriptors() == before);
}

TEST_CASE("outside: the kernel knows which clients are at the door, and what they have sent")
{
    asio::io_context context;
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    const std::uint16_t port = acceptor.local_endpoint().port();
    tcp::socket first(context);
    tcp::socket second_one(context);
    first.connect(acceptor.local_endpoint());
    second_one.connect(acceptor.local_endpoint());
    const tcp::socket accepted = acceptor.accept();
    asio::write(first, asio::buffer("30\n", 3));
    asio::write(second_one, asio::buffer("1\n", 2));
    const Door door = door_of(port);
    CHECK(door.waiting == std::vector<std::uint16_t>{second_one.local_endpoint().port()});
    CHECK(door.unread ==
          std::map<std::uint16_t, std::uint32_t>{{first.local_endpoint().port(), 3},
                                                 {second_one.local_endpoint().port(), 2}});
    CHECK(is_below(::getpid(), ::getppid()));
    CHECK_FALSE(is_below(::getppid(), ::getpid()));
    CHECK_FALSE(is_below(1, ::getpid()));
}

namespace {

// A connection of which we have both ends.
struct Connection {
    asio::io_context context;
    tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    tcp::socket client{context};
    tcp::socket server{context};

    Connection()
    {
        client.connect(acceptor.local_endpoint());
        server = acceptor.accept();
    }
    [[nodiscard]] std::uint16_t port() const { return acceptor.local_endpoint().port(); }
    [[nodiscard]] int peer() const { return client.local_endpoint().port(); }

    // Whether the server's end is shut down within this time.
    bool shut(std::chrono::milliseconds time)
    {
        const auto deadline = std::chrono::steady_clock::now() + time;
        server.non_blocking(true);
        std::array<char, 65536> bytes{};
        for (;;) {
            asio::error_code error;
            const std::size_t size = server.read_some(asio::buffer(bytes), error);
            if (error && error != asio::error::would_block) {
                return true;
            }
            if (size == 0 && std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            std::this_thread::sleep_for(1ms);
        }
    }
};

}  // namespace

TEST_CASE(
    "doorkeeper: a connection without a request is shut down in time, one with a request is not")
{
    Connection slow;
    Doorkeeper keeper(slow.port(), {.to_ask = 100ms, .between_looks = 1ms});
    CHECK(slow.shut(60s));
    Connection asked;
    Doorkeeper other(asked.port(), {.to_ask = 500ms, .between_looks = 1ms});
    other.has_asked(asked.peer());
    CHECK_FALSE(asked.shut(1s));
}

TEST_CASE("doorkeeper: a connection that sends too much is shut down, with or without a request")
{
    Connection connection;
    Doorkeeper keeper(connection.port(), {.bytes = 1000, .between_looks = 1ms});
    keeper.has_asked(connection.peer());
    asio::write(connection.client, asio::buffer(std::string(1000, 'x')));
    CHECK_FALSE(connection.shut(200ms));
    asio::write(connection.client, asio::buffer("x", 1));
    CHECK(connection.shut(60s));
}

TEST_CASE("doorkeeper: close() shuts down the connections of its server, and no others")
{
    Connection connection;
    Connection of_somebody_else;
    Doorkeeper keeper(connection.port(), {.to_ask = 1h, .to_leave = 1ms, .between_looks = 1ms});
    keeper.has_asked(connection.peer());
    CHECK_FALSE(connection.shut(100ms));
    keeper.close();
    CHECK(connection.shut(60s));
    CHECK_FALSE(of_somebody_else.shut(0ms));
    connection.client.close();  // the listening socket is left alone: a client can still connect
    connection.client.connect(connection.acceptor.local_endpoint());
    connection.server = connection.acceptor.accept();
    CHECK(connection.shut(60s));
}

TEST_CASE("crowd: the time of a reply by hand begins when its request is sent")
{
    asio::io_context context;
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    Crowd crowd;
    crowd.aim(acceptor.local_endpoint().port());
    const std::jthread server([&acceptor] { answer_all(acceptor); });
    for (int i = 0; i < 3; ++i) {
        const auto before = std::chrono::steady_clock::now();
        REQUIRE(crowd.ask("1"));
        std::vector<Line> lines;
        while (lines.size() < 2) {
            const Tally tally =
                take_until(crowd, [](const Tally& some) { return !some.lines.empty(); });
            lines.insert(lines.end(), tally.lines.begin(), tally.lines.end());
        }
        const std::chrono::duration<double, std::milli> longest =
            std::chrono::steady_clock::now() - before;
        CHECK(lines.back().reply);
        CHECK(lines.back().milliseconds > 0);
        CHECK(lines.back().milliseconds <= longest.count());
        std::this_thread::sleep_for(300ms);  // a person thinks about what to type next
    }
    crowd.all_leave();
}

TEST_CASE("crowd: a client whose server has gone waits for no reply")
{
    asio::io_context context;
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    Crowd crowd;
    crowd.aim(acceptor.local_endpoint().port());
    REQUIRE(crowd.come(Role::hog, 1) == 1);
    {
        tcp::socket client = acceptor.accept();
        std::array<char, 100> request{};
        REQUIRE(client.read_some(asio::buffer(request)) > 0);
        take_until(crowd, [](const Tally& tally) { return tally.waiting == 1; });
        acceptor.close();
    }
    const Tally tally = take_until(crowd, [](const Tally& some) { return some.waiting == 0; });
    CHECK(tally.longest_wait_so_far == 0);
    CHECK(tally.clients == 1);  // it tries again
}

// A client that has come thinks before it asks. If it were not disturbed while it thinks, clients
// would come to the other server one after the other, each when its thinking ends.
TEST_CASE("crowd: all move to another server at once, also those that were thinking")
{
    using Clock = std::chrono::steady_clock;
    constexpr std::size_t clients = 20;
    bool at_once = false;
    for (int round = 0; round < 5 && !at_once; ++round) {  // a busy machine may be late
        asio::io_context context;
        tcp::acceptor before(context, {asio::ip::address_v4::loopback(), 0});
        tcp::acceptor after(context, {asio::ip::address_v4::loopback(), 0});
        Crowd crowd;
        crowd.aim(before.local_endpoint().port());
        REQUIRE(crowd.come(Role::client, clients) == clients);
        std::vector<tcp::socket> there;
        while (there.size() < clients) {
            there.push_back(before.accept());
        }
        crowd.aim(after.local_endpoint().port());
        std::vector<tcp::socket> come;
        come.push_back(after.accept());
        const auto first = Clock::now();
        auto last = first;
        auto asks = Clock::time_point::max();
        after.non_blocking(true);
        while (come.size() < clients || asks == Clock::time_point::max()) {
            REQUIRE(Clock::now() - first < 60s);
            asio::error_code none;
            tcp::socket client = after.accept(none);
            if (!none) {
                come.push_back(std::move(client));
                last = Clock::now();
                continue;
            }
            for (const tcp::socket& each : come) {
                if (each.available() > 0) {
                    asks = std::min(asks, Clock::now());
                }
            }
            std::this_thread::sleep_for(1ms);
        }
        at_once = (last - first) * 4 < asks - first;
    }
    CHECK(at_once);
}
