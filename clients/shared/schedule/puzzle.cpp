#include "clients/shared/schedule/puzzle.hpp"

#include "clients/shared/schedule/search.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ground::explore {

namespace {

// Readers think for long. If we die, the server ends in any case.
constexpr std::uint64_t lease = 3'600'000'000;  // microseconds

}  // namespace

const std::vector<Puzzle>& puzzles()
{
    static const std::vector<Puzzle> all{
        {"lost-update",
         "make the count lie",
         "02d_shared_state",
         false,
         {"--guard", "none"},
         "two",
         true,
         {"Counting up is a read and a write. Watch for the two.",
          "Let one thread read, and stop it before it writes.",
          "Both threads have to read the same number before either writes."},
         "Each read and each write was atomic. What belongs together was not."},
        {"torn-pair",
         "let a client get a wrong result, although each number is atomic",
         "02d_shared_state",
         false,
         {"--guard", "atomic"},
         "same",
         true,
         {"The last number and its result are two values.",
          "One thread writes the number first and the result afterwards.",
          "Stop it between the two, and let the other client ask for this number."},
         "A lock protects a rule about several values. An atomic value protects itself."},
        {"deadlock",
         "bring the server to a stop",
         "02d_locks_in_another_order",
         true,
         {},
         "two",
         true,
         {"There are two locks. Where is each taken?",
          "count() takes them in one order, fib() in the other.",
          "Let each thread take its first lock, and then ask for the other's."},
         "With one order for all locks there is no circle, and so no deadlock."},
        {"lost-wake-up",
         "let a client wait for a result that is there",
         "05_list_before_byte",
         true,
         {},
         "two",
         true,
         {"The pool pokes only if the list was empty.",
          "The scheduler empties the list first and reads the byte afterwards.",
          "Let main take the list, and stop it there. The second result pokes now. Whose bytes "
          "does main read?"},
         "First read the byte, then take the list. No lock mends the wrong order."},
        {"stale-flag",
         "let a client wait for a result that is there",
         "05_looks_before_it_locks",
         true,
         {},
         "two",
         true,
         {"The worker looks whether the list is empty, and then takes the lock.",
          "What it has seen may be old when it has the lock.",
          "Let it see that the list is not empty, stop it, and let main empty the list."},
         "Decide under the lock under which the value changes."},
        {"one-thread",
         "make a client of 04 get a wrong reply, or none",
         "04_generators",
         false,
         {},
         "two",
         false,
         {"How many threads are there to choose from?",
          "Between two yields no other conversation runs.",
          "You may choose when the clients send. After that there is nothing left to choose."},
         "One thread runs all conversations, and they share nothing: no order breaks it."},
    };
    return all;
}

const Puzzle& find_puzzle(const std::string& name)
{
    std::vector<std::string> names;
    for (const Puzzle& puzzle : puzzles()) {
        if (puzzle.name == name) {
            return puzzle;
        }
        names.push_back(puzzle.name);
    }
    throw ClientError(
        fmt::format("there is no puzzle '{}'; there are: {}", name, fmt::join(names, ", ")));
}

Game::Game(const Puzzle& puzzle, Subject subject)
    : puzzle_(puzzle),
      subject_(std::move(subject)),
      story_(choose_stories(subject_, puzzle.story).front())
{
    again();
}

void Game::again()
{
    taken_.clear();
    restart();
}

void Game::restart()
{
    play_.reset();
    play_.emplace(subject_.server, story_);
    play_->watcher().set_lease(lease);
    play_->watcher().renew();
    end_ = End::open;
    for (const Choice& choice : taken_) {
        const auto& enabled = play_->enabled();
        const auto found = std::find_if(enabled.begin(), enabled.end(),
                                        [&](const Act& act) { return act.actor == choice.actor; });
        play_->choose(static_cast<std::size_t>(found - enabled.begin()));
    }
    go_to_the_next_choice();
}

// Takes the steps at which there is nothing to choose.
void Game::go_to_the_next_choice()
{
    while (!play_->over() && play_->enabled().size() == 1) {
        taken_.push_back({play_->enabled().front().actor, false});
        play_->choose(0);
    }
    const Outcome outcome = play_->run().outcome;
    if (play_->over()) {
        end_ = outcome == Outcome::broken ? End::solved
               : outcome == Outcome::kept ? End::kept
                                          : End::strange;
    }
}

void Game::choose(std::size_t which)
{
    taken_.push_back({play_->enabled().at(which).actor, true});
    play_->choose(which);
    go_to_the_next_choice();
}

bool Game::take_back()
{
    const auto by_reader = std::find_if(taken_.rbegin(), taken_.rend(),
                                        [](const Choice& choice) { return choice.by_reader; });
    if (by_reader == taken_.rend()) {
        return false;
    }
    taken_.erase(std::prev(by_reader.base()), taken_.end());
    restart();
    return true;
}

std::vector<Game::Option> Game::options() const
{
    Run run;
    run.steps.emplace_back();
    run.steps.back().enabled = play_->enabled();
    const Names names = subject_.source.names(run);
    std::vector<Option> options;
    for (const Act& act : play_->enabled()) {
        // What it will read is not known before.
        std::string what = describe(act, subject_.source, names);
        if (act.deed == observe::Deed::reads) {
            what.resize(what.rfind(':'));
        }
        options.push_back({act, what, options.size() == play_->last()});
    }
    return options;
}

const std::string& Game::hint()
{
    hints_ = std::min(hints_ + 1, puzzle_.hints.size());
    return puzzle_.hints[hints_ - 1];
}

bool Game::says_that_none_does()
{
    if (!puzzle_.can_be_solved) {
        end_ = End::solved;
    }
    return !puzzle_.can_be_solved;
}

std::size_t Game::choices() const
{
    return static_cast<std::size_t>(std::count_if(
        taken_.begin(), taken_.end(), [](const Choice& choice) { return choice.by_reader; }));
}

std::optional<Run> solve(const Subject& subject, const Story& story,
                         const std::function<void()>& tick)
{
    Limits limits;
    limits.strategy = Strategy::bounded;
    Result result = search(subject.server, story, limits, [&](const Counts&) { tick(); });
    return result.found ? std::optional(std::move(result.found->run)) : std::nullopt;
}

}  // namespace ground::explore
