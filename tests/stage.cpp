#include "stage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>
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

// An installed suite has it beside its own folder.
std::ifstream table_of_stages()
{
    std::error_code problem;
    const auto own = std::filesystem::read_symlink("/proc/self/exe", problem).parent_path();
    std::ifstream table(own.parent_path() / "stages" / "stages.tsv");
    return table ? std::move(table) : std::ifstream(STAGES_TABLE);
}

// A line of the table that scripts/stages has made: name, place, model, since, traits, source.
Traits traits_of(const std::string& name)
{
    std::ifstream table = table_of_stages();
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

// The stages that serve, whose names begin with this: 02 means 02_threads, and not 02b_threads_gil.
std::vector<std::string> stages_called(std::string_view beginning)
{
    std::vector<std::string> found;
    std::ifstream table = table_of_stages();
    for (std::string line; std::getline(table, line);) {
        const std::string name = line.substr(0, line.find('\t'));
        if (line.find("\tno server\t") != std::string::npos) {
            continue;
        }
        if (name == beginning) {
            return {name};
        }
        if (name.starts_with(fmt::format("{}_", beginning)) || beginning.empty()) {
            found.push_back(name);
        }
    }
    return found;
}

std::optional<std::uint16_t> to_port(std::string_view text)
{
    std::uint16_t port = 0;
    const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
    return problem == std::errc() && stop == text.data() + text.size() && port != 0
               ? std::optional(port)
               : std::nullopt;
}

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
    const std::vector<std::string> words = command_line();
    if (const auto dashes = std::find(words.begin(), words.end(), "--"); dashes != words.end()) {
        Foreign foreign{.command = {dashes + 1, words.end()}, .port = {}};
        if (const auto address = suite_option("--connect")) {
            const auto colon = address->find_last_of(':');
            const bool bracketed = address->starts_with('[') && colon >= 2;
            foreign.host = bracketed ? address->substr(1, colon - 2) : address->substr(0, colon);
            foreign.port = to_port(address->substr(std::min(colon + 1, address->size())));
        }
        return {foreign, suite_option("--as").value_or("")};
    }
    std::vector<std::string> arguments;
    bool is_value = false;
    for (const std::string& word : words) {
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

Stage::Stage(Foreign foreign, std::string_view as) : foreign_(std::move(foreign))
{
    if (as.empty()) {
        return;
    }
    const auto names = stages_called(as);
    if (names.empty()) {
        problem_ = fmt::format("there is no stage '{}' that serves; there are {}", as,
                               fmt::join(stages_called(""), ", "));
        return;
    }
    traits_ = traits_of(names.front());
    // These are about options that only our stages have.
    traits_.has_guard = false;
    traits_.has_limits = false;
    traits_.finishes_when_stopped = false;
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
    auto words = command_line();
    words.erase(std::find(words.begin(), words.end(), "--"), words.end());
    const auto option = std::find(words.begin(), words.end(), name);
    if (option == words.end()) {
        return std::nullopt;
    }
    return option + 1 == words.end() ? "" : option[1];
}

}  // namespace ground::test
