#include "clients/judge/explorer.hpp"

#include "clients/judge/suite.hpp"
#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

namespace ground::judge {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

std::string find_explore()
{
    const fs::path program = own_folder() / "explore";
    return ::access(program.c_str(), X_OK) == 0 ? program.string() : "";
}

// In the folders of PATH, unless the name has a slash.
std::string find_in_path(const std::string& program)
{
    const char* const path = std::getenv("PATH");
    std::istringstream folders(program.find('/') != std::string::npos || path == nullptr ? ""
                                                                                         : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        const fs::path found = fs::path(folder) / program;
        if (::access(found.c_str(), X_OK) == 0) {
            return found;
        }
    }
    return program;
}

}  // namespace

Explorer::Explorer(Supervisor& supervisor, const JudgeOptions& options, double slowdown)
    : supervisor_(supervisor), options_(options), seconds_(2.5 * std::min(slowdown, 3.0))
{
    if (!options.command.empty() && is_built_on_common(options.command.front())) {
        program_ = find_explore();
    }
}

std::optional<Run> Explorer::run(const Promise& promise, Supervisor::Time end)
{
    if (program_.empty()) {
        return std::nullopt;
    }
    std::istringstream stories(promise.stories);
    for (std::string story; std::getline(stories, story, ',');) {
        std::vector<std::string> words{program_, "--quiet", "--json", "-", "--story", story};
        words.insert(words.end(), {"--budget", fmt::format("{}", seconds_), "--at-least", "60"});
        if (!options_.as.empty()) {
            words.insert(words.end(), {"--as", options_.as});
        }
        words.emplace_back("--");
        words.insert(words.end(), options_.command.begin(), options_.command.end());
        std::optional<Run> found;
        {
            Child child(supervisor_, {.arguments = std::move(words), .cpus = {}});
            const auto start = Clock::now();
            const auto its_end = start + (end - start) / 4;
            if (supervisor_.wait([&] { return child.ended(); }, its_end)) {
                found = run_of_report(child.out());
            }
            if (found) {
                found->seconds = std::chrono::duration<double>(Clock::now() - start).count();
            }
        }
        end_all_children();
        if (found) {
            return found;
        }
    }
    return std::nullopt;
}

bool is_built_on_common(const std::string& program)
{
    // What a watcher of the server says to it; it is in common/observe.
    constexpr std::string_view mark = "GROUND_WATCH";
    const std::string file = find_in_path(program);
    std::error_code problem;
    const auto size = fs::file_size(file, problem);
    constexpr std::uintmax_t largest = 500'000'000;
    if (problem || !fs::is_regular_file(file, problem) || size > largest) {
        return false;
    }
    try {
        const std::string text = read_file(file);
        return text.starts_with(
                   "\x7f"
                   "ELF") &&
               text.find(mark) != std::string::npos;
    } catch (const ClientError&) {
        return false;
    }
}

std::optional<Run> run_of_report(std::string_view text)
{
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded() || json.value("format", "") != "explore 1") {
        return std::nullopt;
    }
    for (const auto& story : json.at("stories")) {
        if (!story.contains("found")) {
            continue;
        }
        const auto& found = story.at("found");
        if (found.at("broken_again") != runs_to_fail) {
            continue;  // not each time: unknown
        }
        Run run;
        run.outcome = Outcome::broken;
        run.seen = found.at("seen");
        run.promised = found.at("promise");
        run.order.story = story.at("story");
        run.order.actors = found.at("order");
        run.order.steps = found.at("that_matter").get<std::vector<std::string>>();
        for (const auto& stuck : found.at("stuck")) {
            run.order.stuck.push_back(fmt::format("{} {}", stuck.at("actor").get<std::string>(),
                                                  stuck.at("why").get<std::string>()));
        }
        return run;
    }
    return std::nullopt;
}

}  // namespace ground::judge
