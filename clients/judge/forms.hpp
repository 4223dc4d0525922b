// forms.hpp -- a judgement as text for people, and as files for programs.
#pragma once

#include "clients/judge/judge_options.hpp"
#include "clients/judge/verdict.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ground::judge {

// What all results of one call have in common.
struct Case {
    JudgeOptions options;
    std::string machine;
    double slowdown = 1;  // how much longer than its CPU time a computation takes here
    std::string date;
};

// A line for one promise.
[[nodiscard]] std::string to_line(const Judgement& judgement);

// The cause, what was sent, seen and promised, the page, and the command that shows it again.
[[nodiscard]] std::string to_details(const Judgement& judgement, const Case& the_case);

// "41 promises kept, 2 by design, 1 broken; 12 not applicable"
[[nodiscard]] std::string to_sentence(const Summary& summary);

// Version 1 of the schema; docs/judge.md describes it.
[[nodiscard]] std::string to_json(const std::vector<Judgement>& judgements, const Case& the_case);
[[nodiscard]] std::string to_junit(const std::vector<Judgement>& judgements);
[[nodiscard]] std::string to_gradescope(const std::vector<Judgement>& judgements,
                                        const Case& the_case);

// The ids in a baseline: one a line, with comments after #, or all that fail in a file of
// to_json(). Throws ClientError if it is neither.
[[nodiscard]] std::set<std::string> parse_baseline(std::string_view text);

}  // namespace ground::judge
