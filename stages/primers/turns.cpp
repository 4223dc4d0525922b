// turns.cpp -- generators take turns: each runs to its next co_yield and joins the queue again.
//
// That is all of a scheduler. In 04_generators a task joins the queue when its socket is ready.

#include "common/wait/generator.hpp"

#include <fmt/format.h>

#include <deque>
#include <string>
#include <vector>

using namespace ground;

namespace {

Generator<std::string> say(std::vector<std::string> words)
{
    for (const auto& word : words) {
        co_yield word;
    }
}

void run(std::deque<Generator<std::string>> ready)
{
    while (!ready.empty()) {
        auto task = std::move(ready.front());
        ready.pop_front();
        if (const auto word = task.next()) {
            fmt::print("{}\n", *word);
            ready.push_back(std::move(task));
        } else {
            fmt::print("(one has ended)\n");
        }
    }
}

}  // namespace

int main()
{
    std::deque<Generator<std::string>> tasks;
    tasks.push_back(say({"1", "2", "3"}));
    tasks.push_back(say({"x", "y"}));
    tasks.push_back(say({"do", "re", "mi", "fa"}));
    run(std::move(tasks));
}
