// timers.cpp -- the clock, and the threads that wait for it: a heap, the next one at place 1.

#include "common/monkey/green.hpp"
#include "common/monkey/turns.hpp"

#include <sys/mman.h>
#include <time.h>

namespace green {

namespace {

constexpr size_t first_room = 4096 / sizeof(Thread*);

Thread** timers;
size_t timers_used;
size_t timers_room;

void put_timer(size_t place, Thread* thread) noexcept
{
    timers[place] = thread;
    thread->timer = place;
}

void move_up(size_t place, Thread* thread) noexcept
{
    for (; place > 1 && thread->deadline < timers[place / 2]->deadline; place /= 2) {
        put_timer(place, timers[place / 2]);
    }
    put_timer(place, thread);
}

void move_down(size_t place, Thread* thread) noexcept
{
    for (size_t child = 2 * place; child <= timers_used; child = 2 * place) {
        child += child < timers_used && timers[child + 1]->deadline < timers[child]->deadline;
        if (thread->deadline <= timers[child]->deadline) {
            break;
        }
        put_timer(place, timers[child]);
        place = child;
    }
    put_timer(place, thread);
}

}  // namespace

void remove_timer(Thread* thread) noexcept
{
    const size_t place = thread->timer;
    thread->timer = 0;
    Thread* const last = timers[timers_used--];
    if (last != thread) {
        if (place > 1 && last->deadline < timers[place / 2]->deadline) {
            move_up(place, last);
        } else {
            move_down(place, last);
        }
    }
}

bool add_timer(Thread* thread) noexcept
{
    if (timers_used + 1 >= timers_room) {
        const size_t room = timers_room == 0 ? first_room : 2 * timers_room;
        const long bigger =
            timers_room == 0
                ? green_system_call(SYS_mmap, nullptr, room * sizeof(Thread*),
                                    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L)
                : green_system_call(SYS_mremap, timers, timers_room * sizeof(Thread*),
                                    room * sizeof(Thread*), MREMAP_MAYMOVE, nullptr);
        if (is_error(bigger)) {
            return false;
        }
        timers = reinterpret_cast<Thread**>(bigger);
        timers_room = room;
    }
    move_up(++timers_used, thread);
    return true;
}

Thread* first_timer() noexcept { return timers_used == 0 ? nullptr : timers[1]; }

void forget_timers() noexcept { timers_used = 0; }

Nanoseconds now() noexcept
{
    timespec time;
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * second + time.tv_nsec;
}

Nanoseconds after(Nanoseconds duration) noexcept
{
    const Nanoseconds from = now();
    return duration >= never - from ? never : from + (duration < 0 ? 0 : duration);
}

Nanoseconds moment(int clock, const timespec* time) noexcept
{
    timespec there;
    ::clock_gettime(clock, &there);
    const Nanoseconds seconds = time->tv_sec - there.tv_sec;
    if (seconds > never / second / 2) {
        return never;
    }
    return seconds < -1 ? 0 : after(seconds * second + time->tv_nsec - there.tv_nsec);
}

}  // namespace green
