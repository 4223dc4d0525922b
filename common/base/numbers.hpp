// numbers.hpp -- numbers that people type, for CLI11.
//
// CLI11 reads them as a C compiler does: 010 is 8, 0x10 is 16. Users do not mean that. So here a
// number is decimal, with or without zeros in front.
#pragma once

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace ground {

// All of the text as one number, or nothing.
template <typename T>
[[nodiscard]] std::optional<T> parse_number(std::string_view text)
{
    T value{};
    const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || stop != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

// An option that takes a number in this range. Its default is what target contains.
template <typename T>
CLI::Option* add_number(CLI::App& app, const std::string& names, T& target, T smallest, T largest,
                        const std::string& help = "")
{
    const auto set = [&target, names, smallest, largest](const std::string& text) {
        const auto value = parse_number<T>(text);
        if (!value || !(smallest <= *value && *value <= largest)) {  // NaN is in no range
            throw CLI::ValidationError(
                fmt::format("{}: '{}' is not a {} from {} to {}", names.substr(names.find(',') + 1),
                            text, std::integral<T> ? "whole number" : "number", smallest, largest));
        }
        target = *value;
    };
    return app.add_option_function<std::string>(names, set, help)
        ->type_name("N")
        ->default_str(fmt::format("{}", target));
}

}  // namespace ground
