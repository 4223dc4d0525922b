// room_parts_test.cpp -- the room's HTTP, its names, its questions and its rules, without a
// network.

#include "clients/board/http.hpp"
#include "clients/board/questions.hpp"
#include "clients/board/room.hpp"
#include "tests/harness.hpp"

#include <asio.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <random>
#include <thread>

using namespace ground::board;
using namespace std::chrono_literals;
using Json = nlohmann::json;

namespace {

const std::string get = "GET /state?after=3 HTTP/1.1\r\nHost: a:1\r\n";

int status_of(const std::string& text) { return read_request(text).status; }

std::string post(const std::string& headers, const std::string& body = "")
{
    return "POST /join HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body;
}

// A room in front of a server that answers nothing, with limits that a test can wait for.
struct Fixture {
    explicit Fixture(RoomLimits limits = {})
        : room({&crowd},
               {{"01", {{"Which?", {"a", "b", "c"}, 1}, {"And?", {"x", "y"}, std::nullopt}}},
                {"02", {}}},
               limits)
    {
        room.open("http://192.0.2.7:8080/", [this](std::optional<unsigned>) { ++woken; });
    }
    std::string join(const std::string& name, const std::string& address = "192.0.2.1")
    {
        const Room::Reply reply = room.join({{"name", name}}, address);
        return reply.status == 200 ? Json::parse(reply.body)["token"].get<std::string>() : "";
    }
    Json state(const std::string& token)
    {
        const auto phone = room.phone_of(token);
        const auto found = phone ? room.state_of(*phone, 0) : std::nullopt;
        return found ? Json::parse(found->json) : Json();
    }
    Json shown() { return Json::parse(room.shown(0).json); }
    int vote(const std::string& token, std::size_t answer)
    {
        return room.vote(token, {{"question", shown()["question"]["serial"]}, {"answer", answer}})
            .status;
    }
    int woken = 0;
    Crowd crowd;
    Room room;
};

}  // namespace

TEST_CASE("http: a request is taken as soon as it is there, and not before")
{
    const std::string text = get + "Authorization: Phone 0123\r\nOrigin: http://a:1\r\n\r\n";
    for (std::size_t size = 0; size < text.size(); ++size) {
        CHECK(status_of(text.substr(0, size)) == 0);
    }
    const HttpRead read = read_request(text + "GET / HT");
    REQUIRE(read.request);
    CHECK(read.size == text.size());
    CHECK(read.request->method == "GET");
    CHECK(read.request->path == "/state");
    CHECK(read.request->query == "after=3");
    CHECK(read.request->host == "a:1");
    CHECK(read.request->origin == "http://a:1");
    CHECK(read.request->authorization == "Phone 0123");
    CHECK(read.request->keep_alive);
}

TEST_CASE("http: a body is as long as it says")
{
    CHECK(status_of(post("Content-Length: 3\r\n", "ab")) == 0);
    const HttpRead read = read_request(post("content-length: 3\r\n", "abcd"));
    REQUIRE(read.request);
    CHECK(read.request->body == "abc");
}

TEST_CASE("http: what proxies and servers may read in two ways is refused")
{
    for (const char* const headers :
         {"Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: +3\r\n",
          "Content-Length: -1\r\n", "Content-Length: 0x3\r\n", "Content-Length:\r\n",
          "Content-Length: 3,3\r\n", "Host: b\r\n", "X : y\r\n", " X: y\r\n", "\tX: y\r\n", "X\r\n",
          ": y\r\n", "Origin: a\r\nOrigin: b\r\n", "X: a\x01\r\n", "X: a\nY: b\r\n",
          "X: a\rY: b\r\n", "Expect: 100-continue\r\n"}) {
        CHECK_MESSAGE(status_of(post(headers, "abc")) == 400, headers);
    }
    CHECK(status_of(post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")) == 501);
    CHECK(status_of(post("Upgrade: h2c\r\n")) == 501);
    for (const char* const line :
         {"GET\r\n\r\n", "GET /\r\n\r\n", "GET  HTTP/1.1\r\n\r\n", "GET / HTTP/2\r\n\r\n",
          "GET a HTTP/1.1\r\n\r\n", "GET / / HTTP/1.1\r\n\r\n", "\r\n\r\n",
          "GET http://a/ HTTP/1.1\r\n\r\n", "* / HTTP/1.1x\r\n\r\n"}) {
        CHECK_MESSAGE(status_of(line) == 400, line);
    }
}

TEST_CASE("http: heads and bodies are bounded")
{
    CHECK(status_of(std::string(longest_head - 1, 'a')) == 0);
    CHECK(status_of(std::string(longest_head, 'a')) == 431);
    CHECK(status_of(get + std::string(longest_head, 'a')) == 431);
    CHECK(status_of(post("Content-Length: 513\r\n")) == 413);
    CHECK(status_of(post("Content-Length: 99999999999999999999999\r\n")) == 413);
    CHECK(status_of(post("Content-Length: 512\r\n")) == 0);
}

TEST_CASE("http: no bytes make it read what is not there")
{
    std::minstd_rand random{7};
    const std::string pieces[] = {
        "GET", " ", "/",    "HTTP/1.1", "\r\n", "\r", "\n", ":", "Content-Length",
        "3",   "a", "\xff", "?",        "Host"};
    for (int i = 0; i < 20'000; ++i) {
        std::string text;
        for (auto n = random() % 24; n > 0; --n) {
            text += pieces[random() % std::size(pieces)];
        }
        const HttpRead read = read_request(text);
        CHECK(read.size <= text.size());
        CHECK(read.request.has_value() == (read.status == 200));
    }
}

TEST_CASE("room: a name is a line of text")
{
    CHECK(clean_name("Ann") == "Ann");
    CHECK(clean_name("  Ann \t\n  of  Green ") == "Ann of Green");
    CHECK(clean_name("<script>alert(1)") == "<script>alert(1)");  // text, like any other
    CHECK(clean_name("J\u00f6rg \u674e") == "J\u00f6rg \u674e");
    CHECK(clean_name("\u202eelttil") == "elttil");  // would turn the line around
    CHECK(clean_name("a\u200b\u2066b\ufeff\u00ad") == "ab");
    CHECK(clean_name(std::string("a\0b\x1b[31m", 8)) == "ab[31m");
    CHECK(clean_name("a\u0301\u0301\u0301\u0301\u0301") == "a\u0301\u0301\u0301");
    // A tower of vowels or tones: Hebrew, Arabic, Thai, Devanagari, Bengali, Tibetan, music.
    for (const auto& [letter, mark] : {std::pair("\u05d0", "\u05b0"), std::pair("\u0628", "\u064b"),
                                       std::pair("\u0e01", "\u0e34"), std::pair("\u0915", "\u0941"),
                                       std::pair("\u0995", "\u09c1"), std::pair("\u0f40", "\u0f72"),
                                       std::pair("A", "\U0001d165")}) {
        std::string tower = letter;
        for (int i = 0; i < 10; ++i) {
            tower += mark;
        }
        CHECK(clean_name(tower) == fmt::format("{0}{1}{1}{1}", letter, mark));
    }
    for (const char* const whole :
         {"\u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f", "\u0921\u093c\u0947\u0902",
          "\u0627\u0644\u0644\u0651\u0670\u0647", "\u0e1b\u0e4a\u0e2d\u0e01",
          "\ud55c\uc9c0\ubbfc"}) {
        CHECK(clean_name(whole) == whole);
    }
    CHECK(clean_name("abcdefghijklmnopqrstuvwxyz") == "abcdefghijklmnopqrst");
    for (const char* const none : {"", "   ", "\u200b", "\xff", "\xc0\xaf", "\xed\xa0\x80",
                                   "a\xe2\x82", "\xf4\x90\x80\x80", "\u3000", "\u2800"}) {
        CHECK_MESSAGE(clean_name(none).empty(), none);
    }
}

TEST_CASE("room: two phones never have the same name")
{
    Fixture it;
    for (const char* const name : {"Ann", "Ann", "ann"}) {
        it.join(name);
    }
    CHECK(it.shown()["phones"][0][1] == "Ann");
    CHECK(it.shown()["phones"][1][1] == "Ann 2");
    CHECK(it.shown()["phones"][2][1] == "ann 3");
}

TEST_CASE("room: questions come from the list under Predict, if they have answers")
{
    const std::vector<Question> questions = read_questions(
        "# 01\n\n1. Not here.\n   <!-- vote: a | b -->\n\n## Predict\n\nSome words.\n\n"
        "1. What does `Ben`\n   see, in [02](02.md#x)?\n   <!-- vote: an error | *nothing\n   at "
        "all | `b` -->\n"
        "2. For readers.\n3. **Both**?\n   <!-- vote: yes | no -->\n4. One?\n   <!-- vote: yes "
        "-->\n"
        "\n## Run it\n\n1. Nor here.\n   <!-- vote: a | b -->\n");
    REQUIRE(questions.size() == 2);
    CHECK(questions[0].text == "What does Ben see, in 02?");
    CHECK(questions[0].answers == std::vector<std::string>{"an error", "nothing at all", "b"});
    CHECK(questions[0].right == 1U);
    CHECK(questions[1].text == "Both?");
    CHECK_FALSE(questions[1].right);
}

TEST_CASE("room: a token moves its own phone, and no other token does")
{
    Fixture it;
    const std::string ann = it.join("Ann");
    const std::string ben = it.join("Ben");
    REQUIRE(ann.size() == 32);
    CHECK(ann != ben);
    for (const std::string& other :
         {std::string(), ann.substr(1), ann + "0", std::string("Ann"), std::string(32, '0')}) {
        CHECK(it.room.ask(other, Json::object()).status == 410);
        CHECK(it.room.leave(other).status == 410);
        CHECK_FALSE(it.room.phone_of(other));
    }
    CHECK(it.room.ask(ann, Json::object()).status == 200);
    CHECK(it.state(ann)["servers"][0].contains("waits"));
    CHECK_FALSE(it.state(ben)["servers"][0].contains("waits"));
    CHECK(it.room.leave(ann).status == 200);
    CHECK(it.shown()["phones"].size() == 1);
    CHECK(it.state(ben)["name"] == "Ben");
    for (const std::string& text : {it.state(ben).dump(), it.shown().dump()}) {
        CHECK(text.find(ben) == std::string::npos);  // no token is ever shown
    }
}

TEST_CASE("room: a phone has one request at a time, and a big one only if that is allowed")
{
    Fixture it({.between_requests = 0ms});
    const std::string ann = it.join("Ann");
    CHECK(it.room.ask(ann, {{"big", true}}).status == 403);
    CHECK(it.room.obey({{"do", "big"}, {"allowed", true}}) == "");
    CHECK(it.room.ask(ann, {{"big", true}}).status == 200);
    CHECK(it.room.ask(ann, {{"big", false}}).status == 409);
    for (int i = 0; i < 7; ++i) {
        CHECK(it.room.ask(it.join("x", std::to_string(i)), {{"big", true}}).status == 200);
    }
    CHECK(it.room.ask(it.join("x", "8"), {{"big", true}}).status == 429);
    Fixture slow({.between_requests = 1h});
    const std::string ben = slow.join("Ben");
    CHECK(slow.room.ask(ben, Json::object()).status == 200);
    CHECK(slow.room.ask(ben, Json::object()).status != 200);
}

TEST_CASE("room: each phone has one vote, which it can change until the votes are shown")
{
    Fixture it;
    const std::string ann = it.join("Ann");
    const std::string ben = it.join("Ben");
    CHECK(it.room.vote(ann, {{"question", 1}, {"answer", 0}}).status == 409);
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}}) == "");
    CHECK(it.vote(ann, 0) == 200);
    CHECK(it.vote(ann, 2) == 200);
    CHECK(it.vote(ben, 2) == 200);
    CHECK(it.vote(ben, 3) == 400);
    CHECK(it.room.vote(ann, {{"question", 0}, {"answer", 0}}).status == 409);
    CHECK(it.room.vote(ann, {{"question", "1"}, {"answer", -1}}).status == 409);
    CHECK(it.shown()["question"]["votes"] == 2);
    CHECK(it.state(ann)["question"]["mine"] == 2);
    for (const Json& hidden : {it.shown()["question"], it.state(ann)["question"]}) {
        CHECK_FALSE(hidden.contains("counts"));
        CHECK_FALSE(hidden.contains("right"));
    }
    CHECK(it.room.obey({{"do", "show"}}) == "");
    CHECK(it.shown()["question"]["counts"] == Json{0, 0, 2});
    CHECK_FALSE(it.state(ann)["question"].contains("right"));
    CHECK(it.vote(ann, 1) == 409);
    CHECK(it.room.obey({{"do", "tell"}}) == "");
    CHECK(it.state(ann)["question"]["right"] == 1);
}

TEST_CASE("room: a phone that leaves and comes again has no second vote")
{
    Fixture it({.phones = 5, .per_address = 2, .until_away = 0ms});
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}}) == "");
    for (int i = 0; i < 6; ++i) {
        const std::string token = it.join("Ann");
        REQUIRE(!token.empty());
        CHECK(it.vote(token, 0) == 200);
        CHECK(it.room.leave(token).status == 200);
    }
    CHECK(it.shown()["question"]["votes"] == 0);
    // Nor has a row of phones that each go silent. The address has two places.
    for (int i = 0; i < 6; ++i) {
        const std::string token = it.join("Ann");
        REQUIRE(!token.empty());
        CHECK(it.vote(token, 0) == 200);
        std::this_thread::sleep_for(2ms);  // it is silent
        it.room.tick({"01"});
    }
    CHECK(it.shown()["question"]["votes"] == 2);
}

TEST_CASE("room: a question is asked again, and both rounds are shown")
{
    Fixture it;
    const std::string ann = it.join("Ann");
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}}) == "");
    it.vote(ann, 0);
    const auto first = it.shown()["question"]["serial"];
    CHECK(it.room.obey({{"do", "show"}}) == "");
    CHECK(it.room.obey({{"do", "again"}}) == "");
    CHECK_FALSE(it.state(ann)["question"].contains("mine"));
    CHECK(it.room.vote(ann, {{"question", first}, {"answer", 0}}).status == 409);
    it.vote(ann, 1);
    CHECK(it.room.obey({{"do", "show"}}) == "");
    CHECK(it.shown()["question"]["before"] == Json{1, 0, 0});
    CHECK(it.shown()["question"]["counts"] == Json{0, 1, 0});
    CHECK(it.room.obey({{"do", "close"}}) == "");
    CHECK_FALSE(it.shown().contains("question"));
}

TEST_CASE("room: hands are counted by key, also without a phone")
{
    Fixture it;
    CHECK(it.room.obey({{"do", "hand"}, {"answer", 0U}}) != "");
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}}) == "");
    for (int i = 0; i < 3; ++i) {
        CHECK(it.room.obey({{"do", "hand"}, {"answer", 2U}}) == "");
    }
    CHECK(it.room.obey({{"do", "hand"}, {"answer", 2U}, {"back", true}}) == "");
    CHECK(it.room.obey({{"do", "hand"}, {"answer", 3U}}) != "");
    CHECK(it.room.obey({{"do", "show"}}) == "");
    CHECK(it.shown()["question"]["counts"] == Json{0, 0, 2});
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}}) == "");
    CHECK(it.shown()["question"]["text"] == "And?");  // the next one
    CHECK(it.room.obey({{"do", "question"}, {"stage", "02"}}) != "");
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}, {"index", 2U}}) != "");
    CHECK(it.room.obey({{"do", "question"}, {"stage", "01"}, {"index", -1}}) != "");
    CHECK_FALSE(it.room.obey({{"do", "pause"}}));  // not the room's
}

TEST_CASE("room: a silent phone loses its client, and has one again when it comes back")
{
    Fixture it({.until_away = 20ms});
    const std::string ann = it.join("Ann");
    CHECK(it.crowd.all().size() == 1);
    std::this_thread::sleep_for(25ms);
    it.room.tick({"01"});
    CHECK(it.crowd.all().empty());
    CHECK(it.shown()["phones"][0][2] == true);
    CHECK(it.state(ann)["name"] == "Ann");
    CHECK(it.crowd.all().size() == 1);
    CHECK(it.shown()["phones"][0][2] == false);
}

TEST_CASE(
    "room: however many come, it holds no more than its limits, and the ones that are there stay")
{
    Fixture it({.phones = 10, .per_address = 3, .joins_per_second = 1e6, .joins_at_once = 1e6});
    const std::string ann = it.join("Ann", "192.0.2.200");
    for (int i = 0; i < 5000; ++i) {
        it.join("x", "192.0.2.1");
    }
    CHECK(it.shown()["phones"].size() == 4);
    for (int i = 0; i < 5000; ++i) {
        it.join("x", std::to_string(i));
    }
    CHECK(it.shown()["phones"].size() == 10);
    CHECK(it.crowd.all().size() == 10);
    CHECK(it.state(ann)["name"] == "Ann");
    Fixture slow({.joins_per_second = 0.001, .joins_at_once = 5});
    for (int i = 0; i < 100; ++i) {
        slow.join("x", std::to_string(i));
    }
    CHECK(slow.shown()["phones"].size() == 5);
}

TEST_CASE("room: the clients' own commands leave phones alone, except one that is named")
{
    Fixture it;
    it.join("Ann");
    it.crowd.come(Role::idle, 2);
    it.crowd.all_leave();
    CHECK(it.crowd.all().size() == 1);
    CHECK_FALSE(it.crowd.leave(std::nullopt));
    CHECK(it.room.obey({{"do", "phone-leaves"}, {"client", 99U}}) != "");
    CHECK(it.room.obey({{"do", "phone-leaves"}, {"client", it.crowd.all()[0].number}}) == "");
    CHECK(it.crowd.all().empty());
    CHECK(it.shown()["phones"].empty());
}

TEST_CASE("crowd: a hog's replies are not among the latencies, and a phone's small ones are")
{
    asio::io_context context;
    asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    Fixture it({.between_requests = 0ms});
    it.crowd.aim(acceptor.local_endpoint().port());
    const auto answer_one = [](asio::ip::tcp::socket& client) {
        std::array<char, 100> bytes{};
        const std::size_t size = client.read_some(asio::buffer(bytes));
        asio::write(client, asio::buffer("1\n", 2));
        return std::string(bytes.data(), size);
    };
    it.crowd.come(Role::hog, 1);
    asio::ip::tcp::socket hog = acceptor.accept();
    CHECK(answer_one(hog) == "42\n");
    const std::string ann = it.join("Ann");
    asio::ip::tcp::socket phone = acceptor.accept();
    CHECK(it.room.ask(ann, Json::object()).status == 200);
    CHECK(answer_one(phone) == "20\n");
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!it.state(ann)["servers"][0].contains("reply")) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        std::this_thread::sleep_for(1ms);
    }
    CHECK(it.state(ann)["servers"][0]["reply"] == "1");
    std::vector<double> latencies;
    while (latencies.empty()) {
        REQUIRE(std::chrono::steady_clock::now() < deadline);
        const Tally tally = it.crowd.take();
        latencies.insert(latencies.end(), tally.latencies.begin(), tally.latencies.end());
        std::this_thread::sleep_for(1ms);
    }
    CHECK(latencies.size() == 1);
}
