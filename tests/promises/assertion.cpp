#include "assertion.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace ground::test {

namespace {

constexpr std::string_view equals = " == ";

// The text in quotes, with its escapes.
std::optional<std::string> unquote(std::string_view text)
{
    if (text.size() < 2 || text.front() != '"' || text.back() != '"') {
        return std::nullopt;
    }
    std::string result;
    text = text.substr(1, text.size() - 2);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '"') {
            return std::nullopt;  // it has two ends
        }
        if (text[i] == '\\' && i + 1 < text.size()) {
            ++i;
            result += text[i] == 'n' ? '\n' : text[i] == 'r' ? '\r' : text[i];
        } else {
            result += text[i];
        }
    }
    return result;
}

// Whether the left side asks a client what it has received.
bool is_reply(std::string_view source)
{
    const auto left = source.substr(0, source.find(equals));
    constexpr std::array<std::string_view, 3> calls{".ask(", ".read_", ".converse("};
    return std::any_of(calls.begin(), calls.end(), [&](std::string_view call) {
        return left.find(call) != std::string_view::npos;
    });
}

}  // namespace

// The text may contain the sign as well.
std::string promised_text(std::string_view source)
{
    for (auto at = source.find(equals); at != std::string_view::npos;
         at = source.find(equals, at + 1)) {
        if (const auto text = unquote(source.substr(at + equals.size()))) {
            return *text;
        }
    }
    return "";
}

SeenAndPromised from_assertion(std::string_view source, std::string_view values)
{
    if (source.find(equals) == std::string_view::npos) {
        return {"it is not so that " + std::string(source), ""};
    }
    if (const std::string promised = promised_text(source); !promised.empty()) {
        const std::string end = std::string(equals) + promised;
        if (values.ends_with(end)) {
            return {std::string(values.substr(0, values.size() - end.size())), promised};
        }
    }
    // What is no reply must not be shown as one: a number of threads, or of bytes.
    const auto at = values.rfind(equals);
    if (at == std::string_view::npos || !is_reply(source)) {
        return {fmt::format("it is not so that {} ({})", source, values), ""};
    }
    return {std::string(values.substr(0, at)), std::string(values.substr(at + equals.size()))};
}

}  // namespace ground::test
