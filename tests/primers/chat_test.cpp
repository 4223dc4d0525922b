#include "tests/harness.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <signal.h>

#include <string>

using namespace ground::test;

namespace {

class Chat : public Program {
  public:
    Chat() : Program({.command = {PROGRAM, "0"}})
    {
        out().wait_for("\n");
        const std::string line = out().text();
        port_ = static_cast<std::uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
    }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

  private:
    std::uint16_t port_ = 0;
};

// A client that is in the room: another client has heard it.
Client join(const Chat& chat, Client& hearer, const std::string& name, int receive_buffer = 0)
{
    Client client(chat.port(), receive_buffer);
    client.send(name + " is here\n");
    CHECK(hearer.read_line() == name + " is here");
    return client;
}

// No other client can hear the first one, so it talks until one does.
std::pair<Client, Client> two(const Chat& chat)
{
    Client first(chat.port());
    Client second(chat.port());
    eventually("the second one hears the first", [&] {
        first.send("?\n");
        return second.readable();
    });
    // When this has come, all that was still on its way has come.
    first.send("ready\n");
    while (second.read_line() != "ready") {
    }
    return {std::move(first), std::move(second)};
}

}  // namespace

TEST_CASE("chat: all other clients get each line, in order, and its sender does not")
{
    const Chat chat;
    auto [ann, ben] = two(chat);
    Client eve = join(chat, ann, "eve");
    CHECK(ben.read_line() == "eve is here");
    for (int i = 0; i < 50; ++i) {
        ann.send(fmt::format("{}\n", i));
    }
    for (int i = 0; i < 50; ++i) {
        CHECK(ben.read_line() == fmt::format("{}", i));
        CHECK(eve.read_line() == fmt::format("{}", i));
    }
    ben.send("done\n");
    CHECK(ann.read_line() == "done");  // and nothing of her own before it
}

TEST_CASE("chat: a client that resets its connection does not disturb the others")
{
    const Chat chat;
    auto [ann, ben] = two(chat);
    Client eve = join(chat, ann, "eve");
    CHECK(ben.read_line() == "eve is here");
    Client dan = join(chat, ann, "dan");
    CHECK(ben.read_line() == "dan is here");
    CHECK(eve.read_line() == "dan is here");
    dan.reset();
    chat.err().wait_for("Connection reset by peer");  // what logging itself opens is open now
    ann.send("where is dan?\n");
    CHECK(ben.read_line() == "where is dan?");
    CHECK(eve.read_line() == "where is dan?");
    const std::size_t before = chat.descriptors();
    eve.reset();
    eventually("eve is forgotten", [&] { return chat.descriptors() == before - 1; });
    ann.send("still there?\n");
    CHECK(ben.read_line() == "still there?");
}

TEST_CASE(
    "chat: a client that does not read delays no other, fills no memory, and is told what it "
    "missed")
{
    const Chat chat;
    auto [ann, ben] = two(chat);
    Client slow = join(chat, ann, "slow", 4096);
    CHECK(ben.read_line() == "slow is here");
    const std::string line(400, 'x');
    std::size_t number = 0;
    const auto talk = [&, &from = ann, &to = ben](std::size_t lines) {
        for (std::size_t i = 0; i < lines; ++i, ++number) {
            from.send(fmt::format("{} {}\n", number, line));
            REQUIRE(to.read_line() == fmt::format("{} {}", number, line));
        }
    };
    // More than the kernel's buffers and the queue hold.
    talk(20'000);
    const std::size_t memory = chat.memory();
    talk(20'000);  // 8 MB more
    if (!sanitized) {
        CHECK(chat.memory() < memory + 1'000'000);
    }

    // All that it has is in order, and what is missing is named at the place where it is missing.
    std::size_t next = 0;
    bool told = false;
    slow.grow_receive_buffer();
    while (!told) {
        const std::string got = slow.read_line();
        if (got.starts_with("[")) {
            CHECK(got == fmt::format("[{} lines missed]", number - next));
            told = true;
        } else {
            REQUIRE(got == fmt::format("{} {}", next, line));
            ++next;
        }
    }
    ann.send("hello again\n");
    CHECK(slow.read_line() == "hello again");
}

TEST_CASE("chat: a line without end is cut, not kept")
{
    const Chat chat;
    auto [ann, ben] = two(chat);
    ann.send(std::string(700, 'x') + "\n");
    CHECK(ben.read_line() == std::string(700, 'x'));  // in two pieces
}

TEST_CASE("chat: it ends on Ctrl-C, and a wrong port gets one line")
{
    Chat chat;
    auto [ann, ben] = two(chat);
    chat.signal(SIGINT);
    CHECK(chat.wait() == 0);
    const Outcome wrong = run({.command = {PROGRAM, "2500x"}});
    CHECK(wrong.status == 2);
    CHECK(wrong.err == "usage: chat [PORT]\n");
}
