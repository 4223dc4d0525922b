// scheduler.cpp -- green threads, whose turn it is, and the clock.

#include "common/monkey/blocks.hpp"
#include "common/monkey/green.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

extern "C" {
void green_switch(void** save, void* load) noexcept;
void green_first() noexcept;
void green_main();
void __pthread_register_cancel(__pthread_unwind_buf_t* end);
void __call_tls_dtors() __attribute__((weak));
extern char** environ;
}

namespace green {

Thread main_thread;
Thread* current = &main_thread;
bool threaded = false;
bool begun = false;

namespace {

constexpr size_t page = 4096;
constexpr unsigned turns = 16;  // things done without waiting, until the others run
constexpr unsigned before_ask =
    64;  // switches, until the kernel is asked although somebody is ready

Thread* first_ready;
Thread* last_ready;
Thread* spare;
unsigned switches;
unsigned taken;
size_t living = 1;
uint32_t last_id;

// ---- The queue of those that are ready
// -------------------------------------------------------------

void make_ready(Thread* thread) noexcept
{
    thread->next = nullptr;
    (first_ready == nullptr ? first_ready : last_ready->next) = thread;
    last_ready = thread;
}

Thread* take_ready() noexcept
{
    Thread* const thread = first_ready;
    first_ready = thread->next;
    return thread;
}

// ---- The timers: a heap, the next one at place 1
// ----------------------------------------------------

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
        const size_t room = timers_room == 0 ? page / sizeof(Thread*) : 2 * timers_room;
        const long bigger =
            timers_room == 0
                ? green_system_call(SYS_mmap, nullptr, room * sizeof(Thread*),
                                    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L)
                : green_system_call(SYS_mremap, timers, timers_room * sizeof(Thread*),
                                    room * sizeof(Thread*), MREMAP_MAYMOVE, nullptr);
        if (bigger < 0 && bigger > -4096) {
            return false;
        }
        timers = reinterpret_cast<Thread**>(bigger);
        timers_room = room;
    }
    move_up(++timers_used, thread);
    return true;
}

void wake_by_the_clock() noexcept
{
    if (timers_used == 0) {
        return;
    }
    const Nanoseconds time = now();
    while (timers_used != 0 && timers[1]->deadline <= time) {
        wake(timers[1], Woken::by_the_clock);
    }
}

// ---- Changing places
// ---------------------------------------------------------------------------------

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

// Whoever calls this is ready itself, waits, or has ended.
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
        ask_kernel(timers_used == 0 ? never : timers[1]->deadline);
    }
    switch_to(take_ready());
}

// ---- Who waits for a word in memory, by its address ----------------------------------------

List waiting_at[256];

List& list_at(const void* address) noexcept
{
    return waiting_at[(reinterpret_cast<uintptr_t>(address) >> 2) * 0x9E3779B97F4A7C15U >> 56];
}

// ---- Beginning
// ---------------------------------------------------------------------------------------

[[noreturn]] void refuse(const char* why) noexcept
{
    green_system_call(SYS_write, 2, why, strlen(why));
    green_system_call(SYS_exit_group, 1);
    __builtin_unreachable();
}

// The programs that this one starts are no business of ours.
void leave_environment() noexcept
{
    constexpr char name[] = "LD_PRELOAD=";
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
        if (strncmp(*variable, name, sizeof name - 1) != 0) {
            continue;
        }
        // The launcher has put the library before whatever was there.
        char* const value = *variable + sizeof name - 1;
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

// After a fork() there is only the thread that called it.
void in_child() noexcept
{
    first_ready = nullptr;
    timers_used = 0;
    current->timer = 0;
    living = 1;
    threaded = false;
    for (List& list : waiting_at) {
        list = List();
    }
    drop_epoll();
}

__attribute__((constructor)) void constructed() { begin(); }

}  // namespace

void begin() noexcept
{
    if (begun) {
        return;
    }
    begun = true;
    if (!know_blocks()) {
        refuse(
            "06c_monkey_patch: this libc keeps its threads in a way that is not known here; "
            "glibc 2.34 to 2.36 are\n");
    }
    main_thread.block = block_in_use();
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

// ---- The clock
// -----------------------------------------------------------------------------------------

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

// ---- Waiting and waking
// ----------------------------------------------------------------------------------

Woken park(Nanoseconds deadline, Interruptible interruptible) noexcept
{
    Thread* const me = current;
    me->waits = true;
    me->interruptible = interruptible;
    me->woken = Woken::by_the_clock;
    me->deadline = deadline;
    if (deadline != never && !add_timer(me)) {
        make_ready(me);  // no memory for a timer: it is woken too early, as happens to who waits
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
        if (waiter->thread->waits) {  // else the clock, say, was faster, and it has not run since
            wake(waiter->thread);
            return waiter;
        }
    }
    return nullptr;
}

Woken wait_at(const void* address, Nanoseconds deadline, Interruptible interruptible) noexcept
{
    Waiter me;
    me.address = address;
    me.enter(list_at(address));
    const Woken how = park(deadline, interruptible);
    me.leave();
    return how;
}

int wake_at(const void* address, int at_most) noexcept
{
    int woken = 0;
    for (Waiter* waiter = list_at(address).first; waiter != nullptr && woken < at_most;) {
        Waiter* const next = waiter->next;
        if (waiter->address == address && waiter->thread->waits) {
            waiter->leave();
            wake(waiter->thread);
            ++woken;
        }
        waiter = next;
    }
    return woken;
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

// ---- A thread's life
// -------------------------------------------------------------------------------------

// From low to high addresses: a page that must not be touched, the stack, the block, the Thread.
Thread* start_thread(void* (*start)(void*), void* argument, size_t stack_size,
                     bool detached) noexcept
{
    if (!have_epoll()) {  // later, in a wait, nobody could be told
        errno = EAGAIN;
        return nullptr;
    }
    const size_t above = block_size() + sizeof(Thread);
    stack_size = (stack_size + above + 2 * page - 1) & -page;
    Thread* thread = nullptr;
    for (Thread** link = &spare; *link != nullptr; link = &(*link)->next) {
        if ((*link)->stack_size >= stack_size) {
            thread = *link;
            *link = thread->next;
            break;
        }
    }
    const bool used = thread != nullptr;
    char* lowest = nullptr;
    if (used) {
        lowest = reinterpret_cast<char*>(thread + 1) - thread->stack_size;
        stack_size = thread->stack_size;
    } else {
        const long memory =
            green_system_call(SYS_mmap, nullptr, stack_size, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0L);
        if (memory < 0 && memory > -4096) {
            errno = EAGAIN;
            return nullptr;
        }
        lowest = reinterpret_cast<char*>(memory);
        if (green_system_call(SYS_mprotect, lowest + page, stack_size - page,
                              PROT_READ | PROT_WRITE) != 0) {
            green_system_call(SYS_munmap, lowest, stack_size);
            errno = EAGAIN;
            return nullptr;
        }
        thread = reinterpret_cast<Thread*>(lowest + stack_size) - 1;
    }
    char* const block = reinterpret_cast<char*>(thread) - block_size() + block_offset();
    if (!make_block(block, used)) {
        green_system_call(SYS_munmap, lowest, stack_size);
        errno = EAGAIN;
        return nullptr;
    }
    *thread = Thread();
    thread->block = block;
    thread->stack_size = stack_size;
    thread->start = start;
    thread->argument = argument;
    thread->detached = detached;
    thread->id = ++last_id;

    // As green_switch() leaves a stack: control words, six registers, and where to return to.
    auto* top = reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(thread) - block_size());
    top = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & -uintptr_t{64});
    top -= 2;  // a call finds the stack aligned to 16 bytes
    *--top = reinterpret_cast<uint64_t>(green_first);
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    uint32_t control[2] = {};
    __asm__("stmxcsr %0\n\tfnstcw %1" : "=m"(control[0]), "=m"(control[1]));
    memcpy(--top, control, sizeof control);
    thread->stack_pointer = top;

    if (!threaded) {
        threaded = true;
        __libc_single_threaded = 0;  // else libstdc++ counts without atomics and never waits
        // One kernel thread needs one heap; each green one would be given another.
        ::mallopt(M_ARENA_MAX, 1);
    }
    ++living;
    make_ready(thread);
    return thread;
}

void forget(Thread* thread) noexcept
{
    if (thread != &main_thread) {
        thread->next = spare;
        spare = thread;
    }
}

}  // namespace green

using namespace green;

// The whole life of a thread: called once, on its own stack.
extern "C" __attribute__((visibility("hidden"))) void green_main()
{
    Thread* const me = current;
    begin_block();
    __pthread_unwind_buf_t end;
    // As pthread_cleanup_push() does it in C: this is where pthread_exit() unwinds to.
    if (__sigsetjmp_cancel(end.__cancel_jmp_buf, 0) == 0) {
        __pthread_register_cancel(&end);
        me->result = me->start(me->argument);
    }
    // By here also comes who has called pthread_exit(): its stack has been unwound.
    if (__call_tls_dtors != nullptr) {
        __call_tls_dtors();
    }
    run_key_destructors();
    me->ended = true;
    --living;
    if (me->joiner != nullptr) {
        wake(me->joiner);
    }
    if (living == 0) {  // the first thread has ended before, or is not in this child of a fork()
        ::exit(0);
    }
    if (me->detached) {
        forget(me);  // its stack is used until somebody else runs, and nobody does before that
    }
    run_next();
    __builtin_unreachable();
}

PATCH void pthread_exit(void* result)
{
    begin();
    if (current == &main_thread) {
        run_key_destructors();
        main_thread.ended = true;
        main_thread.result = result;
        if (main_thread.joiner != nullptr) {
            wake(main_thread.joiner);
        }
        if (--living == 0) {
            ::exit(0);
        }
        for (;;) {
            park();
        }
    }
    current->result = result;
    // It unwinds to green_main().
    reinterpret_cast<void (*)(void*)>(real("pthread_exit"))(result);
    __builtin_unreachable();
}

// The linker's: where the section begins and ends that PATCHED fills.
extern "C" __attribute__((visibility("hidden"))) const char* const __start_patched[];
extern "C" __attribute__((visibility("hidden"))) const char* const __stop_patched[];

// For --list: the line of a family, null after the last.
PATCH const char* green_patched(size_t number) noexcept
{
    return number < static_cast<size_t>(__stop_patched - __start_patched) ? __start_patched[number]
                                                                          : nullptr;
}
