// protocol.hpp -- the conversation that every stage holds: numbers in, Fibonacci numbers out.
//
// A request is a decimal integer on a line of its own, ended by LF, CRLF or CR. Blanks around it
// are allowed, and blank lines are ignored. The reply is fib(n) and LF, or "[Error] ", a reason and
// LF. docs/protocol.md has the whole contract. Nothing in here knows about sockets.
#pragma once

#include "common/server/fib.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ground {

// How a stream of bytes is cut into requests. TCP keeps no message boundaries. If a client sends
// numbers without line ends, the server can only guess.
enum class Framing {
    line,       // a fragment waits for the end of its line
    chunk,      // a fragment at the end of a read is a request: the talk's clients rely on this
    automatic,  // chunk until the client has sent its first line end, line from then on
};

// What a server accepts and how it computes. Small: pass it by value.
struct Rules {
    Framing framing = Framing::automatic;
    unsigned max_n = 50;  // larger numbers are refused
    FibFunction fib = ground::fib;
    const char* word = "";  // a request besides numbers: "count" in 02d_shared_state
};

// One request: a number to compute or the stage's word. If it is neither, error is the reply.
struct Request {
    unsigned n = 0;
    std::string error;  // empty, or a whole "[Error] ...\n"
    bool is_word = false;

    [[nodiscard]] bool valid() const noexcept { return error.empty(); }
};

// The requests of one connection, in order, however its bytes are cut into pieces.
//
//     Requests requests(rules);
//     while (!requests.ended()) {
//         requests.received(recv(client, requests.buffer()));
//         while (auto request = requests.next()) ...
//     }
//
// Not thread-safe: a connection has one reader.
class Requests {
  public:
    // The longest line, in bytes, without its end.
    static constexpr std::size_t max_line = 100;

    explicit Requests(Rules rules) : rules_(rules), whose_(observe::whose()) {}

    // Where the next read goes. It has room for some bytes whenever next() has returned nothing.
    [[nodiscard]] std::span<char> buffer(Here here = Here::at()) noexcept;

    // That many bytes were read into buffer(); 0 means end of file.
    void received(std::size_t size) noexcept;

    // The next request, or nothing if more bytes must be received first. Call until it returns
    // nothing.
    [[nodiscard]] std::optional<Request> next(Here here = Here::at());

    // Nothing more will come: the client has finished, or has sent a line that is too long.
    [[nodiscard]] bool ended() const noexcept { return ended_; }

  private:
    [[nodiscard]] std::optional<std::string_view> next_line();
    [[nodiscard]] Request parse(std::string_view line) const;

    // All of it is small, because ten thousand idle connections have one each.
    Rules rules_;
    observe::Who whose_;
    bool ended_ = false;
    bool line_end_seen_ = false;
    std::uint16_t begin_ = 0;  // bytes_[begin_, end_): received, not yet given out by next()
    std::uint16_t end_ = 0;
    // At most max_line bytes are kept from one read to the next, so there is always room for more.
    std::array<char, 128> bytes_;
};

// "832040\n"
[[nodiscard]] std::string format_reply(Number number);

// "[Error] reason\n"
[[nodiscard]] std::string format_error(std::string_view reason);

}  // namespace ground
