#include "clients/explore/puzzle.hpp"

#include "clients/explore/search.hpp"
#include "clients/shared/target.hpp"
#include "common/base/numbers.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <optional>

namespace ground::explore {

namespace {

constexpr auto keys = R"(  a number  this one goes next
  Enter     the one that went last goes on, or else the first
  u         take back your last choice: the server starts again, and all before it is replayed
  h         a hint
  n         no order breaks the promise
  s         the shortest solution
  q         end
)";

class Player {
  public:
    Player(const Puzzle& puzzle, const Server& server, const Story& story, const Source& source)
        : puzzle_(puzzle), server_(server), story_(story), source_(source)
    {
    }

    bool play()
    {
        fmt::print("{}: {}.\n{}. You say who goes next; ? shows the keys.\n\n", puzzle_.name,
                   puzzle_.goal, story_.about);
        while (!ended_) {
            step_ = 0;
            const Run run = explore::run(server_, story_,
                                         [this](const std::vector<Act>& enabled, std::size_t last) {
                                             return choose(enabled, last);
                                         });
            if (run.outcome != Outcome::strange && !ended_) {
                judge(run);
            }
        }
        return solved_;
    }

  private:
    struct Choice {
        std::string actor;
        bool by_reader = false;
    };

    // Replays what was chosen before, and asks where there is a choice. A result that is too large
    // ends the run.
    std::size_t choose(const std::vector<Act>& enabled, std::size_t last)
    {
        const std::size_t none = enabled.size();
        if (step_ < taken_.size()) {
            const std::string& name = taken_[step_++].actor;
            return static_cast<std::size_t>(
                std::find_if(enabled.begin(), enabled.end(),
                             [&](const Act& act) { return act.actor == name; }) -
                enabled.begin());
        }
        std::size_t chosen = 0;
        if (enabled.size() > 1) {
            show(enabled, last);
            const auto reply = ask([&](const std::string& line) -> std::optional<std::size_t> {
                if (line.empty()) {
                    return choose_by_default(enabled, last);
                }
                const auto number = parse_number<std::size_t>(line);
                return number && *number >= 1 && *number <= enabled.size()
                           ? std::optional(*number - 1)
                           : std::nullopt;
            });
            if (!reply) {
                return none;
            }
            chosen = *reply;
        }
        taken_.push_back({enabled[chosen].actor, enabled.size() > 1});
        ++step_;
        return chosen;
    }

    void show(const std::vector<Act>& enabled, std::size_t last) const
    {
        const std::map<std::uint32_t, std::string> names = source_.names(with(enabled));
        fmt::print("step {}\n", taken_.size() + 1);
        for (std::size_t i = 0; i < enabled.size(); ++i) {
            const Act& act = enabled[i];
            // What it will read is not known before.
            std::string what = describe(act, source_, names);
            if (act.deed == observe::Deed::reads) {
                what.resize(what.rfind(':'));
            }
            fmt::print("  {}  {:<9} {}{}{}\n", i + 1, act.actor, what,
                       act.line == 0 ? "" : fmt::format("  (line {})", act.line),
                       i == last ? "   <- went last" : "");
        }
    }

    static Run with(const std::vector<Act>& enabled)
    {
        Run run;
        Step step;
        step.enabled = enabled;
        run.steps.push_back(std::move(step));
        return run;
    }

    // Reads lines until one of them is understood. Nothing: the run is over.
    template <typename Understand>
    std::optional<std::size_t> ask(Understand understand)
    {
        for (;;) {
            fmt::print("> ");
            std::fflush(stdout);
            std::string line;
            if (!std::getline(std::cin, line) || line == "q") {
                ended_ = true;
                return std::nullopt;
            }
            if (line == "?") {
                fmt::print("{}", keys);
            } else if (line == "h") {
                const std::size_t last = puzzle_.hints.size() - 1;
                fmt::print("{}\n", puzzle_.hints[std::min(hint_++, last)]);
            } else if (line == "u") {
                if (take_back()) {
                    return std::nullopt;
                }
                fmt::print("nothing has been chosen yet\n");
            } else if (line == "n") {
                if (!puzzle_.can_be_solved) {
                    solve("You are right.");
                    return std::nullopt;
                }
                fmt::print("There is one.\n");
            } else if (line == "s") {
                show_solution();
                return std::nullopt;
            } else if (const auto number = understand(line)) {
                return number;
            } else {
                fmt::print("'{}' is no choice; ? shows the keys\n", line);
            }
        }
    }

    // Returns whether there was a choice to take back.
    bool take_back()
    {
        while (!taken_.empty() && !taken_.back().by_reader) {
            taken_.pop_back();
        }
        if (taken_.empty()) {
            return false;
        }
        taken_.pop_back();
        return true;
    }

    void judge(const Run& run)
    {
        if (run.outcome == Outcome::broken) {
            fmt::print("\n{}\n", to_report(run, source_));
            solve("Solved.");
            return;
        }
        fmt::print("\nEvery promise was kept. u takes back your last choice.\n");
        static_cast<void>(
            ask([](const std::string&) -> std::optional<std::size_t> { return std::nullopt; }));
    }

    void solve(const std::string& words)
    {
        const auto choices = std::count_if(taken_.begin(), taken_.end(),
                                           [](const Choice& c) { return c.by_reader; });
        fmt::print("{} {}\n", words, puzzle_.lesson);
        if (puzzle_.can_be_solved) {
            fmt::print("You have chosen {} times.\n", choices);
        }
        solved_ = ended_ = true;
    }

    void show_solution()
    {
        ended_ = true;
        if (!puzzle_.can_be_solved) {
            fmt::print("There is none. {}\n", puzzle_.lesson);
            return;
        }
        Limits limits;
        limits.strategy = Strategy::bounded;
        const Result result = search(server_, story_, limits, [](const Counts&) {});
        if (result.found) {
            fmt::print("{}\n{}\n", to_report(result.found->run, source_), puzzle_.lesson);
        } else {
            fmt::print("Explore has not found it within a minute.\n");
        }
    }

    const Puzzle& puzzle_;
    const Server& server_;
    const Story& story_;
    const Source& source_;
    std::vector<Choice> taken_;
    std::size_t step_ = 0;
    std::size_t hint_ = 0;
    bool ended_ = false;
    bool solved_ = false;
};

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
          "does "
          "main read?"},
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

bool play_puzzle(const Puzzle& puzzle, const Server& server, const Story& story,
                 const Source& source)
{
    return Player(puzzle, server, story, source).play();
}

}  // namespace ground::explore
