// fib.hpp -- the work that every stage serves: Fibonacci numbers.
//
// Both functions are pure and may be called from any thread or process at once.
#pragma once

#include <cstdint>

namespace ground {

using Number = std::uint64_t;

// The largest n whose Fibonacci number fits into a Number.
inline constexpr unsigned fib_limit = 93;

// The n-th Fibonacci number by the definition, in exponential time: one more n costs 1.6 times as
// much. Slow on purpose, it stands for any honest computing. fib(n) is 1 for n <= 2.
[[nodiscard]] Number fib(unsigned n);

// The same numbers in n steps: the best concurrency is a better algorithm.
[[nodiscard]] Number fib_fast(unsigned n);

// Either of the two; the option --algorithm chooses.
using FibFunction = Number (*)(unsigned n);

}  // namespace ground
