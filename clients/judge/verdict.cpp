#include "clients/judge/verdict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ground::judge {

namespace {

bool is_broken(const Run& run)
{
    return run.outcome == Outcome::broken || run.outcome == Outcome::hung;
}

Judgement of_all(const Promise& promise, const std::vector<Run>& runs)
{
    Judgement judgement;
    judgement.promise = promise;
    judgement.runs = static_cast<unsigned>(runs.size());
    for (const Run& run : runs) {
        judgement.failed_runs += is_broken(run) ? 1U : 0U;
        judgement.seconds += run.seconds;
        // The first broken run is the one that is shown.
        if (is_broken(run) && !is_broken(judgement.run)) {
            judgement.run = run;
        }
    }
    if (judgement.failed_runs == 0 && !runs.empty()) {
        judgement.run = runs.back();
    }
    return judgement;
}

const Run* find(const std::vector<Run>& runs, Outcome outcome)
{
    const auto found = std::find_if(runs.begin(), runs.end(),
                                    [&](const Run& run) { return run.outcome == outcome; });
    return found == runs.end() ? nullptr : &*found;
}

// How many runs tell something.
std::size_t counted(const std::vector<Run>& runs)
{
    return static_cast<std::size_t>(std::count_if(runs.begin(), runs.end(), tells_something));
}

void keep(Judgement& judgement)
{
    const std::string& flaw = judgement.promise.by_design;
    judgement.verdict = flaw.empty() ? Verdict::pass : Verdict::by_design;
    judgement.reason = flaw;
}

}  // namespace

bool tells_something(const Run& run)
{
    return run.outcome != Outcome::not_applicable && run.outcome != Outcome::undecided;
}

std::string_view to_string(Verdict verdict)
{
    constexpr std::array<std::string_view, 6> words{"pass",           "fail",    "by design",
                                                    "not applicable", "unknown", "judge's error"};
    return words.at(static_cast<std::size_t>(verdict));
}

Judgement decide(const Promise& promise, const std::vector<Run>& runs)
{
    Judgement judgement = of_all(promise, runs);
    if (const Run* const error = find(runs, Outcome::error)) {
        judgement.verdict = Verdict::error;
        judgement.reason = error->reason;
    } else if (const Run* const inapplicable = find(runs, Outcome::not_applicable);
               inapplicable != nullptr && judgement.failed_runs == 0) {
        judgement.verdict = Verdict::not_applicable;
        judgement.reason = inapplicable->reason;
    } else if (runs.empty()) {
        judgement.reason = "it was not run";
    } else if (judgement.failed_runs == 0 && counted(runs) > 0) {
        keep(judgement);
    } else if (judgement.failed_runs == counted(runs) && counted(runs) >= runs_to_fail) {
        judgement.verdict = Verdict::fail;
    } else {
        judgement.verdict = Verdict::unknown;
        if (judgement.failed_runs > 0) {
            judgement.reason = fmt::format("{} of {} runs broke it: {}", judgement.failed_runs,
                                           judgement.runs, cause(judgement.run));
        }
        if (const Run* const undecided = find(runs, Outcome::undecided)) {
            judgement.reason +=
                (judgement.reason.empty() ? "" : "; of the others nothing is known: ") +
                undecided->reason;
        }
    }
    return judgement;
}

Judgement decide_until_fail(const Promise& promise, const std::vector<Run>& runs)
{
    Judgement judgement = decide(promise, runs);
    if (judgement.failed_runs > 0 && judgement.verdict != Verdict::error) {
        judgement.verdict = Verdict::fail;
        judgement.reason = fmt::format("run {} broke it", judgement.runs);
    }
    return judgement;
}

Judgement decide_explored(Judgement plain, const Run& explored)
{
    plain.verdict = Verdict::fail;
    plain.reason.clear();
    plain.seconds += explored.seconds;
    plain.run = explored;
    return plain;
}

Judgement not_run(const Promise& promise, Verdict verdict, const std::string& reason)
{
    Judgement judgement;
    judgement.promise = promise;
    judgement.verdict = verdict;
    judgement.reason = reason;
    return judgement;
}

std::string cause(const Run& run)
{
    if (run.outcome == Outcome::hung) {
        return fmt::format("it hangs: {}", run.seen);
    }
    if (run.ended.starts_with("signal")) {
        return fmt::format("it crashed: {}", run.ended);
    }
    if (!run.ended.empty()) {
        return run.seen == "it ended before it listened"
                   ? fmt::format("it did not start: it ended with {} before it listened", run.ended)
                   : fmt::format("it ended by itself, with {}", run.ended);
    }
    if (run.order.is_known()) {
        return fmt::format("in one order of threads and clients, {}", run.seen);
    }
    // It may be in quotes.
    const auto begins_with = [&](std::string_view words) { return run.seen.find(words) <= 1; };
    if (begins_with("waited in vain for the server's repl")) {
        return run.received.empty() ? "no reply" : "no further reply";
    }
    if (begins_with("waited in vain for the server to send more or to close")) {
        return "no further reply, and no end of the connection";
    }
    if (begins_with("waited in vain for the server to read")) {
        return "no further reply: it does not read what is sent";
    }
    if (begins_with("the server has closed instead of replying")) {
        return "it closed the connection instead of replying";
    }
    if (run.seen.find("Connection reset by peer") != std::string::npos) {
        return "it reset the connection";
    }
    constexpr std::string_view in_vain = "waited in vain for ";
    if (begins_with(in_vain) && run.promised.empty()) {
        return fmt::format("waited in vain for this: {}", run.seen.substr(in_vain.size()));
    }
    if (run.promised.empty()) {
        return run.seen.empty() ? "something else than promised" : run.seen;
    }
    return fmt::format("it replied {} instead of {}", in_quotes(run.seen, 60),
                       in_quotes(run.promised, 60));
}

Summary summarize(const std::vector<Judgement>& judgements)
{
    Summary summary;
    for (const Judgement& judgement : judgements) {
        switch (judgement.verdict) {
            case Verdict::pass:
                ++summary.pass;
                break;
            case Verdict::fail:
                ++(judgement.known ? summary.known : summary.fail);
                break;
            case Verdict::by_design:
                ++summary.by_design;
                break;
            case Verdict::not_applicable:
                ++summary.not_applicable;
                break;
            case Verdict::unknown:
                ++summary.unknown;
                break;
            case Verdict::error:
                ++summary.error;
                break;
        }
    }
    return summary;
}

int exit_status(const Summary& summary)
{
    if (summary.error > 0) {
        return 3;
    }
    if (summary.fail > 0) {
        return 1;
    }
    const bool judged = summary.pass + summary.by_design + summary.known > 0;
    return summary.unknown > 0 || !judged ? 2 : 0;
}

std::string in_quotes(std::string_view text, std::size_t longest)
{
    std::string result = "\"";
    const std::size_t half = longest / 2;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.size() > longest && i == half) {
            const std::size_t left_out = text.size() - 2 * half;
            result += fmt::format("\" ... {} bytes ... \"", left_out);
            i += left_out;
        }
        const char byte = text[i];
        switch (byte) {
            case '\n':
                result += "\\n";
                break;
            case '\r':
                result += "\\r";
                break;
            case '\t':
                result += "\\t";
                break;
            case '"':
            case '\\':
                result += {'\\', byte};
                break;
            default:
                const auto code = static_cast<unsigned char>(byte);
                result +=
                    code < 32 || code > 126 ? fmt::format("\\x{:02x}", code) : std::string(1, byte);
        }
    }
    return result + '"';
}

std::vector<Promise> in_order(std::vector<Promise> promises)
{
    // A promise that others depend on comes before them. A group that is not named here comes last.
    constexpr std::array<std::string_view, 6> groups{"start/", "protocol/", "process/",
                                                     "load/",  "model/",    "faults/"};
    const auto place = [&](const Promise& promise) {
        return std::find_if(groups.begin(), groups.end(),
                            [&](std::string_view group) { return promise.id.starts_with(group); }) -
               groups.begin();
    };
    std::stable_sort(promises.begin(), promises.end(),
                     [&](const Promise& a, const Promise& b) { return place(a) < place(b); });
    return promises;
}

}  // namespace ground::judge
