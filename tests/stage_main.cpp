// The main program of the suites that run against a stage; see stage.hpp for the command line.
#define DOCTEST_CONFIG_IMPLEMENT
#include "stage.hpp"
#include "watchdog.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <iostream>

int main(int argc, char** argv)
{
    using ground::test::stage;
    if (stage().executable().empty()) {
        std::cerr << argv[0] << ": give me the executable of a stage and its options\n";
        return 2;
    }
    if (stage().unknown()) {
        std::cerr << argv[0] << ": " << stage().executable() << " is unknown; begin docs/"
                  << stage().name() << ".md as scripts/stages --help says, and build again\n";
        return 2;
    }
    std::signal(SIGPIPE, SIG_IGN);
    return ground::test::watched([&] {
        doctest::Context context;
        context.applyCommandLine(argc, argv);
        return context.run();
    });
}
