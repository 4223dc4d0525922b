// turns.hpp -- what scheduler.cpp has for those who begin, end and time threads.
#pragma once

#include "common/monkey/green.hpp"

namespace green {

// It will run when those before it have.
void make_ready(Thread* thread) noexcept;

// Lets the next one run. Whoever calls this is ready itself, waits, or has ended.
void run_next() noexcept;

// By their deadlines. False: there is no memory.
bool add_timer(Thread* thread) noexcept;
void remove_timer(Thread* thread) noexcept;
Thread* first_timer() noexcept;  // null if there is none
void forget_timers() noexcept;

}  // namespace green
