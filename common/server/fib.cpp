#include "common/server/fib.hpp"

namespace ground {

// Not inlined, so that every call is a real call and profilers and tracers see all of them.
[[gnu::noinline]] Number fib(unsigned n)
{
    if (n <= 2) {
        return 1;
    }
    return fib(n - 1) + fib(n - 2);
}

Number fib_fast(unsigned n)
{
    Number before = 0;
    Number current = 1;
    for (unsigned i = 1; i < n; ++i) {
        const Number next = before + current;
        before = current;
        current = next;
    }
    return current;
}

}  // namespace ground
