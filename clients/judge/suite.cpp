#include "clients/judge/suite.hpp"

#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ground::judge {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string find_program()
{
    const fs::path program = own_folder() / "promises";
    if (::access(program.c_str(), X_OK) != 0) {
        throw ClientError(fmt::format(
            "there is no {}, which has the tests; build it: cmake --build build/release --target "
            "promises",
            program.string()));
    }
    return program;
}

// The last line of what a child has written, without its line end.
std::string last_line(const std::string& text)
{
    const auto end = text.find_last_not_of('\n');
    if (end == std::string::npos) {
        return "";
    }
    const auto begin = text.rfind('\n', end);
    return text.substr(begin == std::string::npos ? 0 : begin + 1,
                       end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

// The watchdog's line: "watchdog: the test case ... has not ended in 20 s; it waits for: ..."
std::string what_hung(const std::string& err)
{
    const auto at = err.find("watchdog: the test case");
    if (at == std::string::npos) {
        return "";
    }
    const std::string line = err.substr(at, err.find('\n', at) - at);
    const auto reason = line.find("has not ended");
    return reason == std::string::npos ? line : "it " + line.substr(reason);
}

Run to_run(const Child& child)
{
    Run run;
    // A child that was stopped has perhaps written nothing, or half of the line.
    const std::string& text = child.out();
    const auto at = std::min(text.find("{\"outcome\""), text.size());
    const auto line =
        nlohmann::json::parse(text.substr(at, text.find('\n', at) - at), nullptr, false);
    if (line.is_discarded()) {
        constexpr std::string_view too_busy = "the machine was too busy";
        run.seen = what_hung(child.err());
        if (!child.ended()) {
            run.outcome = Outcome::undecided;
            run.reason = "the time was over (--time-limit) before it was decided";
        } else if (run.seen.ends_with(too_busy)) {
            run.outcome = Outcome::undecided;
            run.reason = too_busy;
        } else {
            run.outcome = run.seen.empty() ? Outcome::error : Outcome::hung;
            run.reason =
                fmt::format("the suite ended with {}: {}", child.ending(), last_line(child.err()));
        }
        return run;
    }
    const std::string outcome = line.at("outcome");
    run.outcome = outcome == "kept"             ? Outcome::kept
                  : outcome == "undecided"      ? Outcome::undecided
                  : outcome == "not applicable" ? Outcome::not_applicable
                                                : Outcome::broken;
    run.reason = line.at("reason");
    run.sent = line.at("sent");
    run.received = line.at("received");
    run.seen = line.at("seen");
    run.promised = line.at("promised");
    run.where = line.at("where");
    run.ended = line.at("ended");
    run.out = line.at("stdout");
    run.err = line.at("stderr");
    run.seconds = line.at("seconds");
    return run;
}

}  // namespace

Suite::Suite(Supervisor& supervisor, const JudgeOptions& options)
    : supervisor_(supervisor), options_(options), program_(find_program())
{
}

Command Suite::command(std::vector<std::string> words) const
{
    words.insert(words.begin(), program_);
    if (!options_.as.empty()) {
        words.insert(words.end(), {"--as", options_.as});
    }
    if (options_.guesses) {
        words.insert(words.end(), {"--framing", "auto"});
    }
    if (!options_.connect.empty()) {
        words.insert(words.end(), {"--connect", options_.connect});
    }
    words.emplace_back("--");
    words.insert(words.end(), options_.command.begin(), options_.command.end());
    const auto in_milliseconds = [](const char* name, milliseconds time) {
        return fmt::format("{}={}", name, time.count());
    };
    // How long a test case waits for what must happen, in seconds.
    constexpr auto patience = "JUDGE_PATIENCE=5";
    return {.arguments = std::move(words),
            .cpus = {},
            .environment = {in_milliseconds("JUDGE_START", options_.start),
                            in_milliseconds("JUDGE_ASLEEP", options_.asleep),
                            in_milliseconds("JUDGE_GRACE", grace_), patience}};
}

std::vector<Promise> Suite::list()
{
    Child child(supervisor_, command({"--list"}));
    const bool ended =
        supervisor_.wait([&] { return child.ended(); }, Clock::now() + std::chrono::seconds(20));
    if (!ended || child.ending() != "exit status 0") {
        throw ClientError(child.err().empty() ? "the suite does not list its promises"
                                              : last_line(child.err()));
    }
    std::vector<Promise> promises;
    std::istringstream lines(child.out());
    for (std::string text; std::getline(lines, text);) {
        const auto line = nlohmann::json::parse(text);
        promises.push_back({line.at("id"), line.at("promise"), line.at("page"), line.at("after"),
                            line.at("help"), line.at("by_design"), line.at("why_not"),
                            line.at("stories")});
    }
    return in_order(std::move(promises));
}

std::vector<Run> Suite::run(const Promise& promise, unsigned times, Supervisor::Time end)
{
    std::vector<Run> runs;
    {
        std::deque<Child> children;
        for (unsigned i = 0; i < times; ++i) {
            children.emplace_back(supervisor_, command({"--promise", promise.id}));
        }
        supervisor_.wait(
            [&] {
                return std::all_of(children.begin(), children.end(),
                                   [](const Child& child) { return child.ended(); });
            },
            end);
        said_.clear();
        for (const Child& child : children) {
            runs.push_back(to_run(child));
            said_ += child.err();
        }
    }
    end_all_children();
    return runs;
}

namespace {

// The parent, as in proc(5); 0 if it has ended.
pid_t parent_of(const std::string& pid)
{
    std::ifstream file("/proc/" + pid + "/stat");
    std::string text;
    std::getline(file, text, '\0');
    if (text.rfind(')') == std::string::npos) {
        return 0;
    }
    std::istringstream fields(text.substr(text.rfind(')') + 1));
    char state = 0;
    pid_t parent = 0;
    fields >> state >> parent;
    return parent;
}

}  // namespace

void end_all_children() noexcept
{
    const pid_t self = ::getpid();
    // Killed ones leave their own children to this process, so look again.
    for (;;) {
        pid_t reaped = 0;
        while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
        }
        if (reaped == -1) {
            return;  // there are none
        }
        std::error_code problem;
        for (fs::directory_iterator entry("/proc", problem), end; !problem && entry != end;
             entry.increment(problem)) {
            const std::string name = entry->path().filename();
            if (name.find_first_not_of("0123456789") == std::string::npos &&
                parent_of(name) == self) {
                ::kill(std::stoi(name), SIGKILL);
            }
        }
        ::waitpid(-1, nullptr, 0);  // at least one has been killed
    }
}

}  // namespace ground::judge
