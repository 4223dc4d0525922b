// protocol_fuzz.cpp -- any bytes, cut anywhere, against a reference that sees all of them at once.
//
// The first byte of an input is the largest number allowed ('2' is 50). The rest is what a client
// sends. In it '|' ends what one read returns, and after a backslash the next byte is an ordinary
// one.
#include "common/server/protocol.hpp"
#include "fuzz/fuzz.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace ground;

namespace {

using Pieces = std::vector<std::string_view>;

// What one client and its server have sent to each other.
struct Conversation {
    Pieces reads;  // what each read returned, without the end of file
    std::vector<std::string> replies;
    bool hung_up = false;  // by the server, in mid-stream
};

// The contract of docs/protocol.md, written for readers, not for a server. It may look at the whole
// stream, and allocate as it likes. It does not rely on a standard function to know what a number
// is.
namespace reference {

std::string fib(unsigned n)
{
    Number before = 0;
    Number number = 1;
    for (unsigned i = 1; i < n; ++i) {
        before = std::exchange(number, before + number);
    }
    return std::to_string(number) + "\n";
}

// To a line without its end. Empty for a blank one.
std::string reply_to(std::string line, unsigned max_n)
{
    constexpr auto blanks = " \t\v\f";
    line.erase(0, line.find_first_not_of(blanks));
    line.erase(line.find_last_not_of(blanks) + 1);
    if (line.empty()) {
        return "";
    }
    const bool negative = line.front() == '-';
    if (negative || line.front() == '+') {
        line.erase(0, 1);
    }
    if (line.empty() || line.find_first_not_of("0123456789") != std::string::npos) {
        return "[Error] not a number, send one like 30\n";
    }
    if (negative) {
        return "[Error] negative number, the smallest is 0\n";
    }
    line.erase(0, line.find_first_not_of('0'));
    if (line.size() > 2 || std::stoul("0" + line) > max_n) {  // max_n has two digits at the most
        return "[Error] number too large, the largest is " + std::to_string(max_n) + "\n";
    }
    return fib(static_cast<unsigned>(std::stoul("0" + line)));
}

// The framings differ only in where they assume a line end that was not sent. With those written
// into it, any stream consists of lines. (One too many ends a blank line, which is no request.)
std::string as_lines(const Pieces& reads, Framing framing, bool half_close)
{
    std::string stream;
    bool line_end_sent = false;
    for (const std::string_view read : reads) {
        stream += read;
        line_end_sent = line_end_sent || read.find_first_of("\r\n") != std::string::npos;
        if (framing == Framing::chunk || (framing == Framing::automatic && !line_end_sent)) {
            stream += '\n';
        }
    }
    return half_close ? stream + '\n' : stream;
}

// Reads, replies, and whether the server has closed.
Conversation conversation(Pieces reads, const Rules& rules, bool half_close)
{
    Conversation result;
    std::string line;
    for (const char c : as_lines(reads, rules.framing, half_close)) {
        if (c != '\n' && c != '\r') {
            line += c;
        } else if (auto reply = reply_to(std::exchange(line, ""), rules.max_n); !reply.empty()) {
            result.replies.push_back(std::move(reply));
        }
        if (line.size() > 100) {
            result.replies.emplace_back("[Error] line longer than 100 bytes\n");
            result.hung_up = true;
            break;
        }
    }
    result.reads = std::move(reads);
    return result;
}

}  // namespace reference

// Small ones also by the definition.
std::string reply_to(const Request& request)
{
    if (!request.valid()) {
        return request.error;
    }
    const FibFunction compute = request.n <= 12 ? fib : fib_fast;
    return format_reply(compute(request.n));
}

// The loop of a stage. Each piece is what one read returns, or several reads if there is no room
// for it. The rest of the buffer is filled with rest_of_buffer, which shows in the replies if the
// parser looks too far.
Conversation converse(const Pieces& pieces, const Rules& rules, bool half_close,
                      char rest_of_buffer)
{
    Conversation result;
    Requests requests(rules);
    const std::size_t capacity = requests.buffer().size();
    const auto read = [&](std::string_view bytes) {
        const std::span<char> buffer = requests.buffer();
        if (capacity - buffer.size() > Requests::max_line || buffer.empty()) {
            throw Finding("keeps more than a line from one read to the next");
        }
        std::fill(buffer.begin(), buffer.end(), rest_of_buffer);
        const std::size_t size = bytes.copy(buffer.data(), buffer.size());
        requests.received(size);
        while (const auto request = requests.next()) {
            result.replies.push_back(reply_to(*request));
        }
        return size;
    };
    for (std::string_view rest : pieces) {
        while (!rest.empty() && !requests.ended()) {
            const std::size_t size = read(rest);
            result.reads.emplace_back(rest.substr(0, size));
            rest.remove_prefix(size);
        }
    }
    result.hung_up = requests.ended();
    if (half_close && !requests.ended()) {
        read("");
        if (!requests.ended()) {
            throw Finding("goes on after the end of file");
        }
    }
    return result;
}

std::vector<std::string> replies_to(const Pieces& pieces, const Rules& rules, bool half_close)
{
    constexpr const char* framings[] = {"line", "chunk", "auto"};
    std::vector<std::string> replies;
    for (const char rest_of_buffer : {'7', '\n'}) {
        Conversation seen = converse(pieces, rules, half_close, rest_of_buffer);
        const Conversation expected = reference::conversation(seen.reads, rules, half_close);
        if (seen.replies != expected.replies || seen.hung_up != expected.hung_up) {
            throw Finding(fmt::format(
                "--framing {} --max-n {}, reads {}{}\nreplies  {}{}\nexpected {}{}",
                framings[static_cast<int>(rules.framing)], rules.max_n, seen.reads,
                half_close ? ", end of file" : "", seen.replies, seen.hung_up ? ", hung up" : "",
                expected.replies, expected.hung_up ? ", hung up" : ""));
        }
        replies = std::move(seen.replies);
    }
    return replies;
}

// The stream of an input, and where its cuts are.
struct Input {
    std::string stream;
    std::vector<std::size_t> cuts;

    explicit Input(std::string_view text)
    {
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '|') {
                cuts.push_back(stream.size());
                continue;
            }
            i += text[i] == '\\' && i + 1 < text.size() ? 1U : 0U;
            stream += text[i];
        }
    }

    [[nodiscard]] Pieces pieces() const
    {
        Pieces pieces;
        std::size_t begin = 0;
        for (const std::size_t end : cuts) {
            pieces.push_back(std::string_view(stream).substr(begin, end - begin));
            begin = end;
        }
        pieces.push_back(std::string_view(stream).substr(begin));
        return pieces;
    }
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size == 0) {
        return 0;
    }
    const unsigned max_n = data[0] % (fib_limit + 1);
    Input input(as_text(data + 1, size - 1));
    const Pieces as_given = input.pieces();
    input.cuts.clear();
    const Pieces in_one = input.pieces();
    input.cuts.resize(input.stream.size());
    std::iota(input.cuts.begin(), input.cuts.end(), 0);
    const Pieces byte_by_byte = input.pieces();
    for (const Framing framing : {Framing::line, Framing::chunk, Framing::automatic}) {
        const Rules rules{.framing = framing, .max_n = max_n, .fib = fib};
        for (const bool half_close : {false, true}) {
            const auto replies = replies_to(as_given, rules, half_close);
            const bool same = replies_to(in_one, rules, half_close) == replies &&
                              replies_to(byte_by_byte, rules, half_close) == replies;
            // The reference says so, too, but this check does not rely on it.
            if (framing == Framing::line && !same) {
                throw Finding("--framing line: the replies depend on where the stream is cut");
            }
        }
    }
    return 0;
}
