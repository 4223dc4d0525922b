#include "clients/board/scheduled.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ground::board {

namespace {

using Json = nlohmann::json;
using namespace explore;
using namespace std::chrono_literals;

constexpr auto step_shown = 400ms;
constexpr auto end_shown = 2s;

struct Stopped {};

const char* name_of(Outcome outcome, bool over)
{
    return !over                        ? "open"
           : outcome == Outcome::broken ? "broken"
           : outcome == Outcome::kept   ? "kept"
                                        : "strange";
}

}  // namespace

Scheduled::Scheduled(const Puzzle& puzzle, Subject subject) : subject_(std::move(subject))
{
    game_.emplace(puzzle, subject_);
}

Scheduled::Scheduled(const ScheduleFile& file, Subject subject) : subject_(std::move(subject))
{
    reel_ = Reel();
    reel_->story = choose_stories(subject_, file.story).front();
    reel_->play = std::make_unique<Play>(subject_.server, reel_->story);
    reel_->actors = file.actors;
    reel_->when = Clock::now() + 2 * step_shown;
}

Scheduled::~Scheduled()
{
    stop_ = true;
    if (search_.valid()) {
        search_.wait();
    }
}

std::string Scheduled::obey(const Json& command)
{
    const std::string what = command.value("do", "");
    if (!game_) {
        return "this schedule plays by itself";
    }
    changed_ = true;
    said_.clear();
    if (what == "choose") {
        return choose(command);
    }
    if (what == "take-back") {
        if (!game_->take_back()) {
            return "nothing has been chosen yet";
        }
        ++run_;
        return "";
    }
    if (what == "restart") {
        game_->again();
        ++run_;
        return "";
    }
    if (what == "hint") {
        static_cast<void>(game_->hint());
        return "";
    }
    if (what == "none") {
        said_ = game_->says_that_none_does() ? "You are right." : "There is one.";
        return "";
    }
    if (what == "solution") {
        return look_for_solution();
    }
    return "this is a puzzle: you can only choose a step";
}

std::string Scheduled::choose(const Json& command)
{
    if (game_->end() != Game::End::open) {
        return "it is over; u takes back your last choice";
    }
    const auto which = command.find("which");
    const std::size_t all = game_->play().enabled().size();
    if (which == command.end()) {
        game_->choose(game_->by_default());
    } else if (which->is_number_unsigned() && which->get<std::size_t>() < all) {
        game_->choose(which->get<std::size_t>());
    } else {
        return fmt::format("there are {} to choose from", all);
    }
    return "";
}

std::string Scheduled::look_for_solution()
{
    lesson_ = true;
    if (game_->puzzle().can_be_solved && !solution_ && !search_.valid()) {
        search_ = std::async(std::launch::async, [this, story = game_->story()] {
            return solve(subject_, story, [this] {
                if (stop_) {
                    throw Stopped{};
                }
            });
        });
    }
    return "";
}

void Scheduled::tick()
{
    play().watcher().renew();
    if (search_.valid() && search_.wait_for(0s) == std::future_status::ready) {
        changed_ = true;
        try {
            solution_ = search_.get();
            said_ = solution_ ? "" : "Explore has not found it within a minute.";
        } catch (const std::exception& problem) {
            said_ = problem.what();
        }
    }
    if (!reel_ || Clock::now() < reel_->when || reel_->play->over()) {
        return;
    }
    const auto& enabled = reel_->play->enabled();
    std::size_t which = choose_by_default(enabled, reel_->play->last());
    if (reel_->next < reel_->actors.size()) {
        const std::string& actor = reel_->actors[reel_->next++];
        which = static_cast<std::size_t>(
            std::find_if(enabled.begin(), enabled.end(),
                         [&](const Act& act) { return act.actor == actor; }) -
            enabled.begin());
    }
    reel_->play->choose(which);
    reel_->when = Clock::now() + (reel_->play->over() ? Clock::duration(end_shown) : step_shown);
    changed_ = true;
}

bool Scheduled::over() const { return reel_ && reel_->play->over() && Clock::now() >= reel_->when; }

Json Scheduled::steps_of(const Run& run) const
{
    const Names names = subject_.source.names(run);
    Json steps = Json::array();
    for (const Step& step : run.steps) {
        steps.push_back({{"actor", step.act().actor},
                         {"text", describe(step.act(), subject_.source, names)},
                         {"place", place(step.act())},
                         {"preempts", step.preempts}});
    }
    return steps;
}

Json Scheduled::json()
{
    changed_ = false;
    const Run& run = play().run();
    const bool over = play().over();
    Json json{{"end", name_of(run.outcome, over)},
              {"steps", steps_of(run)},
              {"promise", run.promise},
              {"seen", run.seen}};
    if (reel_) {
        json["about"] = reel_->story.about;
        return json;
    }
    const Puzzle& puzzle = game_->puzzle();
    const bool solved = game_->end() == Game::End::solved;
    Json options = Json::array();
    for (const Game::Option& option : game_->options()) {
        options.push_back({{"actor", option.act.actor},
                           {"text", option.text},
                           {"place", place(option.act)},
                           {"id", option.act.entry},
                           {"last", option.went_last}});
    }
    json["name"] = puzzle.name;
    json["goal"] = puzzle.goal;
    json["about"] = game_->story().about;
    json["solved"] = solved;
    json["options"] = solved ? Json::array() : options;
    json["default"] = game_->by_default();
    json["choices"] = game_->choices();
    json["hints"] = std::vector<std::string>(
        puzzle.hints.begin(),
        puzzle.hints.begin() + static_cast<std::ptrdiff_t>(game_->hints_shown()));
    json["all_hints"] = puzzle.hints.size();
    json["said"] = said_;
    if (solved || lesson_) {
        json["lesson"] = puzzle.lesson;
    }
    if (lesson_ && !puzzle.can_be_solved) {
        json["said"] = "No order breaks it.";
    }
    json["searching"] = search_.valid();
    if (solution_) {
        json["solution"] = steps_of(*solution_);
    }
    return json;
}

}  // namespace ground::board
