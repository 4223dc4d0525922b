// turns.hpp -- what the files that begin, run, time and end threads have of each other.
#pragma once

#include "common/monkey/green.hpp"

namespace green {

// It will run when those before it have.
void make_ready(Thread* thread) noexcept;

// Lets the next one run. The caller is ready itself, waits, or has ended.
void run_next() noexcept;

// By their deadlines. False: there is no memory.
bool add_timer(Thread* thread) noexcept;
void remove_timer(Thread* thread) noexcept;
Thread* first_timer() noexcept;  // null if there is none
void forget_timers() noexcept;

}  // namespace green
