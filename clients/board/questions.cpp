#include "clients/board/questions.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace ground::board {

namespace {

constexpr std::string_view mark = "<!-- vote:";
constexpr std::string_view end_of_mark = "-->";

std::string_view trimmed(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(" \t\r");
    const std::size_t last = text.find_last_not_of(" \t\r");
    return first == std::string_view::npos ? "" : text.substr(first, last + 1 - first);
}

// "**Words** with a [link](to.md) and `code`" as it is read.
std::string plain(std::string_view markdown)
{
    std::string text;
    for (std::size_t i = 0; i < markdown.size(); ++i) {
        const char c = markdown[i];
        const std::size_t to =
            c == ']' && markdown.substr(i).starts_with("](") ? markdown.find(')', i) : i;
        if (to != i && to != std::string_view::npos) {
            i = to;
        } else if (c != '`' && c != '*' && c != '[' && c != ']') {
            text += c;
        }
    }
    return text;
}

// "1. " at the beginning of a line: how many characters that is, or 0.
std::size_t length_of_number(std::string_view line)
{
    std::size_t digits = 0;
    while (digits < line.size() && std::isdigit(static_cast<unsigned char>(line[digits])) != 0) {
        ++digits;
    }
    return digits > 0 && line.substr(digits).starts_with(". ") ? digits + 2 : 0;
}

void add_answers(Question& question, std::string_view text)
{
    for (bool more = true; more;) {
        const std::size_t bar = text.find('|');
        more = bar != std::string_view::npos;
        std::string_view answer = trimmed(text.substr(0, bar));
        text.remove_prefix(more ? bar + 1 : text.size());
        if (answer.starts_with('*')) {
            question.right = question.answers.size();
            answer.remove_prefix(1);
        }
        question.answers.push_back(plain(trimmed(answer)));
    }
}

}  // namespace

std::vector<Question> read_questions(std::string_view page)
{
    std::vector<Question> questions;
    bool predict = false;
    std::optional<std::string> text;     // of the question that was read last
    std::optional<std::string> answers;  // of a comment that has begun
    while (!page.empty()) {
        const std::size_t size = std::min(page.find('\n'), page.size());
        const std::string_view line = page.substr(0, size);
        page.remove_prefix(std::min(size + 1, page.size()));
        if (line.starts_with("## ")) {
            predict = trimmed(line.substr(3)) == "Predict";
            text.reset();
            answers.reset();
            continue;
        }
        std::string_view rest = trimmed(line);
        if (!predict || rest.empty()) {
            continue;
        }
        if (const std::size_t number = length_of_number(line); number > 0) {
            text = trimmed(line.substr(number));
        } else if (text && rest.starts_with(mark)) {
            rest.remove_prefix(mark.size());
            answers = "";
        } else if (text && !answers && line.starts_with(' ')) {
            *text += ' ';
            *text += rest;
        } else if (!answers) {
            text.reset();  // a paragraph of its own
        }
        if (answers) {
            const std::size_t end = rest.find(end_of_mark);
            *answers += ' ';
            *answers += rest.substr(0, end);
            if (end != std::string_view::npos) {
                Question question{plain(*std::exchange(text, std::nullopt)), {}, std::nullopt};
                add_answers(question, *std::exchange(answers, std::nullopt));
                if (question.answers.size() >= 2 && question.answers.size() <= most_answers) {
                    questions.push_back(std::move(question));
                }
            }
        }
    }
    return questions;
}

}  // namespace ground::board
