// main.cpp -- the promises, one at a time, against a server that is not ours. The judge runs it.
//
//     promises --list [--as STAGE] [--framing auto] [--connect HOST:PORT] -- [COMMAND...]
//     promises --promise ID ... -- [COMMAND...]
//
// The first prints a line of JSON for each promise. The second prints a line with the result, or
// none if the test case did not end.
#define DOCTEST_CONFIG_IMPLEMENT
#include "promise.hpp"
#include "tests/harness.hpp"
#include "tests/stage.hpp"
#include "tests/watchdog.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <sys/prctl.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <ostream>
#include <stdexcept>
#include <string>

namespace ground::test {

namespace {

void list()
{
    for (const Registered& one : registered_promises()) {
        const nlohmann::ordered_json line{
            {"id", one.promise.id},     {"promise", one.name},
            {"page", one.promise.page}, {"after", one.promise.after},
            {"help", one.promise.help}, {"by_design", one.promise.by_design},
            {"why_not", one.why_not},   {"stories", one.promise.stories},
        };
        std::cout << line.dump() << '\n';
    }
}

// A test case has time for a start and for two waits in vain, and a while more.
int run_one(const Registered& chosen)
{
    ::setenv("WATCHDOG_SECONDS", std::to_string(10 + 3 * patience.count()).c_str(), 0);
    return watched([&] {
        // The watchdog's child starts the server, so orphans of that become its children.
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
        std::string name = chosen.name;
        for (auto at = name.find(','); at != std::string::npos; at = name.find(',', at + 2)) {
            name.insert(at, "\\");
        }
        doctest::Context context;
        std::ostream nowhere(nullptr);
        context.setCout(&nowhere);
        context.setOption("dt-test-case", name.c_str());
        return context.run();
    });
}

int list_or_run(const std::string& program)
{
    if (stage().foreign() == nullptr) {
        std::cerr << program << ": the judge runs this program: judge --help\n";
        return 2;
    }
    if (!stage().problem().empty()) {
        std::cerr << stage().problem() << '\n';
        return 2;
    }
    if (suite_option("--list")) {
        list();
        return 0;
    }
    const auto& all = registered_promises();
    const auto chosen = std::find_if(all.begin(), all.end(), [](const Registered& one) {
        return one.promise.id == suite_option("--promise");
    });
    if (chosen == all.end()) {
        std::cerr << program << ": no such promise\n";
        return 2;
    }
    return run_one(*chosen);
}

}  // namespace

}  // namespace ground::test

int main(int /*argc*/, char** argv)
{
    std::signal(SIGPIPE, SIG_IGN);
    try {
        return ground::test::list_or_run(argv[0]);
    } catch (const std::exception& problem) {
        std::cerr << problem.what() << '\n';
        return 2;
    }
}
