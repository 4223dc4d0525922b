// parent.cpp -- where a greenlet goes when it ends: to its parent, with what it returns.
//
// Its parent is the greenlet that has made it, not one that has switched to it.

#include "common/wait/greenlet.hpp"

#include <fmt/format.h>

#include <any>
#include <optional>
#include <stdexcept>
#include <string>

using namespace ground;

int main()
{
    std::optional<Greenlet> second;
    Greenlet first([&] {
        fmt::print("12\n");
        second->switch_to();
        fmt::print("34\n");
        return std::string("1 returns");
    });
    second.emplace([] {
        fmt::print("56\n");
        fmt::print("78\n");
        return std::string("2 returns");
    });
    // The first one switches to the second. That one ends, and control returns here.
    fmt::print("main gets: {}\n", std::any_cast<std::string>(first.switch_to()));
    fmt::print("main gets: {}\n", std::any_cast<std::string>(first.switch_to()));
    fmt::print("both have ended: {}\n", first.dead() && second->dead());

    Greenlet third([]() -> std::any { throw std::runtime_error("3 fails"); });
    try {
        third.switch_to();
    } catch (const std::runtime_error& error) {
        fmt::print("main catches: {}\n", error.what());
    }
}
