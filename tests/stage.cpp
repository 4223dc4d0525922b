#include "stage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

namespace ground::test {

namespace {

// In the words of the pages.
std::optional<Model> model_of(std::string_view words)
{
    constexpr std::array<std::pair<std::string_view, Model>, 5> models{{
        {"one client at a time", Model::sequential},
        {"a thread per client", Model::thread_per_client},
        {"a process per client", Model::process_per_client},
        {"one thread for all clients", Model::event_loop},
        {"a thread per core", Model::event_loops},
    }};
    for (const auto& [text, model] : models) {
        if (text == words) {
            return model;
        }
    }
    return std::nullopt;
}

// A line of the table that scripts/stages has made: name, place, model, since, traits, source.
Traits traits_of(const std::string& name)
{
    std::ifstream table(STAGES_TABLE);
    for (std::string line; std::getline(table, line);) {
        std::istringstream stream(line);
        std::array<std::string, 6> fields;
        for (std::string& field : fields) {
            std::getline(stream, field, '\t');
        }
        if (fields[0] == name) {
            const auto has = [&](std::string_view trait) {
                return fmt::format(",{},", fields[4]).find(fmt::format(",{},", trait)) !=
                       std::string::npos;
            };
            return {.name = name,
                    .model = model_of(fields[2]),
                    .has_pool = has("pool"),
                    .has_guard = has("guard"),
                    .has_limits = has("limits"),
                    .uses_select = has("select"),
                    .finishes_when_stopped = has("finishes")};
        }
    }
    return {.name = name, .model = std::nullopt};
}

// Options of the suites themselves, each with a value. The others are the stage's.
constexpr std::array<std::string_view, 3> suite_options{"--seconds", "--seed", "--under"};

std::vector<std::string> command_line()
{
    std::ifstream file("/proc/self/cmdline");
    std::vector<std::string> words;
    for (std::string word; std::getline(file, word, '\0');) {
        words.push_back(word);
    }
    return words;
}

Stage stage_of_command_line()
{
    std::vector<std::string> arguments;
    bool is_value = false;
    for (const std::string& word : command_line()) {
        const bool is_suite_option =
            std::find(suite_options.begin(), suite_options.end(), word) != suite_options.end();
        if (!is_value && !is_suite_option && !word.starts_with("--dt-") &&
            !word.starts_with("-dt-")) {
            arguments.push_back(word);
        }
        is_value = is_suite_option;
    }
    if (arguments.size() < 2) {
        return {"", {}};
    }
    return {arguments[1], {arguments.begin() + 2, arguments.end()}};
}

}  // namespace

Stage::Stage(std::string executable, std::vector<std::string> arguments)
    : executable_(std::move(executable)),
      launcher_(suite_option("--under").value_or("")),
      arguments_(std::move(arguments))
{
    traits_ = traits_of(executable_.substr(executable_.find_last_of('/') + 1));
    if (green()) {
        traits_.model = Model::event_loop;
    }
    const auto pool = option("--pool");
    pool_ = pool == "threads"  ? PoolKind::threads
            : pool == "inline" ? PoolKind::inline_
            : pool == "broker" ? PoolKind::broker
                               : PoolKind::processes;
}

std::optional<std::string> Stage::option(std::string_view name) const
{
    const auto found = std::find(arguments_.begin(), arguments_.end(), name);
    if (found == arguments_.end() || found + 1 == arguments_.end()) {
        return std::nullopt;
    }
    return found[1];
}

std::vector<std::string> Stage::command() const
{
    return green() ? std::vector{launcher_, executable_} : std::vector{executable_};
}

std::string Stage::run() const
{
    std::string name(green() ? launcher_.substr(launcher_.find_last_of('/') + 1) + '.' : "");
    name += traits_.name;
    for (const std::string& argument : arguments_) {
        name += argument.starts_with("--") ? "." : argument;
    }
    return name;
}

const Stage& stage()
{
    static const Stage the_stage = stage_of_command_line();
    return the_stage;
}

std::optional<std::string> suite_option(std::string_view name)
{
    const auto words = command_line();
    const auto option = std::find(words.begin(), words.end(), name);
    if (option == words.end()) {
        return std::nullopt;
    }
    return option + 1 == words.end() ? "" : option[1];
}

}  // namespace ground::test
