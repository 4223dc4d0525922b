#include "clients/explore/report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <set>

namespace ground::explore {

namespace {

std::string shortened(const std::string& text, std::size_t most)
{
    return text.size() <= most ? text : text.substr(0, most - 3) + "...";
}

// A client and the thread that serves only this client share a column.
std::string column_of(const std::string& actor, const std::set<std::string>& actors)
{
    if (actor.starts_with("client ")) {
        for (const char* const kind : {"thread ", "process "}) {
            if (const std::string server = kind + actor.substr(7); actors.contains(server)) {
                return actor + ", " + server;
            }
        }
    }
    for (const std::string_view kind : {"thread ", "process "}) {
        if (actor.starts_with(kind)) {
            const std::string client = "client " + actor.substr(kind.size());
            return actors.contains(client) ? client + ", " + actor : actor;
        }
    }
    return actor;
}

// The columns: those of clients first.
std::map<std::string, std::string> columns_of(const Run& run)
{
    std::set<std::string> actors;
    for (const Step& step : run.steps) {
        actors.insert(step.act().actor);
    }
    std::map<std::string, std::string> columns;
    for (const std::string& actor : actors) {
        columns[actor] = column_of(actor, actors);
    }
    return columns;
}

// Why the one that goes in this step is another one than before.
std::string why_switched(const Run& run, std::size_t i)
{
    if (i == 0 || run.steps[i].act().actor == run.steps[i - 1].act().actor) {
        return "";
    }
    const Step& before = run.steps[i - 1];
    const std::string& actor = before.act().actor;
    if (run.steps[i].preempts) {
        return fmt::format("{} could go on, but is held", actor);
    }
    if (before.act().outside) {
        return "";
    }
    return before.waits.empty() ? fmt::format("{} has done its part", actor)
                                : fmt::format("{} {}", actor, before.waits);
}

// A row for each step, a column for each thread and client.
std::string to_table(const Run& run, const Source& source, const Names& names, std::size_t from = 0,
                     const std::set<std::size_t>& marked = {})
{
    std::map<std::string, std::string> column = columns_of(run);
    std::map<std::string, std::size_t> width;
    for (const auto& [actor, title] : column) {
        width[title] = title.size();
    }
    std::vector<std::string> cells;
    for (const Step& step : run.steps) {
        const Act& act = step.act();
        std::string cell = describe(act, source, names);
        if (!act.on_behalf_of.empty()) {
            cell = act.on_behalf_of + ": " + cell;
        } else if (act.outside && column[act.actor] != act.actor) {
            cell = act.actor + " " + cell;
        }
        cells.push_back(shortened(cell, 34));
        std::size_t& its = width[column[act.actor]];
        its = std::max(its, cells.back().size());
    }
    std::string text = "  step  line";
    for (const auto& [title, size] : width) {
        text += fmt::format("  {:<{}}", title, size);
    }
    while (text.ends_with(' ')) {
        text.pop_back();
    }
    text += '\n';
    if (from > 0) {
        text += fmt::format("   ...  as above until step {}\n", from);
    }
    constexpr std::size_t enough = 20;  // of a schedule that was shown before in part
    for (std::size_t i = from; i < run.steps.size(); ++i) {
        if (from > 0 && i == from + enough && i + 3 < run.steps.size()) {
            text += fmt::format("   ...  and {} more steps, until the story ends\n",
                                run.steps.size() - i);
            break;
        }
        const Act& act = run.steps[i].act();
        const std::string line = act.line == 0         ? ""
                                 : source.is(act.file) ? std::to_string(act.line)
                                                       : "...";
        std::string row =
            fmt::format("{} {:>4}  {:>4}", marked.contains(i) ? '>' : ' ', i + 1, line);
        for (const auto& [title, size] : width) {
            row += fmt::format("  {:<{}}", title == column[act.actor] ? cells[i] : "", size);
        }
        if (const std::string why = why_switched(run, i); !why.empty()) {
            row += fmt::format("  ({})", why);
        }
        while (row.ends_with(' ')) {
            row.pop_back();
        }
        text += row + '\n';
    }
    return text;
}

// The two accesses whose order decides: the first by an actor that came between, the second by the
// actor that was held, both to the same thing. Best a read and a write, because exchanging two
// writes alone does not mend a read that came too early. Nothing if there is no such pair.
std::optional<std::pair<std::size_t, std::size_t>> that_matter(const Run& run, std::size_t switched)
{
    if (switched == 0 || switched >= run.steps.size()) {
        return std::nullopt;
    }
    const std::string& held = run.steps[switched - 1].act().actor;
    std::optional<std::pair<std::size_t, std::size_t>> found;
    for (std::size_t later = switched; later < run.steps.size(); ++later) {
        const Act& its = run.steps[later].act();
        if (its.actor != held || !its.is_shared()) {
            continue;
        }
        for (std::size_t between = switched; between < later; ++between) {
            const Act& other = run.steps[between].act();
            if (other.actor == held || other.object != its.object) {
                continue;
            }
            if (other.writes() != its.writes()) {
                return std::pair{between, later};
            }
            if (other.writes() && !found) {
                found = {between, later};
            }
        }
    }
    return found;
}

std::optional<std::pair<std::size_t, std::size_t>> that_matter(const Found& found)
{
    return that_matter(found.run, found.beside ? found.differs_at : 0);
}

std::string step_in_words(const Run& run, std::size_t i, const Source& source, const Names& names)
{
    const Act& act = run.steps[i].act();
    return fmt::format("{} {}{} (step {})", act.actor, describe(act, source, names),
                       place(act).empty() ? "" : fmt::format(", {}", place(act)), i + 1);
}

std::string to_stuck(const Run& run)
{
    if (run.stuck.empty()) {
        return "";
    }
    std::string text = "\nWhat each of them waits for:\n\n";
    std::size_t width = 0;
    for (const Stuck& stuck : run.stuck) {
        width = std::max(width, stuck.actor.size());
    }
    for (const Stuck& stuck : run.stuck) {
        text += fmt::format("  {:<{}}  {}{}\n", stuck.actor, width, stuck.why,
                            stuck.line == 0 || stuck.file.empty()
                                ? ""
                                : fmt::format(", {}:{}", stem_of(stuck.file), stuck.line));
    }
    // A circle of locks, or nothing that could act.
    std::vector<std::string> holders;
    for (const Stuck& stuck : run.stuck) {
        if (const std::size_t at = stuck.why.find("waits for a lock that ");
            at != std::string::npos) {
            holders.push_back(stuck.actor);
        }
    }
    if (!holders.empty()) {
        text += fmt::format("\nOne of {} would have to release its lock, and none of them can.\n",
                            fmt::join(holders, " and "));
    } else {
        text +=
            "\nNo lock is in the way: one of these would have to wake another one, and has not.\n";
    }
    return text;
}

std::string percent(double share)
{
    return share > 0.9999 ? "more than 99.99%"
           : share > 0.99 ? fmt::format("{:.2f}%", std::floor(share * 10'000) / 100)
                          : fmt::format("{:.0f}%", std::floor(share * 100));
}

std::string grouped(std::size_t n)
{
    std::string digits = std::to_string(n);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, ",");
    }
    return digits;
}

std::string not_found(const Counts& counts)
{
    std::string text;
    for (std::size_t i = 0; i <= Counts::most_preemptions; ++i) {
        if (counts.with_preemptions[i] > 0 || counts.complete[i]) {
            text += fmt::format(
                "  {:>9} {} {}{}\n", grouped(counts.with_preemptions[i]),
                counts.with_preemptions[i] == 1 ? "schedule " : "schedules",
                i == 0   ? "without a pre-emption"
                : i == 1 ? "with one pre-emption"
                         : "with two pre-emptions",
                counts.complete[i] ? ": all that there are" : ": not all, the time was over");
        }
    }
    if (counts.random > 0) {
        text += fmt::format("  {:>9} schedules at random\n", grouped(counts.random));
    }
    for (const unsigned depth : {2U, 3U}) {
        const std::size_t runs = depth == 2 ? counts.priorities_2 : counts.priorities_3;
        if (runs > 0) {
            text += fmt::format(
                "  {:>9} at random, by priorities: an error of depth {} would have shown with at "
                "least {}\n",
                grouped(runs), depth, percent(counts.certainty(depth)));
        }
    }
    text +=
        fmt::format("  {:>9} in all, {:.0f} s, {:.0f} a second, of up to {} steps by {} actors\n",
                    grouped(counts.runs()), counts.seconds,
                    static_cast<double>(counts.runs()) / std::max(counts.seconds, 0.001),
                    counts.most_steps, counts.most_actors);
    if (counts.strange > 0) {
        text += fmt::format("  {:>9} could not be judged: {}\n", grouped(counts.strange),
                            counts.strange_because);
    }
    return text;
}

std::string command(const Explored& explored)
{
    std::string text = explored.server.name;
    for (const std::string& option : explored.server.options) {
        text += " " + option;
    }
    return text;
}

std::string to_report(const Explored& explored, const Found& found, const Source& source)
{
    const Run& run = found.run;
    const Names names = source.names(run);
    const bool always = !found.beside;
    const auto pair = that_matter(found);
    std::set<std::size_t> marked;
    if (pair) {
        marked = {pair->first, pair->second};
    }
    std::string text = fmt::format(
        "{}, story '{}' ({}): a promise is broken.\n\n"
        "  Promised: {}.\n"
        "  Seen:     {}.\n"
        "  Source:   {}.\n"
        "  Found {}, in run {}, after {:.1f} s. Played again, it breaks {} times of {}.\n\n",
        command(explored), explored.story.name, explored.story.about, run.promise, run.seen,
        source.file(), found.how, grouped(found.after), found.seconds, found.broken_again, replays);
    if (found.came_later) {
        text +=
            "But then the reply came later: something in the server waits for time to pass.\n\n";
    }
    text += to_table(run, source, names, 0, marked);
    text += to_stuck(run);
    if (pair) {
        text += fmt::format("\nThe two steps that matter, in this order:\n\n  {}\n  {}\n",
                            step_in_words(run, pair->first, source, names),
                            step_in_words(run, pair->second, source, names));
    }
    if (found.beside) {
        const Run& beside = *found.beside;
        const std::size_t at = found.differs_at;
        text += fmt::format(
            "\nThe schedule beside it differs in one choice: in step {} {} goes, not {}. Then all "
            "promises are kept:\n\n",
            at + 1, beside.steps[at].act().actor, run.steps[at].act().actor);
        text += to_table(beside, source, source.names(beside), at);
    } else if (always) {
        text +=
            "\nNo schedule that differs in one choice keeps the promise. Perhaps none does: then "
            "it "
            "is not a matter of order.\n";
    }
    return text;
}

nlohmann::json to_json(const Run& run, const Source& source)
{
    const Names names = source.names(run);
    nlohmann::json steps = nlohmann::json::array();
    for (const Step& step : run.steps) {
        const Act& act = step.act();
        steps.push_back({{"actor", act.actor},
                         {"does", describe(act, source, names)},
                         {"for", act.on_behalf_of},
                         {"file", act.file},
                         {"line", act.line},
                         {"preempts", step.preempts}});
    }
    nlohmann::json stuck = nlohmann::json::array();
    for (const Stuck& one : run.stuck) {
        stuck.push_back({{"actor", one.actor}, {"why", one.why}, {"line", one.line}});
    }
    return {{"promise", run.promise}, {"seen", run.seen}, {"steps", steps}, {"stuck", stuck}};
}

}  // namespace

std::string to_report(const Explored& explored, const Source& source)
{
    if (explored.result.found) {
        return to_report(explored, *explored.result.found, source);
    }
    return fmt::format("{}, story '{}' ({}): every promise was kept.\n\n{}", command(explored),
                       explored.story.name, explored.story.about,
                       not_found(explored.result.counts));
}

std::string to_report(const Run& run, const Source& source)
{
    std::string text = to_table(run, source, source.names(run));
    text += to_stuck(run);
    text += '\n';
    switch (run.outcome) {
        case Outcome::kept:
            text += "Every promise was kept.\n";
            break;
        case Outcome::broken:
            text += fmt::format("A promise is broken.\n\n  Promised: {}.\n  Seen:     {}.\n",
                                run.promise, run.seen);
            break;
        case Outcome::strange:
            text += fmt::format("It could not be judged: {}.\n", run.seen);
            break;
    }
    return text;
}

std::string to_json(const std::vector<Explored>& all, const Source& source)
{
    nlohmann::json stories = nlohmann::json::array();
    for (const Explored& explored : all) {
        const Counts& counts = explored.result.counts;
        nlohmann::json story{{"story", explored.story.name},
                             {"about", explored.story.about},
                             {"schedules", counts.runs()},
                             {"seconds", counts.seconds},
                             {"most_steps", counts.most_steps},
                             {"actors", counts.most_actors},
                             {"without_preemption", counts.with_preemptions[0]},
                             {"one_preemption", counts.with_preemptions[1]},
                             {"two_preemptions", counts.with_preemptions[2]},
                             {"complete", counts.complete},
                             {"priorities_2", counts.priorities_2},
                             {"priorities_3", counts.priorities_3},
                             {"random", counts.random},
                             {"strange", counts.strange}};
        if (const auto& found = explored.result.found) {
            story["found"] = to_json(found->run, source);
            story["found"]["how"] = found->how;
            story["found"]["after_runs"] = found->after;
            story["found"]["after_seconds"] = found->seconds;
            story["found"]["broken_again"] = found->broken_again;
            story["found"]["order"] = to_order(shortest_schedule_of(found->run));
            story["found"]["that_matter"] = nlohmann::json::array();
            if (const auto pair = that_matter(*found)) {
                const Names names = source.names(found->run);
                for (const std::size_t step : {pair->first, pair->second}) {
                    story["found"]["that_matter"].push_back(
                        step_in_words(found->run, step, source, names));
                }
            }
            if (found->beside) {
                story["found"]["differs_at"] = found->differs_at + 1;
                story["found"]["beside"] = to_json(*found->beside, source);
            }
        }
        stories.push_back(story);
    }
    const nlohmann::json result{
        {"format", "explore 1"},
        {"stage", all.empty() ? "" : all.front().server.name},
        {"options", all.empty() ? std::vector<std::string>() : all.front().server.options},
        {"stories", stories}};
    return result.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

ScheduleFile to_schedule_file(const Explored& explored, const Run& run, const Source& source)
{
    ScheduleFile file{.stage = explored.server.name,
                      .options = explored.server.options,
                      .story = explored.story.name,
                      .source = source.file() + " " + fingerprint(source.text()),
                      .actors = schedule_of(run),
                      .acts = {}};
    const Names names = source.names(run);
    for (const Step& step : run.steps) {
        const std::string where = place(step.act());
        file.acts.push_back(describe(step.act(), source, names) +
                            (where.empty() ? "" : ", " + where));
    }
    return file;
}

}  // namespace ground::explore
