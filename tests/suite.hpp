// suite.hpp -- what the suites that run against a stage have in common.
#pragma once

#include "common/server/fib.hpp"
#include "harness.hpp"
#include "stage.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace ground::test {

// Skips a test case that does not apply; doctest counts it as skipped.
[[nodiscard]] inline doctest::skip only_if(bool applies) { return doctest::skip(!applies); }

// A server has to end within 2 s of SIGINT or SIGTERM; the rest is for a busy machine. A server
// that waited for endless_request would need far more.
inline constexpr std::chrono::seconds time_to_end{2 + 3 * slowdown};

// How long 08 and 09 may take to finish what they have begun, before they end anyway (signals.cpp).
inline constexpr std::chrono::milliseconds time_until_cut_off{1500};

// The processes of a pool with that many workers: these, and the forker that starts them.
inline constexpr std::size_t processes_of_pool(std::size_t workers) { return workers + 1; }

inline void wait_for_workers(const Server& server, std::size_t workers)
{
    std::size_t processes = 0;
    try {
        eventually("all workers are there", [&] {
            processes = server.descendants().size();
            return processes == processes_of_pool(workers);
        });
    } catch (const std::runtime_error& error) {
        throw std::runtime_error(fmt::format("{}; processes: {}", error.what(), processes));
    }
}

[[nodiscard]] inline std::size_t count_lines(std::string_view text)
{
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// A number that takes a while to compute, but not for ever.
class LongRequest {
  public:
    // Long enough to be seen in /proc, on any machine and in any build: it takes at least this much
    // CPU time, and at most twice as much.
    explicit LongRequest(std::chrono::milliseconds at_least = std::chrono::milliseconds(250));
    [[nodiscard]] std::string text() const { return fmt::format("{}\n", n_); }
    [[nodiscard]] std::string reply() const { return fmt::format("{}", fib_fast(n_)); }

  private:
    unsigned n_;
};

// A number that is still being computed when the test is over.
inline constexpr std::string_view endless_request = "50\n";

// Throws DoesNotApply if no number is big for this server. (For our stages some are.)
void require_that_some_are_big();

// From now on the beginning of a line waits for its end, also if the server guesses (--framing
// auto): the client has sent a line end.
void begin_with_a_line(Client& client);

}  // namespace ground::test
