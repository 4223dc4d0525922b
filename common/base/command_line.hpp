// command_line.hpp -- how all our programs read their command lines, with CLI11.
#pragma once

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ground {

// Call it before you add any option. If an option is given twice, the last one counts. So a script
// can put its own choice first and append what its user has typed.
void last_option_wins(CLI::App& app);

// Says in one sentence, without a full stop, what is wrong with a command line and what to do. The
// texts are ours, because those of CLI11 differ from version to version.
[[nodiscard]] std::string explain_mistake(const CLI::App& app, const CLI::ParseError& error);

// The word in the command line that looks like an option and is none, for example "--prot". Empty
// if the parser stumbled over something else.
[[nodiscard]] std::string unknown_option(const CLI::App& app);

// An option that takes one of a few words. The first is its default.
template <typename T>
CLI::Option* add_choice(CLI::App& app, const std::string& name, T& target,
                        const std::vector<std::pair<std::string, T>>& choices,
                        const std::string& help = "")
{
    std::vector<std::string> words;
    words.reserve(choices.size());
    for (const auto& choice : choices) {
        words.push_back(choice.first);
    }
    const auto set = [&target, choices, words, name](const std::string& word) {
        const auto same = [&word](const auto& choice) { return choice.first == word; };
        const auto found = std::find_if(choices.begin(), choices.end(), same);
        if (found == choices.end()) {
            throw CLI::ValidationError(
                fmt::format("{}: '{}' is not one of {}", name, word, fmt::join(words, ", ")));
        }
        target = found->second;
    };
    return app.add_option_function<std::string>(name, set, help)
        ->type_name(fmt::format("{}", fmt::join(words, "|")))
        ->default_str(words.front());
}

}  // namespace ground
