// verdict.hpp -- the result of a fault test, for the table of all stages and all faults.
//
// A fault is a TEST_SUITE. What its test cases report becomes one cell of the table, which
// scripts/check/robustness.py prints. The environment variable FAULTS names a directory. Each run
// writes its results there, into a file of its own. Without the variable it writes nothing.
#pragma once

#include <doctest/doctest.h>

#include <string>

namespace ground::test {

// Each test case calls one of these before it ends. (It may still fail, and then counts as failed.)

// Only the client or process at fault has noticed, or what the reason says.
void held(const std::string& reason = {});
// The stage breaks here, as it is meant to show, and the test has seen exactly that.
void by_design(const std::string& reason);
// The server has refused, in a line, and goes on.
void refused(const std::string& reason);

// A measured figure with its unit, for the notes below the table.
void measured(const std::string& figure);

// Why a test case that is skipped does not apply: TEST_CASE("..." * only_if(...) * because("..."))
[[nodiscard]] inline doctest::description because(const char* reason)
{
    return doctest::description(reason);
}

}  // namespace ground::test
