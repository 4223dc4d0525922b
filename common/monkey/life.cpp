// life.cpp -- how a green thread begins and ends, and what happens to its memory.

#include "common/monkey/blocks.hpp"
#include "common/monkey/green.hpp"
#include "common/monkey/turns.hpp"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>

PATCHED(ends, "pthread_exit");

extern "C" {
void green_first() noexcept;
void green_main();
void __pthread_register_cancel(__pthread_unwind_buf_t* end);
void __call_tls_dtors() __attribute__((weak));
}

namespace green {

namespace {

constexpr size_t page = 4096;

// The memory of this many ended threads is kept, because new threads begin faster with it. Memory
// beyond that is returned to the kernel.
constexpr size_t most_spare = 32;
Thread* spare;
size_t spares;
uint32_t last_id;

char* lowest_of(const Thread* thread) noexcept
{
    return reinterpret_cast<char*>(const_cast<Thread*>(thread) + 1) - thread->stack_size;
}

Thread* take_spare(size_t stack_size) noexcept
{
    for (Thread** link = &spare; *link != nullptr; link = &(*link)->next) {
        if (Thread* const thread = *link; thread->stack_size >= stack_size) {
            *link = thread->next;
            --spares;
            return thread;
        }
    }
    return nullptr;
}

// Zeroed, except the size. Null if there is no memory.
Thread* map_thread(size_t stack_size) noexcept
{
    const long memory =
        green_system_call(SYS_mmap, nullptr, stack_size, PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0L);
    if (is_error(memory)) {
        return nullptr;
    }
    if (green_system_call(SYS_mprotect, memory + static_cast<long>(page), stack_size - page,
                          PROT_READ | PROT_WRITE) != 0) {
        green_system_call(SYS_munmap, memory, stack_size);
        return nullptr;
    }
    // A huge page would be 2 MiB for a thread that touches three pages of 4 KiB.
    green_system_call(SYS_madvise, memory, stack_size, static_cast<long>(MADV_NOHUGEPAGE));
    auto* const thread = reinterpret_cast<Thread*>(memory + static_cast<long>(stack_size)) - 1;
    thread->stack_size = stack_size;
    return thread;
}

void join_living(Thread* thread) noexcept
{
    thread->next_alive = first_alive;
    if (first_alive != nullptr) {
        first_alive->previous_alive = thread;
    }
    first_alive = thread;
    ++living;
    mask_begins(thread);
}

void leave_living(Thread* thread) noexcept
{
    thread->ended = true;
    if (thread->next_alive != nullptr) {
        thread->next_alive->previous_alive = thread->previous_alive;
    }
    (thread->previous_alive == nullptr ? first_alive : thread->previous_alive->next_alive) =
        thread->next_alive;
    --living;
    mask_ends(thread);
    if (thread->joiner != nullptr) {
        wake(thread->joiner);
    }
    if (living == 0) {  // the first thread has ended before, or is not in this child of a fork()
        ::exit(0);
    }
}

}  // namespace

// From low to high addresses: a page that must not be touched, the stack, the block, the Thread.
Thread* start_thread(void* (*start)(void*), void* argument, size_t stack_size,
                     bool detached) noexcept
{
    if (!have_epoll()) {  // later, in a wait, this error could not be reported
        errno = EAGAIN;
        return nullptr;
    }
    const size_t above = block_size() + sizeof(Thread);
    stack_size = (stack_size + above + 2 * page - 1) & -page;
    Thread* thread = take_spare(stack_size);
    const bool used = thread != nullptr;
    if (!used) {
        thread = map_thread(stack_size);
    }
    char* const block = reinterpret_cast<char*>(thread) - block_size() + block_offset();
    if (thread == nullptr || !make_block(block, used)) {
        if (thread != nullptr) {
            green_system_call(SYS_munmap, lowest_of(thread), thread->stack_size);
        }
        errno = EAGAIN;
        return nullptr;
    }
    stack_size = thread->stack_size;
    *thread = Thread();
    thread->block = block;
    thread->stack_size = stack_size;
    thread->start = start;
    thread->argument = argument;
    thread->detached = detached;
    thread->id = ++last_id;

    // As green_switch() leaves a stack: control words, six registers, and the return address.
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
        // One kernel thread needs one heap. Otherwise each green thread would get another.
        ::mallopt(M_ARENA_MAX, 1);
    }
    join_living(thread);
    make_ready(thread);
    return thread;
}

void forget(Thread* thread) noexcept
{
    if (thread == &main_thread) {
        return;
    }
    thread->next = spare;
    spare = thread;
    // This thread may be running, on that very stack. So the memory of another one is released.
    if (++spares > most_spare) {
        Thread* const old = thread->next;
        thread->next = old->next;
        --spares;
        give_back_block(old->block);
        green_system_call(SYS_munmap, lowest_of(old), old->stack_size);
    }
}

StackOf stack_of(const Thread* thread) noexcept
{
    char* const lowest = lowest_of(thread);
    return {lowest + page, thread->stack_size - page - block_size() - sizeof(Thread), page};
}

}  // namespace green

using namespace green;

// The whole life of a thread: called once, on its own stack.
extern "C" __attribute__((visibility("hidden"))) void green_main()
{
    Thread* const me = current;
    begin_block();
    __pthread_unwind_buf_t end;
    // As pthread_cleanup_push() does in C: pthread_exit() unwinds to here.
    if (__sigsetjmp_cancel(end.__cancel_jmp_buf, 0) == 0) {
        __pthread_register_cancel(&end);
        me->result = me->start(me->argument);
    }
    // pthread_exit() also comes here, with its stack unwound.
    me->uncancellable = true;
    if (__call_tls_dtors != nullptr) {
        __call_tls_dtors();
    }
    run_key_destructors();
    leave_living(me);
    if (me->detached) {
        forget(me);  // its stack is used until run_next(), and no thread begins before that
    }
    run_next();
    __builtin_unreachable();
}

PATCH void pthread_exit(void* result)
{
    begin();
    current->uncancellable = true;
    current->result = result;
    if (current == &main_thread) {
        run_key_destructors();
        leave_living(current);
        for (;;) {
            park();
        }
    }
    // It unwinds to green_main().
    LIBC(pthread_exit)(result);
    __builtin_unreachable();
}
