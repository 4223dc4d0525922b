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

Stage stage_of_command_line()
{
    std::ifstream file("/proc/self/cmdline");
    std::vector<std::string> arguments;
    for (std::string word; std::getline(file, word, '\0');) {
        if (!word.starts_with("--dt-") && !word.starts_with("-dt-")) {
            arguments.push_back(word);
        }
    }
    if (arguments.size() < 2) {
        return {"", {}};
    }
    return {arguments[1], {arguments.begin() + 2, arguments.end()}};
}

}  // namespace

Stage::Stage(std::string executable, std::vector<std::string> arguments)
    : executable_(std::move(executable)), arguments_(std::move(arguments)), traits_{}
{
    const std::string_view file =
        std::string_view(executable_).substr(executable_.find_last_of('/') + 1);
    const auto found = std::find_if(known_stages.begin(), known_stages.end(),
                                    [&](const Traits& traits) { return traits.name == file; });
    if (found != known_stages.end()) {
        traits_ = *found;
    }
    const auto option = std::find(arguments_.begin(), arguments_.end(), "--pool");
    if (option != arguments_.end() && option + 1 != arguments_.end()) {
        pool_ = option[1] == "threads"  ? PoolKind::threads
                : option[1] == "inline" ? PoolKind::inline_
                                        : PoolKind::processes;
    }
}

const Stage& stage()
{
    static const Stage the_stage = stage_of_command_line();
    return the_stage;
}

}  // namespace ground::test
