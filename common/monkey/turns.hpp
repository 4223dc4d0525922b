// turns.hpp -- what the files that begin, run, time and end threads need of each other.
#pragma once

#include "common/monkey/green.hpp"

namespace green {

// The thread will run after those that are ready already.
void make_ready(Thread* thread) noexcept;

// Lets the next thread run. The caller is ready itself, waits, or has ended.
void run_next() noexcept;

// Adds a thread by its deadline. False: there is no memory.
bool add_timer(Thread* thread) noexcept;
void remove_timer(Thread* thread) noexcept;
Thread* first_timer() noexcept;  // null if there is none
void forget_timers() noexcept;

}  // namespace green
