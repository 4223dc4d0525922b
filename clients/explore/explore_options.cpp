#include "clients/explore/explore_options.hpp"

#include "common/base/command_line.hpp"
#include "common/base/numbers.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string_view>

namespace ground::explore {

namespace {

constexpr auto help = R"(explore [OPTIONS] STAGE [STAGE-OPTIONS]      or: explore --wrong NAME
                                             or: explore -- COMMAND...

Runs a stage again and again with the same few clients, and each time says in
another order which thread goes next. Looks for an order that breaks a promise,
shows it, and shows the order beside it that keeps the promise.

      --wrong NAME      explore a wrong turn; scripts/wrong-turn lists them
      -- COMMAND...     explore a program of your own that is built on common/.
                        In it, {port} is the port; without {port}, --port N is
                        appended
      --as STAGE        your program is like this stage: 02, 04_generators
      --story NAME      what the clients do; without it, two and same
      --list            which stories there are for the stage
      --budget SECONDS  for each story                                      [60]
      --at-least N      schedules, also if that takes longer                 [0]
      --strategy WORD   all, bounded (by pre-emptions), priorities (PCT), random
      --seed N          of what is random                                    [1]
      --save FILE       write the schedule that was found
      --page FILE       write the board's recording of it and of the schedule
                        beside it, as a page
      --play FILE       play such a schedule, once
      --order TEXT      the same for a schedule in one line:
                        "client 2, client 1, thread 2 x 6"
      --puzzles         which puzzles there are
      --puzzle NAME     you are the scheduler: make the server break its promise
      --json FILE       all results; - is stdout
  -q, --quiet           no progress
  -h, --help            this help

A stage with a pool has the options --pool threads --workers 1 unless you give
others.

Examples:
  explore 02d --guard none
  explore --wrong 05_list_before_byte --save lost.schedule
  explore --play lost.schedule
  explore --puzzle lost-update

Exit status: 0 nothing was found, or the puzzle is solved; 1 a promise is broken;
2 unknown (the same schedule does not always break it, or runs could not be
judged); 3 a mistake in the options or an error of explore's.
)";

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "explore: {}\n", why);
    std::exit(3);
}

// What a program of one's own can't be combined with.
void check_own(ExploreOptions& options)
{
    const auto refuse_if = [](bool given, std::string_view name) {
        if (given) {
            refuse(
                fmt::format("{} is for our stages and wrong turns; leave out the command, or "
                            "play it with --order",
                            name));
        }
    };
    refuse_if(!options.wrong.empty(), "--wrong");
    refuse_if(!options.play.empty(), "--play");
    refuse_if(!options.save.empty(), "--save");
    refuse_if(!options.page.empty(), "--page");
    refuse_if(options.puzzles || !options.puzzle.empty(), "--puzzle");
    options.limits.silence = std::chrono::seconds(5);  // the judge's patience
}

}  // namespace

ExploreOptions parse_explore_options(int argc, char** argv)
{
    ExploreOptions options;
    CLI::App app;
    last_option_wins(app);
    app.prefix_command();  // what comes behind the stage is the stage's
    double budget = options.limits.budget.count();
    app.add_option("--wrong", options.wrong);
    app.add_option("--story", options.story);
    app.add_flag("--list", options.list);
    app.add_option("--play", options.play);
    app.add_option("--order", options.order);
    app.add_option("--as", options.as);
    app.add_option("--save", options.save);
    app.add_option("--page", options.page);
    app.add_option("--json", options.json);
    app.add_flag("--puzzles", options.puzzles);
    app.add_option("--puzzle", options.puzzle);
    app.add_flag("-q,--quiet", options.quiet);
    add_number(app, "--budget", budget, 0.1, 86'400.0);
    add_number<std::size_t>(app, "--at-least", options.limits.at_least, 0, 1'000'000'000);
    add_number<std::uint64_t>(app, "--seed", options.limits.seed, 0, ~std::uint64_t{0});
    add_choice<Strategy>(app, "--strategy", options.limits.strategy,
                         {{"all", Strategy::all},
                          {"bounded", Strategy::bounded},
                          {"priorities", Strategy::priorities},
                          {"random", Strategy::random}});
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(explain_mistake(app, error));
    }
    options.limits.budget = std::chrono::duration<double>(budget);
    std::vector<std::string> rest = app.remaining();
    if (!rest.empty() && rest.front() == "--") {
        options.command.assign(rest.begin() + 1, rest.end());
        rest.clear();
    }
    if (!options.as.empty() && options.command.empty()) {
        refuse("--as is for a program of your own: explore --as 02 -- COMMAND...");
    }
    if (!options.command.empty()) {
        check_own(options);
    } else if (options.puzzles || !options.puzzle.empty()) {
        if (!rest.empty()) {
            refuse(fmt::format("the puzzle says which stage; leave out {}", rest.front()));
        }
    } else if (options.wrong.empty() && options.play.empty()) {
        if (rest.empty()) {
            refuse("which stage? explore 02d --guard none");
        }
        if (rest.front().starts_with('-')) {
            refuse(
                fmt::format("{} is no option of explore's; those of the stage come after the "
                            "stage",
                            rest.front()));
        }
        options.stage = rest.front();
        rest.erase(rest.begin());
        if (!rest.empty() && rest.front() == "--") {
            rest.erase(rest.begin());
        }
    } else if (!options.play.empty() && !rest.empty()) {
        refuse(fmt::format("the file says which stage and options; leave out {}", rest.front()));
    } else if (!rest.empty() && !rest.front().starts_with('-')) {
        refuse(fmt::format("the wrong turn says which stage; leave out {}", rest.front()));
    }
    options.stage_options = rest;
    return options;
}

}  // namespace ground::explore
