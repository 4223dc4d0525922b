// scheduler.cpp -- green threads, and which one runs next.

#include "common/monkey/blocks.hpp"
#include "common/monkey/green.hpp"
#include "common/monkey/turns.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern "C" void green_switch(void** save, void* load) noexcept;

namespace green {

Thread main_thread;
Thread* current = &main_thread;
Thread* first_alive = &main_thread;
size_t living = 1;
bool threaded = false;
bool begun = false;

namespace {

constexpr unsigned turns = 16;  // calls without waiting, until the others run
// After this many switches the kernel is asked, even if threads are ready.
constexpr unsigned before_ask = 64;

Thread* first_ready;
Thread* last_ready;
unsigned switches;
unsigned taken;

Thread* take_ready() noexcept
{
    Thread* const thread = first_ready;
    first_ready = thread->next;
    return thread;
}

void wake_by_the_clock() noexcept
{
    if (first_timer() == nullptr) {
        return;
    }
    const Nanoseconds time = now();
    for (Thread* thread; (thread = first_timer()) != nullptr && thread->deadline <= time;) {
        wake(thread, Woken::by_the_clock);
    }
}

// ---- Changing places ----------------------------------------------------------------------------

void switch_to(Thread* next) noexcept
{
    Thread* const before = current;
    if (next == before) {
        return;
    }
    current = next;
    ++switches;
    use_block(next->block);
    green_switch(&before->stack_pointer, next->stack_pointer);
}

// ---- Beginning ----------------------------------------------------------------------------------

[[noreturn]] void refuse(const char* why) noexcept
{
    green_system_call(SYS_write, 2, why, strlen(why));
    green_system_call(SYS_exit_group, 1);
    __builtin_unreachable();
}

// The programs that this one starts are not patched.
void leave_environment() noexcept
{
    constexpr char name[] = "LD_PRELOAD=";
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
        if (strncmp(*variable, name, sizeof name - 1) != 0) {
            continue;
        }
        // The launcher has put the library before what was there.
        char* const value = *variable + sizeof name - 1;
        constexpr char by_number[] = "/proc/self/fd/";
        if (strncmp(value, by_number, sizeof by_number - 1) == 0) {  // see the launcher
            green_system_call(SYS_close, strtol(value + sizeof by_number - 1, nullptr, 10));
        }
        char* const others = strchr(value, ':');
        if (others != nullptr) {
            memmove(value, others + 1, strlen(others));
        } else {
            do {
                variable[0] = variable[1];
            } while (*variable++ != nullptr);
        }
        return;
    }
}

// After a fork() there is only the thread that called it. The others are still in lists, some of
// them inside mutexes. They are marked as not waiting, so no list wakes them.
void in_child() noexcept
{
    first_ready = nullptr;
    forget_timers();
    for (Thread* thread = first_alive; thread != nullptr; thread = thread->next_alive) {
        thread->timer = 0;
        thread->waits = false;
        thread->ended = thread != current;
    }
    first_alive = current;
    current->next_alive = current->previous_alive = nullptr;
    living = 1;
    threaded = false;
    masks_in_child();
    drop_epoll();
}

__attribute__((constructor)) void constructed() { begin(); }

}  // namespace

void make_ready(Thread* thread) noexcept
{
    thread->next = nullptr;
    (first_ready == nullptr ? first_ready : last_ready->next) = thread;
    last_ready = thread;
}

void run_next() noexcept
{
    if (switches >= before_ask && first_ready != nullptr) {
        ask_kernel(0);
        switches = 0;
    }
    for (;;) {
        if (signals_came) {
            after_signals();
        }
        wake_by_the_clock();
        if (first_ready != nullptr) {
            break;
        }
        switches = 0;
        ask_kernel(first_timer() == nullptr ? never : first_timer()->deadline);
    }
    switch_to(take_ready());
}

void begin() noexcept
{
    if (begun) {
        return;
    }
    begun = true;
    if (!know_blocks()) {
        refuse(
            "06c_monkey_patch: this libc keeps its threads in a way that is not known here; "
            "glibc 2.34 to 2.41 are\n");
    }
    main_thread.block = block_in_use();
    begin_masks();
    leave_environment();
    ::pthread_atfork(nullptr, nullptr, in_child);
}

void* real(const char* name, const char* version) noexcept
{
    return version == nullptr ? ::dlsym(RTLD_NEXT, name) : ::dlvsym(RTLD_NEXT, name, version);
}

Thread* thread_of(unsigned long pthread) noexcept
{
    if (pthread == reinterpret_cast<uintptr_t>(main_thread.block)) {
        return &main_thread;
    }
    // It stands above its block.
    return reinterpret_cast<Thread*>(pthread - block_offset() + block_size());
}

// ---- Waiting and waking -------------------------------------------------------------------------

Woken park(Nanoseconds deadline, Interruptible interruptible) noexcept
{
    Thread* const me = current;
    if (must_not_wait(me, interruptible)) {
        return Woken::by_a_signal;
    }
    me->waits = true;
    me->interruptible = interruptible;
    me->woken = Woken::by_the_clock;
    me->deadline = deadline;
    if (deadline != never && !add_timer(me)) {
        make_ready(me);  // no memory for a timer: it wakes too early, which is always allowed
        me->waits = false;
    }
    taken = 0;
    run_next();
    return me->woken;
}

void wake(Thread* thread, Woken how) noexcept
{
    if (!thread->waits) {
        return;
    }
    thread->waits = false;
    thread->woken = how;
    if (thread->timer != 0) {
        remove_timer(thread);
    }
    make_ready(thread);
}

void yield() noexcept
{
    if (!threaded || in_handler()) {
        return;
    }
    taken = 0;
    ask_kernel(0);
    if (signals_came) {
        after_signals();
    }
    wake_by_the_clock();
    if (first_ready != nullptr) {
        make_ready(current);
        switch_to(take_ready());
    }
}

void take_turns() noexcept
{
    if (++taken >= turns) {
        yield();
    }
}

Woken Patience::rest(Nanoseconds deadline, Interruptible interruptible) noexcept
{
    constexpr Nanoseconds longest = 10'000'000;
    const Nanoseconds end = after(pause_);
    pause_ = pause_ < longest ? 2 * pause_ : longest;
    const Woken how = park(end < deadline ? end : deadline, interruptible);
    return how == Woken::by_the_clock && end < deadline ? Woken::by_a_thread : how;
}

void Waiter::enter(List& where) noexcept
{
    list = &where;
    next = nullptr;
    previous = where.last;
    (where.last == nullptr ? where.first : where.last->next) = this;
    where.last = this;
}

void Waiter::leave() noexcept
{
    if (list == nullptr) {
        return;
    }
    (previous == nullptr ? list->first : previous->next) = next;
    (next == nullptr ? list->last : next->previous) = previous;
    list = nullptr;
}

Waiter* wake_first(List& list) noexcept
{
    while (Waiter* const waiter = list.first) {
        waiter->leave();
        if (waiter->thread->waits) {  // otherwise the clock, for example, has woken it
            wake(waiter->thread);
            return waiter;
        }
    }
    return nullptr;
}

void wake_all(List& list) noexcept
{
    while (wake_first(list) != nullptr) {
    }
}

Woken wait_in(List& list, Nanoseconds deadline, Interruptible interruptible) noexcept
{
    Waiter me;
    me.enter(list);
    const Woken how = park(deadline, interruptible);
    me.leave();
    return how;
}

}  // namespace green

// From the linker: where the section that PATCHED fills begins and ends.
extern "C" __attribute__((visibility("hidden"))) const char* const __start_patched[];
extern "C" __attribute__((visibility("hidden"))) const char* const __stop_patched[];

// For --list: the line of a family, or null after the last one.
PATCH const char* green_patched(size_t number) noexcept
{
    return number < static_cast<size_t>(__stop_patched - __start_patched) ? __start_patched[number]
                                                                          : nullptr;
}
