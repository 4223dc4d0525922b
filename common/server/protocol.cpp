#include "common/server/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ground {

namespace {

constexpr bool is_line_end(char c) { return c == '\n' || c == '\r'; }

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\v' || c == '\f'; }

std::string_view trim(std::string_view text)
{
    while (!text.empty() && is_blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && is_blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

}  // namespace

std::span<char> Requests::buffer(Here here) noexcept
{
    observe::is_at(whose_, here);
    // Moves the unfinished line to the front: at most max_line bytes.
    std::memmove(bytes_.data(), bytes_.data() + begin_, static_cast<std::size_t>(end_ - begin_));
    end_ = static_cast<std::uint16_t>(end_ - begin_);
    begin_ = 0;
    return std::span(bytes_).subspan(end_);
}

void Requests::received(std::size_t size) noexcept
{
    observe::is_at(whose_, {});
    end_ = static_cast<std::uint16_t>(end_ + size);
    ended_ = size == 0;
}

std::optional<Request> Requests::next(Here here)
{
    observe::passes(whose_, here);
    while (auto line = next_line()) {
        if (line->size() > max_line) {
            // Such a client does not speak our protocol: reply once and hang up.
            ended_ = true;
            begin_ = end_;
            return Request{0, format_error(fmt::format("line longer than {} bytes", max_line))};
        }
        const std::string_view text = trim(*line);
        if (!text.empty()) {
            return parse(text);
        }
    }
    return std::nullopt;
}

// Returns a line without its end. CRLF needs no care: it is a CR and then a blank line.
std::optional<std::string_view> Requests::next_line()
{
    const std::string_view rest(bytes_.data() + begin_, static_cast<std::size_t>(end_ - begin_));
    const auto line_end = std::find_if(rest.begin(), rest.end(), is_line_end);
    if (line_end != rest.end()) {
        const auto length = static_cast<std::size_t>(line_end - rest.begin());
        line_end_seen_ = true;
        begin_ = static_cast<std::uint16_t>(begin_ + length + 1);
        return rest.substr(0, length);
    }
    const bool complete = ended_ || rest.size() > max_line || rules_.framing == Framing::chunk ||
                          (rules_.framing == Framing::automatic && !line_end_seen_);
    if (rest.empty() || !complete) {
        return std::nullopt;
    }
    begin_ = end_;
    return rest;
}

Request Requests::parse(std::string_view text) const
{
    if (text == rules_.word) {  // never if there is no word, because text is not empty
        return {0, {}, true};
    }
    const char* const end = text.data() + text.size();
    // One sign is allowed, as int() in Python allows it.
    const bool negative = text.front() == '-';
    const char* const digits = text.data() + (negative || text.front() == '+' ? 1 : 0);
    unsigned n = 0;
    const auto [stop, problem] = std::from_chars(digits, end, n);
    if (stop != end || problem == std::errc::invalid_argument) {
        return {0, format_error("not a number, send one like 30")};
    }
    if (negative) {
        return {0, format_error("negative number, the smallest is 0")};
    }
    if (problem == std::errc::result_out_of_range || n > rules_.max_n) {
        return {0, format_error(fmt::format("number too large, the largest is {}", rules_.max_n))};
    }
    return {n, {}};
}

std::string format_reply(Number number)
{
    std::string reply = std::to_string(number);
    reply.push_back('\n');
    return reply;
}

std::string format_error(std::string_view reason) { return fmt::format("[Error] {}\n", reason); }

}  // namespace ground
