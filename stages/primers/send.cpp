// send.cpp -- a producer and two consumers: values can also go into a generator.

#include "common/wait/generator.hpp"

#include <fmt/format.h>

#include <string>

using namespace ground;

namespace {

// Gives how many buns it has eaten, and receives the next one.
Generator<int, std::string> consumer(std::string name)
{
    fmt::print("{} sits down\n", name);
    for (int eaten = 0;; ++eaten) {
        const std::string bun = co_yield eaten;
        fmt::print("{} eats a bun with {}\n", name, bun);
    }
}

}  // namespace

int main()
{
    auto ann = consumer("Ann");
    auto ben = consumer("Ben");
    ann.next();  // runs until she waits for a bun
    ben.next();
    for (const std::string filling : {"plums", "cream", "nothing"}) {
        fmt::print("two buns with {}\n", filling);
        const auto eaten = *ann.send(filling) + *ben.send(filling);
        fmt::print("{} eaten\n", eaten);
    }
}
