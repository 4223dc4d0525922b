#include "common/base/command_line.hpp"

#include <cstddef>

namespace ground {

namespace {

std::string_view without_dashes(std::string_view word)
{
    return word.substr(std::min(word.find_first_not_of('-'), word.size()));
}

// How many letters must be added, left out, changed, or swapped with a neighbour (the distance of
// Damerau and Levenshtein, where no letter is edited twice).
std::size_t distance(std::string_view a, std::string_view b)
{
    const std::size_t columns = b.size() + 1;
    std::vector<std::size_t> cost((a.size() + 1) * columns);
    const auto at = [&](std::size_t i, std::size_t j) -> std::size_t& {
        return cost[i * columns + j];
    };
    for (std::size_t i = 0; i <= a.size(); ++i) {
        for (std::size_t j = 0; j <= b.size(); ++j) {
            if (i == 0 || j == 0) {
                at(i, j) = i + j;
                continue;
            }
            const bool same = a[i - 1] == b[j - 1];
            at(i, j) =
                std::min({at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (same ? 0U : 1U)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                at(i, j) = std::min(at(i, j), at(i - 2, j - 2) + 1);
            }
        }
    }
    return cost.back();
}

// The long option that the user may have meant, or nothing. "--prot" is similar to "--port", and
// "--conn" is the beginning of an option.
std::string similar_option(const CLI::App& app, std::string_view typed)
{
    const std::string_view word = without_dashes(typed.substr(0, typed.find('=')));
    std::string best;
    std::size_t best_distance = std::min<std::size_t>(3, (word.size() + 1) / 2);
    for (const CLI::Option* const option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) {
            const bool beginning = word.size() >= 2 && name.starts_with(word);
            const std::size_t away = beginning ? 0 : distance(word, name);
            if (away < best_distance) {
                best = "--" + name;
                best_distance = away;
            }
        }
    }
    return best;
}

bool looks_like_an_option(std::string_view word) { return word.size() > 1 && word[0] == '-'; }

bool takes_arguments(const CLI::App& app)
{
    const auto options = app.get_options();
    return std::any_of(options.begin(), options.end(),
                       [](const CLI::Option* option) { return option->get_positional(); });
}

std::string explain_extras(const CLI::App& app)
{
    const std::vector<std::string> extras = app.remaining();
    if (const std::string option = unknown_option(app); !option.empty()) {
        const std::string similar = similar_option(app, option);
        return fmt::format("there is no option {}{}", option,
                           similar.empty() ? "" : fmt::format("; did you mean {}?", similar));
    }
    const std::string word = extras.empty() ? "" : extras.front();
    const bool number = !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
    if (number && !takes_arguments(app) && app.get_option_no_throw("--port") != nullptr) {
        return fmt::format("no option stands before '{0}'; did you mean --port {0}?", word);
    }
    return takes_arguments(app) ? fmt::format("'{}' is one argument too many", word)
                                : fmt::format("no option stands before '{}'", word);
}

}  // namespace

void last_option_wins(CLI::App& app)
{
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

std::string unknown_option(const CLI::App& app)
{
    const std::vector<std::string> extras = app.remaining();
    const auto found = std::find_if(extras.begin(), extras.end(), looks_like_an_option);
    return found == extras.end() ? "" : *found;
}

std::string explain_mistake(const CLI::App& app, const CLI::ParseError& error)
{
    const std::string text = error.what();
    std::string sentence = text;
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
        sentence = explain_extras(app);
    } else if (dynamic_cast<const CLI::ArgumentMismatch*>(&error) != nullptr &&
               text.find(": ") != std::string::npos) {
        sentence = text.substr(0, text.find(": ")) + " needs a value";
    } else if (dynamic_cast<const CLI::ExcludesError*>(&error) != nullptr) {
        constexpr std::string_view excludes = " excludes ";
        if (const std::size_t verb = text.find(excludes); verb != std::string::npos) {
            sentence.replace(verb, excludes.size(), " can't be combined with ");
        }
    }
    return sentence.find(';') == std::string::npos ? sentence + "; --help lists the options"
                                                   : sentence;
}

}  // namespace ground
