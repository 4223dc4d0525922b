// countdown.cpp -- a generator: a function that stops at each co_yield and goes on when asked.

#include "common/wait/generator.hpp"

#include <fmt/format.h>

using namespace ground;

namespace {

Generator<int> countdown(int n)
{
    fmt::print("from {}\n", n);  // not before the first next()
    while (n > 0) {
        co_yield n--;
    }
}

}  // namespace

int main()
{
    Generator<int> numbers = countdown(3);
    fmt::print("nothing has run yet\n");
    while (const auto number = numbers.next()) {
        fmt::print("{}\n", *number);
    }
    fmt::print("and then nothing\n");

    for (const int number : countdown(2)) {  // does the same
        fmt::print("{}\n", number);
    }
}
