// threads.cpp -- the hooks that begin and end threads, and for what a thread owns.

#include "common/monkey/green.hpp"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

PATCHED(threads,
        "pthread_create pthread_join pthread_tryjoin_np pthread_timedjoin_np pthread_clockjoin_np "
        "pthread_detach pthread_once pthread_key_create pthread_key_delete sched_yield "
        "pthread_getattr_np");

using namespace green;

namespace {

// As large as with kernel threads, because programs rely on that, for example CPython's recursion
// limit. It is only reserved: a thread touches a few pages of it.
size_t stack_size_of(const pthread_attr_t* attributes) noexcept
{
    size_t size = 0;
    if (attributes != nullptr) {
        ::pthread_attr_getstacksize(attributes, &size);
        return size;
    }
    pthread_attr_t usual;
    ::pthread_attr_init(&usual);
    ::pthread_attr_getstacksize(&usual, &size);
    ::pthread_attr_destroy(&usual);
    return size;
}

// ECANCELED: this thread has been cancelled.
int join(pthread_t pthread, void** result, Nanoseconds deadline) noexcept
{
    begin();
    Thread* const thread = thread_of(pthread);
    if (thread == current) {
        return EDEADLK;
    }
    if (thread->detached || thread->joiner != nullptr) {
        return EINVAL;
    }
    thread->joiner = current;
    while (!thread->ended) {
        const Woken how = park(deadline, Interruptible::if_cancelled);
        if (how != Woken::by_a_thread && !thread->ended) {
            thread->joiner = nullptr;
            return how == Woken::by_the_clock ? ETIMEDOUT : ECANCELED;
        }
    }
    if (result != nullptr) {
        *result = thread->result;
    }
    forget(thread);
    return 0;
}

// ---- pthread_key_t: libc keeps the values, in the block; it would also call the destructors -----

void (*destructors[PTHREAD_KEYS_MAX])(void*);
pthread_key_t highest_key;

}  // namespace

void green::run_key_destructors() noexcept
{
    // A destructor may set values again. So this makes several rounds, as many as libc.
    bool again = true;
    for (int round = 0; round < PTHREAD_DESTRUCTOR_ITERATIONS && again; ++round) {
        again = false;
        for (pthread_key_t key = 0; key <= highest_key; ++key) {
            void* const value = destructors[key] == nullptr ? nullptr : ::pthread_getspecific(key);
            if (value != nullptr) {
                again = true;
                ::pthread_setspecific(key, nullptr);
                destructors[key](value);
            }
        }
    }
}

PATCH int pthread_create(pthread_t* result, const pthread_attr_t* attributes, void* (*start)(void*),
                         void* argument) noexcept
{
    begin();
    int detached = PTHREAD_CREATE_JOINABLE;
    if (attributes != nullptr) {
        ::pthread_attr_getdetachstate(attributes, &detached);
    }
    const Thread* const thread = start_thread(start, argument, stack_size_of(attributes),
                                              detached == PTHREAD_CREATE_DETACHED);
    if (thread == nullptr) {
        return EAGAIN;
    }
    *result = reinterpret_cast<pthread_t>(thread->block);
    return 0;
}

namespace {

int join_unless_cancelled(pthread_t pthread, void** result, Nanoseconds deadline)
{
    begin();
    cancellation_point();
    const int error = join(pthread, result, deadline);
    if (error == ECANCELED) {
        cancellation_point();
    }
    return error;
}

}  // namespace

PATCH int pthread_join(pthread_t thread, void** result)
{
    return join_unless_cancelled(thread, result, never);
}

PATCH int pthread_tryjoin_np(pthread_t thread, void** result) noexcept
{
    return thread_of(thread)->ended ? join(thread, result, never) : EBUSY;
}

PATCH int pthread_timedjoin_np(pthread_t thread, void** result, const timespec* time)
{
    return join_unless_cancelled(thread, result, moment(CLOCK_REALTIME, time));
}

PATCH int pthread_clockjoin_np(pthread_t thread, void** result, clockid_t clock,
                               const timespec* time)
{
    return join_unless_cancelled(thread, result, moment(clock, time));
}

PATCH int pthread_detach(pthread_t pthread) noexcept
{
    begin();
    Thread* const thread = thread_of(pthread);
    if (thread->detached) {
        return EINVAL;
    }
    thread->detached = true;
    if (thread->ended) {
        forget(thread);
    }
    return 0;
}

PATCH int sched_yield() noexcept
{
    if (!threaded) {
        return static_cast<int>(with_errno(green_system_call(SYS_sched_yield)));
    }
    yield();
    return 0;
}

PATCH int pthread_key_create(pthread_key_t* key, void (*destructor)(void*)) noexcept
{
    const int error = LIBC(pthread_key_create)(key, destructor);
    if (error == 0) {
        destructors[*key] = destructor;
        highest_key = *key > highest_key ? *key : highest_key;
    }
    return error;
}

PATCH int pthread_key_delete(pthread_key_t key) noexcept
{
    const int error = LIBC(pthread_key_delete)(key);
    if (error == 0) {
        destructors[key] = nullptr;
    }
    return error;
}

// libc would look into the block, but what libc would have put there is missing.
PATCH int pthread_getattr_np(pthread_t pthread, pthread_attr_t* attributes) noexcept
{
    begin();
    const Thread* const thread = thread_of(pthread);
    if (thread == &main_thread) {
        return LIBC(pthread_getattr_np)(pthread, attributes);
    }
    const StackOf stack = stack_of(thread);
    const int error = ::pthread_attr_init(attributes);
    if (error != 0) {
        return error;
    }
    ::pthread_attr_setstack(attributes, stack.lowest, stack.size);
    ::pthread_attr_setguardsize(attributes, stack.guard);
    ::pthread_attr_setdetachstate(
        attributes, thread->detached ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
    return 0;
}

// ---- once ---------------------------------------------------------------------------------------

namespace {

enum Once { not_yet = 0, under_way = 1, done = 2 };  // 0 and 2 are libc's as well

// If the function throws, it counts as not called: the next thread may try.
struct Attempt {
    pthread_once_t* control;
    pthread_once_t outcome = not_yet;
    ~Attempt()
    {
        *control = outcome;
        wake_at(control, INT32_MAX);
    }
};

}  // namespace

PATCH int pthread_once(pthread_once_t* control, void (*function)())
{
    while (*control == under_way) {
        wait_at(control);
    }
    if (*control == not_yet) {
        *control = under_way;
        Attempt attempt{control};
        function();
        attempt.outcome = done;
    }
    return 0;
}
