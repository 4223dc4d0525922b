#include "common/server/fib.hpp"

#include <doctest/doctest.h>

#include <initializer_list>

using namespace ground;

TEST_CASE("fib: the first two are 1, and each other is the sum of the two before")
{
    for (const FibFunction function : {&fib, &fib_fast}) {
        CHECK(function(0) == 1);
        CHECK(function(1) == 1);
        CHECK(function(2) == 1);
        CHECK(function(3) == 2);
        CHECK(function(30) == 832040);
        for (unsigned n = 3; n <= 25; ++n) {
            CAPTURE(n);
            CHECK(function(n) == function(n - 1) + function(n - 2));
        }
    }
}

TEST_CASE("fib: both algorithms agree")
{
    for (unsigned n = 0; n <= 30; ++n) {
        CAPTURE(n);
        CHECK(fib(n) == fib_fast(n));
    }
}

TEST_CASE("fib_fast: up to the limit the numbers grow, so none overflows")
{
    for (unsigned n = 3; n <= fib_limit; ++n) {
        CAPTURE(n);
        CHECK(fib_fast(n) > fib_fast(n - 1));
    }
    CHECK(fib_fast(fib_limit) == 12200160415121876738ULL);
}
