#include "stage.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <sstream>

namespace ground::test {

namespace {

constexpr std::array<Traits, 8> known_stages{{
    {.name = "01_blocking", .model = Model::sequential},
    {.name = "02_threads", .model = Model::thread_per_client},
    {.name = "02b_threads_gil", .model = Model::thread_per_client},
    {.name = "03_process_pool", .model = Model::thread_per_client, .has_pool = true},
    {.name = "04_generators", .model = Model::event_loop, .uses_select = true},
    {.name = "05_futures", .model = Model::event_loop, .has_pool = true, .uses_select = true},
    {.name = "06_async_sockets", .model = Model::event_loop, .has_pool = true, .uses_select = true},
    {.name = "07_coroutines",
     .model = Model::event_loop,
     .has_pool = true,
     .finishes_when_stopped = true},
}};

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
      arguments_(std::move(arguments)),
      traits_{}
{
    const std::string_view file =
        std::string_view(executable_).substr(executable_.find_last_of('/') + 1);
    const auto found = std::find_if(known_stages.begin(), known_stages.end(),
                                    [&](const Traits& traits) { return traits.name == file; });
    if (found != known_stages.end()) {
        traits_ = *found;
    }
    if (green()) {
        traits_.model = Model::event_loop;
    }
    const auto option = std::find(arguments_.begin(), arguments_.end(), "--pool");
    if (option != arguments_.end() && option + 1 != arguments_.end()) {
        pool_ = option[1] == "threads"  ? PoolKind::threads
                : option[1] == "inline" ? PoolKind::inline_
                                        : PoolKind::processes;
    }
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
        name += argument == "--pool" ? "." : argument;
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
