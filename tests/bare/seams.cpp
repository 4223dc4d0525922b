// seams.cpp -- what the types of common/wait/shared.hpp cost if no watcher looks, beside those of
// the standard library. Prints nanoseconds for each operation: the fastest of
// rounds that alternate, because on a busy machine the others say more of the machine.

#include "common/wait/shared.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int rounds = 101;

template <typename Operation>
double nanoseconds(int operations, Operation operation)
{
    const auto begin = Clock::now();
    for (int i = 0; i < operations; ++i) {
        operation();
    }
    return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / operations;
}

// The compiler must not leave a read out whose result is not used.
template <typename T>
void keep(T value)
{
    asm volatile("" : : "r"(value));
}

template <typename Standard, typename Ours>
void compare(const char* what, int operations, Standard standard, Ours ours)
{
    std::array<std::vector<double>, 2> times;
    for (int i = 0; i < rounds; ++i) {
        times[0].push_back(nanoseconds(operations, standard));
        times[1].push_back(nanoseconds(operations, ours));
    }
    fmt::print("| {} | {:.2f} | {:.2f} |\n", what,
               *std::min_element(times[0].begin(), times[0].end()),
               *std::min_element(times[1].begin(), times[1].end()));
}

}  // namespace

int main(int argc, char** argv)
{
    const int operations = argc > 1 ? std::atoi(argv[1]) : 100'000;
    std::atomic<std::uint64_t> atomic{0};
    ground::Atomic<std::uint64_t> observed{0};
    std::mutex mutex;
    ground::Mutex observed_mutex;
    fmt::print("| operation | std, ns | with a seam, ns |\n| --- | --: | --: |\n");
    compare(
        "load()", operations, [&] { keep(atomic.load()); }, [&] { keep(observed.load()); });
    compare(
        "store()", operations, [&] { atomic.store(1); }, [&] { observed.store(1); });
    compare(
        "fetch_add()", operations, [&] { atomic.fetch_add(1); }, [&] { observed.fetch_add(1); });
    compare(
        "lock and unlock", operations, [&] { const std::unique_lock lock(mutex); },
        [&] { const ground::Lock lock(observed_mutex); });
}
