// judge_options.hpp -- the judge's command line.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace ground::judge {

struct JudgeOptions {
    std::vector<std::string> command;  // how to start the server
    std::string connect;               // or where it runs already
    std::string as;                    // the stage that it is like
    bool guesses = false;              // --framing auto
    std::vector<std::string> only;     // ids and groups
    unsigned until_fail = 0;           // rounds; 0: judge
    bool list = false;
    bool verbose = false;
    std::string json;
    std::string junit;
    std::string gradescope;
    std::string baseline;
    std::chrono::milliseconds start{10'000};       // until it listens
    std::chrono::milliseconds asleep{2'000};       // the same, if it only sleeps
    std::chrono::milliseconds time_limit{60'000};  // of all of it
};

// Ends the program after --help, and with status 3 after a mistake.
[[nodiscard]] JudgeOptions parse_judge_options(int argc, char** argv);

}  // namespace ground::judge
