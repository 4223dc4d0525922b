#include "clients/shared/schedule/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <random>
#include <set>

namespace ground::explore {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t preemptions(const std::vector<Step>& steps)
{
    return static_cast<std::size_t>(
        std::count_if(steps.begin(), steps.end(), [](const Step& step) { return step.preempts; }));
}

bool breaks_the_same(const Run& run, const Run& as)
{
    return run.outcome == Outcome::broken && run.promise == as.promise;
}

std::string counted(std::size_t n, const char* what)
{
    return n == 0 ? fmt::format("without a {}", what)
                  : fmt::format("with {} {}{}", n, what, n == 1 ? "" : "s");
}

// Each actor has a random priority when it is first seen, and the highest one goes. At some steps,
// chosen beforehand, the one that would go falls below all others.
class Priorities {
  public:
    Priorities(unsigned depth, std::size_t steps, std::uint64_t seed) : random_(seed)
    {
        std::uniform_int_distribution<std::size_t> any(1, std::max<std::size_t>(steps, 2) - 1);
        for (unsigned i = 1; i < depth; ++i) {
            changes_.insert(any(random_));
        }
    }

    std::size_t operator()(const std::vector<Act>& enabled)
    {
        const auto highest = [&] {
            return static_cast<std::size_t>(std::max_element(enabled.begin(), enabled.end(),
                                                             [this](const Act& a, const Act& b) {
                                                                 return priority(a.actor) <
                                                                        priority(b.actor);
                                                             }) -
                                            enabled.begin());
        };
        for (const Act& act : enabled) {
            priority(act.actor);  // in the order of their names, so that a seed gives one schedule
        }
        if (changes_.contains(step_++)) {
            priorities_[enabled[highest()].actor] = --lowest_;
        }
        return highest();
    }

  private:
    double priority(const std::string& actor)
    {
        const auto found = priorities_.find(actor);
        if (found != priorities_.end()) {
            return found->second;
        }
        return priorities_[actor] = std::uniform_real_distribution<double>(0, 1)(random_);
    }

    std::mt19937_64 random_;
    std::set<std::size_t> changes_;
    std::map<std::string, double> priorities_;
    double lowest_ = 0;
    std::size_t step_ = 0;
};

class Search {
  public:
    Search(const Server& server, const Story& story, const Limits& limits,
           const std::function<void(const Counts&)>& tick)
        : server_(server), story_(story), limits_(limits), tick_(tick)
    {
    }

    Result result()
    {
        using enum Strategy;
        if (limits_.strategy == all || limits_.strategy == bounded) {
            go_through_bounded();
        }
        while (!found_ && in_time(1) && limits_.strategy != bounded) {
            if (limits_.strategy == random) {
                go_at_random();
            } else {
                go_by_priorities();
            }
        }
        counts_.seconds = seconds_since(start_);
        Result result{counts_, std::nullopt};
        if (found_) {
            found_->run = shortened(found_->run);
            Found examined = examine(server_, story_, found_->run, limits_);
            examined.how = found_->how;
            examined.after = found_->after;
            examined.seconds = found_->seconds;
            result.found = std::move(examined);
        }
        return result;
    }

  private:
    [[nodiscard]] bool in_time(double share) const
    {
        return seconds_since(start_) < share * limits_.budget.count() ||
               static_cast<double>(counts_.runs()) < share * static_cast<double>(limits_.at_least);
    }

    // Returns whether to go on.
    bool note(Run& run, std::size_t& count, const std::string& how)
    {
        ++count;
        counts_.most_steps = std::max(counts_.most_steps, run.steps.size());
        std::set<std::string> actors;
        for (const Step& step : run.steps) {
            for (const Act& act : step.enabled) {
                actors.insert(act.actor);
            }
        }
        counts_.most_actors = std::max(counts_.most_actors, actors.size());
        if (run.outcome == Outcome::strange) {
            ++counts_.strange;
            counts_.strange_because = run.seen;
        }
        if (run.outcome == Outcome::broken) {
            found_.emplace();
            found_->run = std::move(run);
            found_->how = how;
            found_->after = counts_.runs();
            found_->seconds = seconds_since(start_);
        }
        counts_.seconds = seconds_since(start_);
        tick_(counts_);
        return !found_;
    }

    // Each run but the first is a prefix of an earlier one, then another choice, and then the
    // default. So every schedule with so many pre-emptions is run once.
    void go_through_bounded()
    {
        std::array<std::deque<Schedule>, Counts::most_preemptions + 1> to_do;
        to_do[0].emplace_back();
        constexpr double share = 0.6;  // of the time; the rest is for what needs more pre-emptions
        for (std::size_t bound = 0; bound <= Counts::most_preemptions; ++bound) {
            while (!to_do[bound].empty()) {
                if (!in_time(limits_.strategy == Strategy::bounded ? 1 : share)) {
                    return;
                }
                const Schedule prefix = std::move(to_do[bound].front());
                to_do[bound].pop_front();
                Run run = explore::run(server_, story_, playing(prefix));
                const std::vector<Step> steps = run.steps;
                if (!note(run, counts_.with_preemptions[bound], counted(bound, "pre-emption"))) {
                    return;
                }
                branch(prefix, steps, bound, to_do);
            }
            counts_.complete[bound] = true;
        }
    }

    static void branch(const Schedule& prefix, const std::vector<Step>& steps, std::size_t used,
                       std::array<std::deque<Schedule>, Counts::most_preemptions + 1>& to_do)
    {
        Schedule before;
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const Step& step = steps[i];
            if (i >= prefix.size()) {
                const bool last_can_go_on =
                    i > 0 &&
                    std::any_of(step.enabled.begin(), step.enabled.end(), [&](const Act& act) {
                        return act.actor == steps[i - 1].act().actor;
                    });
                const std::size_t cost = used + (last_can_go_on ? 1 : 0);
                for (std::size_t k = 0; k < step.enabled.size(); ++k) {
                    if (k != step.chosen && cost <= Counts::most_preemptions) {
                        Schedule next = before;
                        next.push_back(step.enabled[k].actor);
                        // First those that come before an access to something shared.
                        auto& where = to_do[cost];
                        where.insert(step.act().is_shared() ? where.begin() : where.end(),
                                     std::move(next));
                    }
                }
            }
            before.push_back(step.act().actor);
        }
    }

    // In turn depth 2 and 3.
    void go_by_priorities()
    {
        const unsigned depth = counts_.priorities_2 <= counts_.priorities_3 ? 2 : 3;
        Priorities priorities(depth, std::max<std::size_t>(counts_.most_steps, 10),
                              limits_.seed + counts_.runs());
        Run run = explore::run(server_, story_, [&](const std::vector<Act>& enabled, std::size_t) {
            return priorities(enabled);
        });
        note(run, depth == 2 ? counts_.priorities_2 : counts_.priorities_3,
             fmt::format("at random, by priorities (depth {})", depth));
    }

    void go_at_random()
    {
        std::mt19937_64 random(limits_.seed + counts_.runs());
        Run run = explore::run(server_, story_, [&](const std::vector<Act>& enabled, std::size_t) {
            return std::uniform_int_distribution<std::size_t>(0, enabled.size() - 1)(random);
        });
        note(run, counts_.random, "at random");
    }

    // Without the choices at its end that the default would make as well, and with as few
    // pre-emptions as is possible by leaving out single ones.
    [[nodiscard]] Run shortened(const Run& found) const
    {
        Run best = found;
        for (bool better = true; better;) {
            better = false;
            for (std::size_t i = best.steps.size(); i-- > 1;) {
                if (!best.steps[i].preempts) {
                    continue;
                }
                // The actor before goes on here, until it has to stop; then as it was.
                Run shorter = explore::run(server_, story_, without(best, i));
                if (breaks_the_same(shorter, best) &&
                    preemptions(shorter.steps) < preemptions(best.steps)) {
                    best = std::move(shorter);
                    better = true;
                    break;
                }
            }
        }
        return best;
    }

    // As `run` until this step; then the default for as long as the actor before can go on; then
    // the actor that the rest of `run` names first among those that can go.
    static Choose without(const Run& run, std::size_t left_out)
    {
        Schedule order = schedule_of(run);
        return [order, left_out, step = std::size_t{0}, rest = left_out](
                   const std::vector<Act>& enabled, std::size_t last) mutable {
            const auto find = [&](const std::string& name) {
                return static_cast<std::size_t>(
                    std::find_if(enabled.begin(), enabled.end(),
                                 [&](const Act& act) { return act.actor == name; }) -
                    enabled.begin());
            };
            if (step++ < left_out) {
                return find(order[step - 1]);
            }
            if (last < enabled.size()) {
                return last;
            }
            for (; rest < order.size(); ++rest) {
                if (const std::size_t found = find(order[rest]); found < enabled.size()) {
                    return found;
                }
            }
            return std::size_t{0};
        };
    }

    const Server& server_;
    const Story& story_;
    const Limits& limits_;
    const std::function<void(const Counts&)>& tick_;
    const Clock::time_point start_ = Clock::now();
    Counts counts_;
    std::optional<Found> found_;
};

}  // namespace

Schedule schedule_of(const Run& run)
{
    Schedule schedule;
    for (const Step& step : run.steps) {
        schedule.push_back(step.act().actor);
    }
    return schedule;
}

Schedule shortest_schedule_of(const Run& run)
{
    Schedule schedule = schedule_of(run);
    while (!schedule.empty()) {
        const std::size_t i = schedule.size() - 1;
        const auto& enabled = run.steps[i].enabled;
        const auto last = std::find_if(enabled.begin(), enabled.end(), [&](const Act& act) {
            return i > 0 && act.actor == schedule[i - 1];
        });
        const auto usual = choose_by_default(
            enabled, static_cast<std::size_t>(std::distance(enabled.begin(), last)));
        if (run.steps[i].chosen != usual) {
            break;
        }
        schedule.pop_back();
    }
    return schedule;
}

Choose playing(const Schedule& schedule)
{
    return [schedule, step = std::size_t{0}](const std::vector<Act>& enabled,
                                             std::size_t last) mutable {
        if (step >= schedule.size()) {
            return choose_by_default(enabled, last);
        }
        const std::string& name = schedule[step++];
        return static_cast<std::size_t>(
            std::find_if(enabled.begin(), enabled.end(),
                         [&](const Act& act) { return act.actor == name; }) -
            enabled.begin());
    };
}

std::size_t Counts::runs() const noexcept
{
    std::size_t all = priorities_2 + priorities_3 + random;
    for (const std::size_t some : with_preemptions) {
        all += some;
    }
    return all;
}

// PCT finds it in one run with probability 1 / (n k^(depth - 1)), for n actors and k steps.
double Counts::certainty(unsigned depth) const noexcept
{
    const auto runs = static_cast<double>(depth == 2 ? priorities_2 : priorities_3);
    const double once = 1 / (static_cast<double>(std::max<std::size_t>(most_actors, 1)) *
                             std::pow(std::max<std::size_t>(most_steps, 1), depth - 1));
    return 1 - std::pow(1 - once, runs);
}

Result search(const Server& server, const Story& story, const Limits& limits,
              const std::function<void(const Counts&)>& tick)
{
    return Search(server, story, limits, tick).result();
}

// One choice less: at the last pre-emption the actor goes on. If that does not help, another one of
// the choices is changed.
Found examine(const Server& server, const Story& story, const Run& broken, const Limits& limits)
{
    Found found;
    found.run = broken;
    const Schedule schedule = schedule_of(broken);
    for (unsigned i = 0; i < replays; ++i) {
        const auto start = Clock::now();
        Play play(server, story);
        const Choose choose = playing(schedule);
        while (!play.over()) {
            play.choose(choose(play.enabled(), play.last()));
        }
        // If it takes long, a time limit of the server may be what breaks the promise.
        constexpr double long_time = 2;
        const bool breaks = breaks_the_same(play.run(), broken) &&
                            (limits.silence.count() == 0 || seconds_since(start) < long_time);
        if (i == 0 && breaks && broken.silent && limits.silence.count() > 0) {
            found.came_later = play.goes_on(limits.silence);
        }
        found.broken_again += breaks && !found.came_later ? 1U : 0U;
    }
    std::vector<std::pair<std::size_t, std::string>> changes;  // at which step, who instead
    for (const bool wanted : {true, false}) {                  // first the pre-emptions
        for (std::size_t i = broken.steps.size(); i-- > 0;) {
            const Step& step = broken.steps[i];
            for (const Act& act : step.enabled) {
                const bool goes_on = i > 0 && act.actor == broken.steps[i - 1].act().actor;
                if (act.actor != step.act().actor && step.preempts == wanted &&
                    (!wanted || goes_on)) {
                    changes.emplace_back(i, act.actor);
                }
            }
        }
    }
    constexpr std::size_t enough = 60;
    for (std::size_t i = 0; i < std::min(changes.size(), enough) && !found.beside; ++i) {
        const auto& [at, actor] = changes[i];
        Schedule other(schedule.begin(), schedule.begin() + static_cast<std::ptrdiff_t>(at));
        other.push_back(actor);
        Run beside = run(server, story, playing(other));
        if (beside.outcome == Outcome::kept) {
            found.beside = std::move(beside);
            found.differs_at = at;
        }
    }
    return found;
}

}  // namespace ground::explore
