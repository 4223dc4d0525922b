// verdict.hpp -- from what was seen in each run of a promise to a verdict. No I/O.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ground::judge {

// As the suite lists it (tests/promises/promise.hpp).
struct Promise {
    std::string id;
    std::string text;
    std::string page;
    std::string after;
    std::string help;
    std::string by_design;
    std::string why_not;
    std::string stories;  // of explore, if it is a matter of chance: "two,same"
};

enum class Outcome {
    kept,
    broken,
    hung,            // it was not decided when its time was over, which is no better than broken
    undecided,       // the machine was too busy, or the time for all promises was over
    not_applicable,  // this server can't be asked for it, as the run has shown
    error,           // the suite has said nothing
};

// The order of threads in which explore has seen a promise broken.
struct Order {
    std::string story;
    std::string actors;              // for `explore --order`; empty: it was no run of explore's
    std::vector<std::string> steps;  // the two that matter; or none
    std::vector<std::string> stuck;  // what each one waits for, if nothing can move

    [[nodiscard]] bool is_known() const noexcept { return !story.empty(); }
};

// What one run has seen.
struct Run {
    Outcome outcome = Outcome::error;
    std::string reason;    // of undecided, not_applicable and error
    std::string sent;      // the last that a client has sent, or the beginning of it
    std::string received;  // what came after that
    std::string seen;
    std::string promised;
    std::string where;  // the line of the test case
    std::string ended;  // how the server ended by itself: "signal 11 (Segmentation fault)"
    std::string out;    // of the server
    std::string err;
    double seconds = 0;
    Order order;
};

enum class Verdict { pass, fail, by_design, not_applicable, unknown, error };

// "pass", "by design", "judge's error"
[[nodiscard]] std::string_view to_string(Verdict verdict);

struct Judgement {
    Promise promise;
    Verdict verdict = Verdict::unknown;
    std::string reason;  // of all verdicts but pass and fail
    Run run;             // one that shows the verdict
    unsigned runs = 0;
    unsigned failed_runs = 0;
    double seconds = 0;
    bool known = false;  // it fails, and a baseline says that it does
};

// Whether the run has kept or broken the promise, or is an error.
[[nodiscard]] bool tells_something(const Run& run);

// How many runs that agree make a fail.
inline constexpr unsigned runs_to_fail = 3;

// A promise is kept if the first run keeps it. It is broken if all of runs_to_fail runs break it.
// If they disagree nothing is known. An undecided run does not count. If one run was an error, that
// is the verdict. If one was not applicable, and none broke the promise, that is the verdict.
[[nodiscard]] Judgement decide(const Promise& promise, const std::vector<Run>& runs);

// With --until-fail one broken run is enough: that is what was looked for.
[[nodiscard]] Judgement decide_until_fail(const Promise& promise, const std::vector<Run>& runs);

// What explore has found, beside what plain runs have shown. It breaks the promise each time, so it
// is certain, whatever they have shown.
[[nodiscard]] Judgement decide_explored(Judgement plain, const Run& explored);

// A promise that was not run, and why.
[[nodiscard]] Judgement not_run(const Promise& promise, Verdict verdict, const std::string& reason);

// The first cause, in a sentence: it ended before it listened, it crashed, it replied x.
[[nodiscard]] std::string cause(const Run& run);

struct Summary {
    unsigned pass = 0;
    unsigned fail = 0;   // without those that a baseline knows
    unsigned known = 0;  // those
    unsigned by_design = 0;
    unsigned not_applicable = 0;
    unsigned unknown = 0;
    unsigned error = 0;
};
[[nodiscard]] Summary summarize(const std::vector<Judgement>& judgements);

// 0 all kept; 1 some broken; 2 unknown, or nothing was judged; 3 the judge's own error.
[[nodiscard]] int exit_status(const Summary& summary);

// In quotes, with escapes, cut in the middle if it is longer than that.
[[nodiscard]] std::string in_quotes(std::string_view text, std::size_t longest = 160);

// The order in which to judge and to report: a promise comes before those that depend on it.
[[nodiscard]] std::vector<Promise> in_order(std::vector<Promise> promises);

}  // namespace ground::judge
