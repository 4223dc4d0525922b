// What a run has shown, in sentences: part of comparison.hpp.
//
// They follow from the figures of this run and know nothing of the stages. If a run shows something
// else, the sentences say something else. Each figure in a sentence also stands in the table, and
// has the same name there. What holds for some runs only is not claimed.

#include "clients/compare/judge/comparison.hpp"
#include "clients/shared/format.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ground {

namespace {

// A contestant's figures in a scenario.
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
    [[nodiscard]] std::optional<Summary> summary(const std::string& key) const
    {
        return runs_ != nullptr ? summarise(*runs_, key) : std::nullopt;
    }
    // The median.
    [[nodiscard]] std::optional<double> of(const std::string& key) const
    {
        const auto all = summary(key);
        return all ? std::optional(all->median) : std::nullopt;
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
        return fmt::format("serves {:.0f} of {} clients, {:.0f} starve", clients - starved, clients,
                           starved);
    }
    std::string text = fmt::format("serves {} clients at {} reqs/sec", clients, rate(*reached));
    if (const auto cpu = crowd.of("cpu_us")) {
        text += fmt::format(", {} CPU/req", format_figure(*cpu, Unit::cpu_us));
    }
    return text;
}

// Whether the runs differ so much that the note below the table warns of it.
bool runs_differ(const Summary& summary) { return summary.spread() > 0.2; }

// How much of its rate a client keeps, from the worst run to the best.
std::string range_of(const Summary& kept)
{
    return fmt::format("{:.0f}% to {:.0f}%", kept.low, kept.high);
}

std::string client_beside_hog(const Figures& hog, const Summary& kept)
{
    if (kept.high == 0) {
        return "with the hog a client starves";
    }
    if (kept.high < 50) {
        const auto latency = hog.of("p50_us_hog");
        return fmt::format("with the hog a client falls from {} to {} reqs/sec{}",
                           rate(*hog.of("rate_before")), rate(*hog.of("rate_hog")),
                           latency ? fmt::format(" (p50 {})", time(*latency)) : "");
    }
    if (kept.low < 50) {
        return fmt::format("what a client keeps with the hog differs from run to run ({})",
                           range_of(kept));
    }
    // It may even be faster, because a CPU that is busy need not be woken up.
    std::string figure =
        fmt::format("{}{:.0f}%{} of its reqs/sec", kept.median > 100 ? "all (" : "", kept.median,
                    kept.median > 100 ? ")" : "");
    return fmt::format("with the hog a client keeps {}{}", figure,
                       runs_differ(kept) ? fmt::format(", in single runs {}", range_of(kept)) : "");
}

std::string about_hog(const Figures& hog)
{
    const auto kept = hog.summary("kept");
    if (!kept || !hog.of("rate_before") || !hog.of("rate_hog")) {
        return {};
    }
    const auto big = hog.summary("big_rate");
    return client_beside_hog(hog, *kept) +
           (big && big->high == 0 ? ", and the hog gets no reply" : "");
}

// Two CPUs give 1.9, and one gives 1.0. Both are more if something else ran while the first request
// was alone.
std::string about_parallel(const Figures& parallel)
{
    const auto speedup = parallel.summary("speedup");
    if (!speedup) {
        return {};
    }
    if (speedup->low >= 1.5) {
        return fmt::format(
            "four big requests at once have a speed-up of {:.1f} over one after another",
            speedup->median);
    }
    if (speedup->median < 1.2 && speedup->high < 1.5) {
        return "four big requests at once have no speed-up over one after another";
    }
    return fmt::format("it is not clear whether four big requests at once have a speed-up ({})",
                       speedup->low < speedup->high
                           ? fmt::format("{:.1f} to {:.1f}", speedup->low, speedup->high)
                           : fmt::format("{:.1f}", speedup->median));
}

std::string about_idle(const Figures& idle, unsigned connections)
{
    const auto held = idle.of("held");
    return held ? fmt::format("holds {:.0f} of {} silent connections", *held, connections) : "";
}

// A clause for each scenario that has a verdict, for example "died in hog". If the contestant has
// failed to start in all scenarios, there is only one clause: "failed to start".
std::vector<std::string> verdicts(const Comparison& comparison, std::size_t contestant)
{
    std::vector<std::string> words;
    std::vector<std::string> clauses;
    for (const Scenario& scenario : comparison.scenarios) {
        const std::string verdict = Figures(comparison, scenario.name, contestant).verdict();
        if (!verdict.empty()) {
            words.push_back(verdict);
            clauses.push_back(fmt::format("{} in {}", verdict, scenario.name));
        }
    }
    const bool always = words.size() == comparison.scenarios.size() &&
                        std::all_of(words.begin(), words.end(), [&](const std::string& word) {
                            return word == failed_to_start;
                        });
    return always ? std::vector<std::string>{failed_to_start} : clauses;
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
        for (const std::string& verdict : verdicts(comparison, c)) {
            clauses.push_back(verdict);
        }
        if (!clauses.empty()) {
            sentences.push_back(
                fmt::format("{}: {}.", comparison.contestants[c].name, fmt::join(clauses, "; ")));
        }
    }
    return sentences;
}

}  // namespace ground
