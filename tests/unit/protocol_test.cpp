#include "common/server/protocol.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

using namespace ground;

namespace {

// One connection. Results are shown as "30", or as the text of the error without "[Error]".
class Connection {
  public:
    explicit Connection(Framing framing = Framing::line, unsigned max_n = 50)
        : requests_({.framing = framing, .max_n = max_n, .fib = fib})
    {
    }

    // One read that returns this, or several if it does not fit.
    Connection& read(std::string_view bytes)
    {
        while (!bytes.empty() && !requests_.ended()) {
            const std::span<char> buffer = requests_.buffer();
            REQUIRE_FALSE(buffer.empty());
            const std::size_t size = std::min(buffer.size(), bytes.size());
            std::copy_n(bytes.begin(), size, buffer.begin());
            bytes.remove_prefix(size);
            requests_.received(size);
            collect();
        }
        return *this;
    }

    Connection& end_of_file()
    {
        if (!requests_.ended()) {
            static_cast<void>(requests_.buffer());
            requests_.received(0);
            collect();
        }
        return *this;
    }

    [[nodiscard]] const std::vector<std::string>& got() const { return got_; }
    [[nodiscard]] bool ended() const { return requests_.ended(); }

  private:
    void collect()
    {
        while (const auto request = requests_.next()) {
            if (request->valid()) {
                got_.push_back(std::to_string(request->n));
                continue;
            }
            const std::string_view error = request->error;
            REQUIRE(error.starts_with("[Error] "));
            REQUIRE(error.ends_with("\n"));
            REQUIRE(std::count(error.begin(), error.end(), '\n') == 1);
            got_.emplace_back(error.substr(8, error.find_first_of(",:\n") - 8));
        }
    }

    Requests requests_;
    std::vector<std::string> got_;
};

using Got = std::vector<std::string>;

std::vector<std::string> got_from(std::string_view line, unsigned max_n = 50)
{
    return Connection(Framing::line, max_n).read(line).got();
}

}  // namespace

TEST_CASE("protocol: a word is a request in a stage that knows it, and an error in others")
{
    const auto first = [](const char* word, std::string_view bytes) {
        Requests requests({.framing = Framing::line, .word = word});
        std::copy(bytes.begin(), bytes.end(), requests.buffer().begin());
        requests.received(bytes.size());
        return requests.next().value();
    };
    CHECK(first("count", " count \r\n").is_word);
    CHECK(first("count", "count\n").valid());
    for (const char* const text : {"counts\n", "COUNT\n", "coun\n"}) {
        CHECK_FALSE(first("count", text).is_word);
        CHECK_FALSE(first("count", text).valid());
    }
    CHECK_FALSE(first("count", "30\n").is_word);
    CHECK_FALSE(first("", "count\n").valid());
}

TEST_CASE("protocol: a number on a line is a request")
{
    CHECK(got_from("30\n") == Got{"30"});
    CHECK(got_from("0\n") == Got{"0"});
    CHECK(got_from("50\n") == Got{"50"});
    CHECK(got_from("0000000030\n") == Got{"30"});
    CHECK(got_from("+30\n") == Got{"30"});
}

TEST_CASE("protocol: blanks around a number do not matter, but blanks inside do")
{
    CHECK(got_from(" \t 30\t \n") == Got{"30"});
    CHECK(got_from("3 0\n") == Got{"not a number"});
    CHECK(got_from("+ 3\n") == Got{"not a number"});
}

TEST_CASE("protocol: lines end with LF, CRLF or CR, and blank ones are ignored")
{
    CHECK(got_from("1\n2\r\n3\r4\n") == Got{"1", "2", "3", "4"});
    CHECK(got_from("\n\r\r\n  \n\t\r1\n\n") == Got{"1"});
    CHECK(got_from("\n\r\n") == Got{});
}

TEST_CASE("protocol: a line that is no number gets an error that says so")
{
    for (const char* line : {"x\n", "3x\n", "x3\n", "1.0\n", "1e1\n", "0x1\n", "-\n", "+\n",
                             "--1\n", "+-1\n", "-+1\n", "\xc3\xa9\n", "1,000\n"}) {
        CAPTURE(line);
        CHECK(got_from(line) == Got{"not a number"});
    }
    CHECK(got_from({"1\0\n", 3}) == Got{"not a number"});
    CHECK(got_from({"\0\n", 2}) == Got{"not a number"});
}

TEST_CASE("protocol: negative and large numbers get an error that says so, however large they are")
{
    CHECK(got_from("-1\n") == Got{"negative number"});
    CHECK(got_from("-0\n") == Got{"negative number"});
    CHECK(got_from("-99999999999999999999999999\n") == Got{"negative number"});
    CHECK(got_from("51\n") == Got{"number too large"});
    CHECK(got_from("4294967296\n") == Got{"number too large"});
    CHECK(got_from("4294967297\n") == Got{"number too large"});
    CHECK(got_from("18446744073709551617\n") == Got{"number too large"});
    CHECK(got_from("99999999999999999999999999\n") == Got{"number too large"});
}

TEST_CASE("protocol: the largest number is the one that the rules say")
{
    CHECK(got_from("10\n11\n", 10) == Got{"10", "number too large"});
    CHECK(got_from("93\n94\n", 93) == Got{"93", "number too large"});
    CHECK(got_from("0\n1\n", 0) == Got{"0", "number too large"});
}

TEST_CASE("protocol: line framing gives the same requests, wherever the reads cut the bytes")
{
    const std::string_view text = " 30\r\n\r\nx y\n-1\r7\n\n51\r\r\n +2 \n12";
    const Got expected{"30", "not a number", "negative number", "7", "number too large", "2", "12"};
    for (std::size_t i = 0; i <= text.size(); ++i) {
        for (std::size_t j = i; j <= text.size(); ++j) {
            CAPTURE(i);
            CAPTURE(j);
            Connection connection;
            connection.read(text.substr(0, i)).read(text.substr(i, j - i)).read(text.substr(j));
            REQUIRE(connection.end_of_file().got() == expected);
        }
    }
    Connection byte_by_byte;
    for (std::size_t i = 0; i < text.size(); ++i) {
        byte_by_byte.read(text.substr(i, 1));
    }
    CHECK(byte_by_byte.end_of_file().got() == expected);
}

TEST_CASE("protocol: line framing waits for the end of the line")
{
    Connection connection(Framing::line);
    CHECK(connection.read("3").got() == Got{});
    CHECK(connection.read("0").got() == Got{});
    CHECK(connection.read("\n").got() == Got{"30"});
}

TEST_CASE("protocol: chunk framing takes the rest of a read as a request")
{
    Connection connection(Framing::chunk);
    CHECK(connection.read("30").got() == Got{"30"});
    CHECK(connection.read("1\n2").got() == Got{"30", "1", "2"});
    CHECK(connection.read("3\r").got() == Got{"30", "1", "2", "3"});
    CHECK(connection.read("\n").got() == Got{"30", "1", "2", "3"});
    CHECK(connection.read("3").read("0\n").got() == Got{"30", "1", "2", "3", "3", "0"});
    CHECK(connection.end_of_file().got().size() == 6);
}

TEST_CASE("protocol: auto framing is chunk framing until the first line end, and then line framing")
{
    Connection connection(Framing::automatic);
    CHECK(connection.read("30").got() == Got{"30"});
    CHECK(connection.read("1").got() == Got{"30", "1"});
    CHECK(connection.read("2\n3").got() == Got{"30", "1", "2"});
    CHECK(connection.read("1").got() == Got{"30", "1", "2"});
    CHECK(connection.read("\n").got() == Got{"30", "1", "2", "31"});
}

TEST_CASE("protocol: any line end switches auto framing, even that of a blank line")
{
    for (const char* line_end : {"\n", "\r", "\r\n"}) {
        CAPTURE(line_end);
        CHECK(Connection(Framing::automatic).read(line_end).read("3").read("0\n").got() ==
              Got{"30"});
    }
}

TEST_CASE("protocol: a last line without an end is a request, once")
{
    for (const Framing framing : {Framing::line, Framing::chunk, Framing::automatic}) {
        CHECK(Connection(framing).read("1\n30").end_of_file().got() == Got{"1", "30"});
        CHECK(Connection(framing).read("30").end_of_file().got() == Got{"30"});
        CHECK(Connection(framing).read("30\r").end_of_file().got() == Got{"30"});
        CHECK(Connection(framing).read("1\n  ").end_of_file().got() == Got{"1"});
        CHECK(Connection(framing).end_of_file().got() == Got{});
    }
}

TEST_CASE("protocol: a connection ends with its file, and not before")
{
    Connection connection;
    CHECK_FALSE(connection.ended());
    CHECK_FALSE(connection.read("1\n").ended());
    CHECK(connection.end_of_file().ended());
}

TEST_CASE("protocol: a line may be 100 bytes long, its end not counted")
{
    const std::string longest = std::string(98, ' ') + "30";
    for (const Framing framing : {Framing::line, Framing::chunk, Framing::automatic}) {
        for (const char* line_end : {"\n", "\r\n", "\r"}) {
            Connection connection(framing);
            connection.read(longest + line_end).read("1\n");
            CHECK(connection.got() == Got{"30", "1"});
            CHECK_FALSE(connection.ended());
        }
    }
}

TEST_CASE("protocol: a longer line is an error and ends the connection, wherever the reads cut it")
{
    const std::string text = "1\n" + std::string(101, '1') + "\n2\n";
    for (std::size_t i = 0; i <= text.size(); ++i) {
        CAPTURE(i);
        const std::string_view view = text;
        Connection connection;
        connection.read(view.substr(0, i)).read(view.substr(i)).end_of_file();
        REQUIRE(connection.got() == Got{"1", "line longer than 100 bytes"});
        REQUIRE(connection.ended());
    }
}

TEST_CASE("protocol: an endless line is an error as soon as it is too long")
{
    for (const char byte : {'1', ' ', 'x'}) {
        CAPTURE(byte);
        Connection connection;
        connection.read(std::string(100, byte));
        CHECK(connection.got() == Got{});
        CHECK_FALSE(connection.ended());
        connection.read(std::string(1, byte));
        CHECK(connection.got() == Got{"line longer than 100 bytes"});
        CHECK(connection.ended());
    }
}

TEST_CASE("protocol: many requests in one read come out one by one, in order")
{
    std::string text;
    Got expected;
    for (int i = 0; i < 1000; ++i) {
        text += std::to_string(i % 51) + "\n";
        expected.push_back(std::to_string(i % 51));
    }
    CHECK(Connection().read(text).got() == expected);
}

TEST_CASE("protocol: replies end with LF")
{
    CHECK(format_reply(832040) == "832040\n");
    CHECK(format_reply(12200160415121876738ULL) == "12200160415121876738\n");
    CHECK(format_error("worker died") == "[Error] worker died\n");
}
