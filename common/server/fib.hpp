// fib.hpp -- the work that every stage does: Fibonacci numbers.
//
// Both functions are pure: any number of threads may call them at once.
#pragma once

#include "common/observe/seams.hpp"

#include <cstdint>

namespace ground {

using Number = std::uint64_t;

// The largest n whose Fibonacci number fits into a Number.
inline constexpr unsigned fib_limit = 93;

// The n-th Fibonacci number by the definition, in exponential time: fib(n + 1) takes 1.6 times as
// long. It is slow on purpose, because it stands for any real computing. fib(n) is 1 for n <= 2.
[[nodiscard]] Number fib(unsigned n);

// The same numbers in n steps: a better algorithm beats any concurrency.
[[nodiscard]] Number fib_fast(unsigned n);

// Either of the two; the option --algorithm chooses.
class FibFunction {
  public:
    using Plain = Number (*)(unsigned n);

    constexpr FibFunction(Plain f) noexcept : f_(f) {}  // NOLINT: implicit, as from the pointer

    Number operator()(unsigned n, Here here = Here::at()) const
    {
        const observe::Seam seam(observe::computes, observe::whoever_runs, here, n);
        return f_(n);
    }

    // The function without the seam, for a caller that calls it many times to compute one number.
    [[nodiscard]] constexpr Plain plain() const noexcept { return f_; }

    friend constexpr bool operator==(FibFunction, FibFunction) noexcept = default;

  private:
    Plain f_;
};

}  // namespace ground
