#include "clients/explore/puzzle_player.hpp"

#include "clients/explore/report.hpp"
#include "common/base/numbers.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <iostream>

namespace ground::explore {

namespace {

constexpr auto keys = R"(  a number  this one goes next
  Enter     the one that went last goes on, or else the first
  u         take back your last choice: the server starts again, and all before it is replayed
  r         from the beginning
  h         a hint
  n         no order breaks the promise
  s         the shortest solution
  q         end
)";

void show(const Game& game)
{
    fmt::print("step {}\n", game.run().steps.size() + 1);
    std::size_t number = 0;
    for (const Game::Option& option : game.options()) {
        fmt::print("  {}  {:<9} {}{}{}\n", ++number, option.act.actor, option.text,
                   option.act.line == 0 ? "" : fmt::format("  (line {})", option.act.line),
                   option.went_last ? "   <- went last" : "");
    }
}

void congratulate(const Game& game, const char* words)
{
    fmt::print("{} {}\n", words, game.puzzle().lesson);
    if (game.puzzle().can_be_solved) {
        fmt::print("You have chosen {} times.\n", game.choices());
    }
}

void show_solution(const Game& game)
{
    if (!game.puzzle().can_be_solved) {
        fmt::print("There is none. {}\n", game.puzzle().lesson);
    } else if (const auto run = solve(game.subject(), game.story(), [] {})) {
        fmt::print("{}\n{}\n", to_report(*run, game.subject().source), game.puzzle().lesson);
    } else {
        fmt::print("Explore has not found it within a minute.\n");
    }
}

// Returns whether the line was understood.
bool choose(Game& game, const std::string& line)
{
    if (game.end() != Game::End::open) {
        return false;
    }
    const auto number =
        line.empty() ? std::optional(game.by_default() + 1) : parse_number<std::size_t>(line);
    if (!number || *number < 1 || *number > game.play().enabled().size()) {
        return false;
    }
    game.choose(*number - 1);
    return true;
}

}  // namespace

bool play_puzzle(Game& game)
{
    fmt::print("{}: {}.\n{}. You choose each step; ? shows the keys.\n\n", game.puzzle().name,
               game.puzzle().goal, game.story().about);
    for (bool changed = true;;) {
        if (changed && game.end() == Game::End::solved) {
            fmt::print("\n{}\n", to_report(game.run(), game.subject().source));
            congratulate(game, "Solved.");
            return true;
        }
        if (changed && game.end() == Game::End::open) {
            show(game);
        } else if (changed) {
            fmt::print("\n{} u takes back your last choice.\n", game.end() == Game::End::kept
                                                                    ? "Every promise was kept."
                                                                    : "That could not be judged.");
        }
        fmt::print("> ");
        std::fflush(stdout);
        std::string line;
        if (!std::getline(std::cin, line) || line == "q") {
            return false;
        }
        changed = false;
        if (line == "?") {
            fmt::print("{}", keys);
        } else if (line == "h") {
            fmt::print("{}\n", game.hint());
        } else if (line == "u") {
            changed = game.take_back();
            fmt::print("{}", changed ? "" : "nothing has been chosen yet\n");
        } else if (line == "r") {
            game.again();
            changed = true;
        } else if (line == "n") {
            if (game.says_that_none_does()) {
                congratulate(game, "You are right.");
                return true;
            }
            fmt::print("There is one.\n");
        } else if (line == "s") {
            show_solution(game);
            return false;
        } else if (!(changed = choose(game, line))) {
            fmt::print("'{}' is no choice; ? shows the keys\n", line);
        }
    }
}

}  // namespace ground::explore
