#include "suite.hpp"

#include <algorithm>
#include <chrono>

namespace ground::test {

LongRequest::LongRequest(std::chrono::milliseconds at_least) : n_(30)
{
    // The fastest of a few, because the machine may be busy with something else.
    auto time = std::chrono::nanoseconds::max();
    for (int i = 0; i < 5; ++i) {
        const auto start = thread_cpu_time();
        [[maybe_unused]] const volatile Number number = fib(n_);
        time = std::min(time, thread_cpu_time() - start);
    }
    // One more n costs 1.6 times as much.
    while (time < at_least && n_ < 44) {
        time = time * 8 / 5;
        ++n_;
    }
}

}  // namespace ground::test
