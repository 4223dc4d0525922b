// switching.cpp -- two functions that switch to each other in the middle.

#include "common/wait/greenlet.hpp"

#include <fmt/format.h>

#include <optional>

using namespace ground;

int main()
{
    std::optional<Greenlet> first;
    std::optional<Greenlet> second;
    first.emplace([&] {
        fmt::print("12\n");
        second->switch_to();
        fmt::print("34\n");
    });
    second.emplace([&] {
        fmt::print("56\n");
        first->switch_to();
        fmt::print("78\n");
    });
    first->switch_to();
    fmt::print("where is 78?\n");
    second->switch_to();  // continues where it has switched away
}
