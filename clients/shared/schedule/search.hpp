// search.hpp -- looks for a schedule that breaks a promise.
//
// First all schedules without a pre-emption, then all with one, then all with two (Musuvathi and
// Qadeer, PLDI 2007: most errors need no more). Then random ones with priorities (PCT, Burckhardt
// and others, ASPLOS 2010), until the time is over. For PCT it is known how likely it is to find an
// error of a certain depth.
#pragma once

#include "clients/shared/schedule/run.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ground::explore {

// The actor of each step, by name. After its end, choose_by_default().
using Schedule = std::vector<std::string>;

[[nodiscard]] Schedule schedule_of(const Run& run);
// The same without the choices at its end that playing() makes by itself.
[[nodiscard]] Schedule shortest_schedule_of(const Run& run);
// For run(): a schedule that can't be taken ends the run as Outcome::strange.
[[nodiscard]] Choose playing(const Schedule& schedule);

enum class Strategy { all, bounded, priorities, random };

struct Counts {
    static constexpr std::size_t most_preemptions = 2;
    std::array<std::size_t, most_preemptions + 1> with_preemptions{};
    std::array<bool, most_preemptions + 1> complete{};
    std::size_t priorities_2 = 0;  // PCT of depth 2
    std::size_t priorities_3 = 0;
    std::size_t random = 0;
    std::size_t strange = 0;  // could not be judged
    std::string strange_because;
    std::size_t most_steps = 0;
    std::size_t most_actors = 0;
    double seconds = 0;

    [[nodiscard]] std::size_t runs() const noexcept;
    // How likely PCT would have found an error of this depth (2 or 3), at least.
    [[nodiscard]] double certainty(unsigned depth) const noexcept;
};

struct Found {
    Run run;                // the shortest that breaks the promise
    std::string how;        // "with 1 pre-emption"
    std::size_t after = 0;  // how many runs it took to find it
    double seconds = 0;
    unsigned broken_again = 0;  // how often, when it was played three more times
    // In one of these a reply was missing, and came later: the server had waited for time to pass.
    bool came_later = false;
    // A schedule that differs in one choice and keeps all promises.
    std::optional<Run> beside;
    std::size_t differs_at = 0;  // index of that step
};

struct Result {
    Counts counts;
    std::optional<Found> found;
};

struct Limits {
    std::chrono::duration<double> budget{60};
    std::size_t at_least = 0;  // so many schedules, also if that takes longer
    Strategy strategy = Strategy::all;
    std::uint64_t seed = 1;
    // How long a reply is waited for before it is called missing. Our own stages do nothing because
    // time has passed. A program of one's own may.
    std::chrono::milliseconds silence{0};
};

// `tick` is called after each run.
[[nodiscard]] Result search(const Server& server, const Story& story, const Limits& limits,
                            const std::function<void(const Counts&)>& tick);

// For a schedule that was played: how often it breaks again, and the one beside it.
[[nodiscard]] Found examine(const Server& server, const Story& story, const Run& broken,
                            const Limits& limits = {});

inline constexpr unsigned replays = 3;

}  // namespace ground::explore
