// The main program of tests that need no stage.
#define DOCTEST_CONFIG_IMPLEMENT
#include "watchdog.hpp"

#include <doctest/doctest.h>

int main(int argc, char** argv)
{
    return ground::test::watched([&] {
        doctest::Context context;
        context.applyCommandLine(argc, argv);
        return context.run();
    });
}
