// What a run has shown, in sentences: part of comparison.hpp.
//
// They are made of the figures of this run and know nothing of the stages, so that a run that shows
// something else says something else.

#include "clients/compare/judge/comparison.hpp"
#include "clients/shared/format.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ground {

namespace {

// The medians of a contestant's figures in a scenario.
class Figures {
  public:
    Figures(const Comparison& comparison, std::string_view scenario, std::size_t contestant)
    {
        for (std::size_t s = 0; s < comparison.scenarios.size(); ++s) {
            if (comparison.scenarios[s].name == scenario) {
                runs_ = &runs_of(comparison, s, contestant);
            }
        }
    }
    [[nodiscard]] std::optional<double> of(const std::string& key) const
    {
        const auto summary = runs_ != nullptr ? summarise(*runs_, key) : std::nullopt;
        return summary ? std::optional(summary->median) : std::nullopt;
    }
    // The verdict of the runs, if there is one.
    [[nodiscard]] std::string verdict() const
    {
        for (const Measurement& run : runs_ != nullptr ? *runs_ : std::vector<Measurement>()) {
            if (!run.verdict.empty()) {
                return run.verdict;
            }
        }
        return {};
    }

  private:
    const std::vector<Measurement>* runs_ = nullptr;
};

std::string rate(double value) { return format_figure(value, Unit::rate); }
std::string time(double value) { return format_figure(value, Unit::time_us); }

std::string about_crowd(const Figures& crowd, unsigned clients)
{
    const auto reached = crowd.of("rate");
    if (!reached) {
        return {};
    }
    const double starved = crowd.of("starved").value_or(0);
    if (starved > 0) {
        return fmt::format("serves {:.0f} of {} clients and lets the others wait",
                           clients - starved, clients);
    }
    std::string text = fmt::format("serves {} clients at {} reqs/sec", clients, rate(*reached));
    if (const auto cpu = crowd.of("cpu_us")) {
        text += fmt::format(", {} of CPU each", format_figure(*cpu, Unit::cpu_us));
    }
    return text;
}

std::string about_hog(const Figures& hog)
{
    const auto before = hog.of("rate_before");
    const auto beside = hog.of("rate_hog");
    if (!before || !beside || *before == 0) {
        return {};
    }
    if (hog.of("big_rate") == 0) {
        return fmt::format("a client keeps {:.0f}% of its rate beside the hog, which gets no reply",
                           100 * *beside / *before);
    }
    if (*beside == 0) {
        return "beside the hog a client gets no reply at all";
    }
    const double share = *beside / *before;
    if (share < 0.5) {
        const auto latency = hog.of("p50_us_hog");
        return fmt::format("beside the hog a client falls from {} to {} reqs/sec{}", rate(*before),
                           rate(*beside), latency ? " and waits " + time(*latency) : "");
    }
    // It may even be faster: a CPU that is busy need not be woken up.
    return fmt::format("beside the hog a client keeps {}{:.0f}%{} of its rate",
                       share > 1 ? "all (" : "", 100 * share, share > 1 ? ")" : "");
}

std::string about_parallel(const Figures& parallel)
{
    const auto speedup = parallel.of("speedup");
    if (!speedup) {
        return {};
    }
    return *speedup < 1.2
               ? "four big requests at once are done no sooner than one after another"
               : fmt::format(
                     "four big requests at once are done {:.1f} times as fast as one after "
                     "another",
                     *speedup);
}

std::string about_idle(const Figures& idle, unsigned connections)
{
    const auto held = idle.of("held");
    return held ? fmt::format("holds {:.0f} of {} silent connections", *held, connections) : "";
}

}  // namespace

std::vector<std::string> conclusions(const Comparison& comparison)
{
    std::vector<std::string> sentences;
    for (std::size_t c = 0; c < comparison.contestants.size(); ++c) {
        const CompareOptions& options = comparison.options;
        std::vector<std::string> clauses;
        for (const std::string& clause :
             {about_crowd({comparison, "crowd", c}, options.clients),
              about_hog({comparison, "hog", c}), about_parallel({comparison, "parallel", c}),
              about_idle({comparison, "idle", c}, options.idle)}) {
            if (!clause.empty()) {
                clauses.push_back(clause);
            }
        }
        for (const Scenario& scenario : comparison.scenarios) {
            const std::string verdict = Figures(comparison, scenario.name, c).verdict();
            if (!verdict.empty()) {
                clauses.push_back(fmt::format("{} in {}", verdict, scenario.name));
            }
        }
        if (!clauses.empty()) {
            sentences.push_back(
                fmt::format("{}: {}.", comparison.contestants[c].name, fmt::join(clauses, "; ")));
        }
    }
    return sentences;
}

}  // namespace ground
