// questions.hpp -- what the room votes on: questions of a stage's page, with answers to choose
// from.
//
// They stand where a reader finds them, in the list under "Predict". A comment after a question has
// the answers, and a star is before the right one:
//
//     1. Ann has connected and is silent. Ben asks for a number. What does Ben see?
//        <!-- vote: a refusal | a reply | *nothing -->
//
// A question without such a comment is for readers alone.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground::board {

struct Question {
    std::string text;
    std::vector<std::string> answers;
    std::optional<std::size_t> right;  // its index
};
inline constexpr std::size_t most_answers = 6;

// The questions of a page in Markdown. A question that is not marked well is left out.
[[nodiscard]] std::vector<Question> read_questions(std::string_view page);

}  // namespace ground::board
