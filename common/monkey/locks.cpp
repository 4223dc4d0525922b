// locks.cpp -- the hooks for mutexes, condition variables, semaphores and other locks.
//
// The lists of waiting threads are inside the program's own objects, in fields that libc's
// algorithms need and ours do not. If an object is shared with other processes, or robust, or has a
// priority protocol, libc handles it as before. Another process's unlock does not wake a green
// thread, so such an object is tried again and again.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <time.h>

PATCHED(mutexes,
        "pthread_mutex_lock pthread_mutex_trylock pthread_mutex_timedlock pthread_mutex_clocklock "
        "pthread_mutex_unlock");
PATCHED(conditions,
        "pthread_cond_wait pthread_cond_timedwait pthread_cond_clockwait pthread_cond_signal "
        "pthread_cond_broadcast");
PATCHED(semaphores, "sem_init sem_wait sem_trywait sem_timedwait sem_clockwait sem_post");
PATCHED(rwlocks,
        "pthread_rwlock_rdlock pthread_rwlock_tryrdlock pthread_rwlock_timedrdlock "
        "pthread_rwlock_clockrdlock pthread_rwlock_wrlock pthread_rwlock_trywrlock "
        "pthread_rwlock_timedwrlock pthread_rwlock_clockwrlock pthread_rwlock_unlock");
PATCHED(others, "pthread_barrier_init pthread_barrier_wait pthread_spin_lock flockfile");

using namespace green;

namespace {

// Whether this is a valid time.
bool valid(const timespec* time) noexcept { return time->tv_nsec >= 0 && time->tv_nsec < second; }

// ---- Mutexes ------------------------------------------------------------------------------------

struct Mutex {  // over a pthread_mutex_t
    int locked;
    unsigned count;  // how often the same thread has locked it again
    uint32_t owner;
    unsigned users;
    int kind;
    int spins;
    List waiting;
};
static_assert(sizeof(Mutex) == sizeof(pthread_mutex_t));
static_assert(offsetof(Mutex, kind) == offsetof(pthread_mutex_t, __data.__kind));

Mutex& mutex_of(pthread_mutex_t* mutex) noexcept { return *reinterpret_cast<Mutex*>(mutex); }

// Robust, with a priority protocol, or shared with other processes.
bool is_libcs(const Mutex& mutex) noexcept { return (mutex.kind & 0xF0) != 0; }

int lock(Mutex& mutex, Nanoseconds deadline) noexcept
{
    if (mutex.locked == 0) {
        mutex.locked = 1;
        mutex.owner = current->id;
        return 0;
    }
    if (mutex.owner == current->id) {
        switch (mutex.kind & 3) {
            case PTHREAD_MUTEX_RECURSIVE:
                ++mutex.count;
                return 0;
            case PTHREAD_MUTEX_ERRORCHECK:
                return EDEADLK;
            default:
                break;  // it waits for itself, as with libc
        }
    }
    // The thread that unlocks the mutex hands it over.
    return wait_in(mutex.waiting, deadline) == Woken::by_a_thread ? 0 : ETIMEDOUT;
}

int try_lock(Mutex& mutex) noexcept
{
    const bool again = mutex.owner == current->id && (mutex.kind & 3) == PTHREAD_MUTEX_RECURSIVE;
    return mutex.locked == 0 || again ? lock(mutex, never) : EBUSY;
}

int unlock(Mutex& mutex) noexcept
{
    const int kind = mutex.kind & 3;
    if ((kind == PTHREAD_MUTEX_RECURSIVE || kind == PTHREAD_MUTEX_ERRORCHECK) &&
        (mutex.locked == 0 || mutex.owner != current->id)) {
        return EPERM;
    }
    if (mutex.count != 0) {
        --mutex.count;
        return 0;
    }
    if (const Waiter* const next = wake_first(mutex.waiting)) {
        mutex.owner = next->thread->id;
    } else {
        mutex.owner = 0;
        mutex.locked = 0;
    }
    return 0;
}

// ---- Condition variables ------------------------------------------------------------------------

struct Condition {  // over the beginning of a pthread_cond_t
    List waiting;
};
static_assert(sizeof(Condition) <= offsetof(pthread_cond_t, __data.__wrefs));

Condition& condition_of(pthread_cond_t* condition) noexcept
{
    return *reinterpret_cast<Condition*>(condition);
}

// As pthread_cond_init() has set them: 1 is shared, 2 is CLOCK_MONOTONIC.
unsigned flags_of(const pthread_cond_t* condition) noexcept { return condition->__data.__wrefs; }

bool is_libcs(const pthread_cond_t* condition) noexcept { return (flags_of(condition) & 1U) != 0; }

// ECANCELED: the thread has been cancelled, and has the mutex.
int wait(pthread_cond_t* condition, pthread_mutex_t* mutex, Nanoseconds deadline) noexcept
{
    Mutex& mine = mutex_of(mutex);
    const unsigned count = is_libcs(mine) ? 0 : mine.count;
    if (!is_libcs(mine)) {
        mine.count = 0;
    }
    if (const int error = ::pthread_mutex_unlock(mutex)) {
        if (!is_libcs(mine)) {
            mine.count = count;
        }
        return error;
    }
    Woken how = Woken::by_a_thread;
    if (is_libcs(condition)) {
        // Another process's signal does not reach a thread that does not wait in the kernel. So the
        // wait ends after a while as if the signal had come. POSIX allows that: a program checks
        // its condition, and waits again if it is false.
        constexpr Nanoseconds while_it_may_come = 2'000'000;
        const Nanoseconds end = after(while_it_may_come);
        how = park(end < deadline ? end : deadline, Interruptible::if_cancelled);
        how = how == Woken::by_the_clock && end < deadline ? Woken::by_a_thread : how;
    } else {
        how = wait_in(condition_of(condition).waiting, deadline, Interruptible::if_cancelled);
    }
    const int error = ::pthread_mutex_lock(mutex);
    if (!is_libcs(mine)) {
        mine.count = count;
    }
    return error != 0                   ? error
           : how == Woken::by_a_signal  ? ECANCELED
           : how == Woken::by_the_clock ? ETIMEDOUT
                                        : 0;
}

int unless_cancelled(int error)
{
    if (error == ECANCELED) {
        cancellation_point();
    }
    return error;
}

// ---- Semaphores ---------------------------------------------------------------------------------

struct Semaphore {  // over a sem_t
    unsigned value;
    unsigned waiters;
    int shared;
    int padding;
    List waiting;
};
static_assert(sizeof(Semaphore) == sizeof(sem_t));

Semaphore& semaphore_of(sem_t* semaphore) noexcept
{
    return *reinterpret_cast<Semaphore*>(semaphore);
}

bool take(Semaphore& semaphore) noexcept
{
    if (semaphore.value == 0) {
        return false;
    }
    __atomic_fetch_sub(&semaphore.value, 1, __ATOMIC_SEQ_CST);  // a handler may post
    return true;
}

long wait(Semaphore& semaphore, Nanoseconds deadline) noexcept
{
    if (take(semaphore)) {
        return 0;
    }
    // The thread that posts wakes us instead of adding 1, so there is nothing left to take here.
    const Interruptible by =
        deadline == never ? Interruptible::unless_restarted : Interruptible::always;
    switch (wait_in(semaphore.waiting, deadline, by)) {
        case Woken::by_the_clock:
            return -ETIMEDOUT;
        case Woken::by_a_signal:
            return -EINTR;
        case Woken::by_a_thread:
            break;
    }
    return 0;
}

// ---- Read-write locks ---------------------------------------------------------------------------

struct ReadWrite {  // over a pthread_rwlock_t
    unsigned readers;
    unsigned writer;
    List waiting;
    int owner;
    int shared;
};
static_assert(offsetof(ReadWrite, shared) == offsetof(pthread_rwlock_t, __data.__shared));

ReadWrite& read_write_of(pthread_rwlock_t* lock) noexcept
{
    return *reinterpret_cast<ReadWrite*>(lock);
}

bool is_free(const ReadWrite& lock, bool to_read) noexcept
{
    return lock.writer == 0 && (to_read || lock.readers == 0);
}

void take(ReadWrite& lock, bool to_read) noexcept { ++(to_read ? lock.readers : lock.writer); }

// Hands the lock to the first waiting thread, and to all that can read beside it.
void hand_over(ReadWrite& lock) noexcept
{
    while (Waiter* const first = lock.waiting.first) {
        if (first->thread->waits) {
            if (!is_free(lock, first->shared)) {
                return;
            }
            take(lock, first->shared);
        }
        first->leave();
        wake(first->thread);
    }
}

int lock(ReadWrite& lock, bool to_read, Nanoseconds deadline) noexcept
{
    if (is_free(lock, to_read)) {
        take(lock, to_read);
        return 0;
    }
    if (lock.writer != 0 && lock.owner == static_cast<int>(current->id) + 1) {
        return EDEADLK;
    }
    Waiter me;
    me.shared = to_read;
    me.enter(lock.waiting);
    const Woken how = park(deadline);
    me.leave();
    if (how != Woken::by_a_thread) {
        hand_over(lock);  // to the threads behind it
        return ETIMEDOUT;
    }
    return 0;
}

int note_owner(ReadWrite& lock, int error) noexcept
{
    if (error == 0) {
        lock.owner = static_cast<int>(current->id) + 1;
    }
    return error;
}

}  // namespace

// ---- Locks that libc handles --------------------------------------------------------------------

namespace {

// Tries a lock of libc's until it is not busy.
template <typename Try>
int try_until(Nanoseconds deadline, Try attempt) noexcept
{
    for (Patience patience;;) {
        const int error = attempt();
        if (error != EBUSY) {
            return error;
        }
        if (patience.rest(deadline) == Woken::by_the_clock) {
            return ETIMEDOUT;
        }
    }
}

}  // namespace

PATCH int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept
{
    if (!is_libcs(mutex_of(mutex))) {
        return lock(mutex_of(mutex), never);
    }
    return passes_through()
               ? LIBC(pthread_mutex_lock)(mutex)
               : try_until(never, [mutex] { return LIBC(pthread_mutex_trylock)(mutex); });
}

PATCH int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept
{
    return is_libcs(mutex_of(mutex)) ? LIBC(pthread_mutex_trylock)(mutex)
                                     : try_lock(mutex_of(mutex));
}

PATCH int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                  const timespec* time) noexcept
{
    if (is_libcs(mutex_of(mutex)) && passes_through()) {
        return LIBC(pthread_mutex_clocklock)(mutex, clock, time);
    }
    if (const int error = pthread_mutex_trylock(mutex); error != EBUSY) {
        return error;
    }
    if (!valid(time)) {
        return EINVAL;
    }
    const Nanoseconds deadline = moment(clock, time);
    return is_libcs(mutex_of(mutex))
               ? try_until(deadline, [mutex] { return LIBC(pthread_mutex_trylock)(mutex); })
               : lock(mutex_of(mutex), deadline);
}

PATCH int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* time) noexcept
{
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, time);
}

PATCH int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept
{
    return is_libcs(mutex_of(mutex)) ? LIBC(pthread_mutex_unlock)(mutex) : unlock(mutex_of(mutex));
}

PATCH int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
{
    cancellation_point();
    if ((is_libcs(condition) || is_libcs(mutex_of(mutex))) && passes_through()) {
        return LIBC_VERSION(pthread_cond_wait, "GLIBC_2.3.2")(condition, mutex);
    }
    return unless_cancelled(wait(condition, mutex, never));
}

PATCH int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                 const timespec* time)
{
    cancellation_point();
    if ((is_libcs(condition) || is_libcs(mutex_of(mutex))) && passes_through()) {
        return LIBC(pthread_cond_clockwait)(condition, mutex, clock, time);
    }
    return valid(time) ? unless_cancelled(wait(condition, mutex, moment(clock, time))) : EINVAL;
}

PATCH int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                 const timespec* time)
{
    const clockid_t clock = (flags_of(condition) & 2U) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return pthread_cond_clockwait(condition, mutex, clock, time);
}

PATCH int pthread_cond_signal(pthread_cond_t* condition) noexcept
{
    if (is_libcs(condition)) {
        return LIBC_VERSION(pthread_cond_signal, "GLIBC_2.3.2")(condition);
    }
    wake_first(condition_of(condition).waiting);
    return 0;
}

PATCH int pthread_cond_broadcast(pthread_cond_t* condition) noexcept
{
    if (is_libcs(condition)) {
        return LIBC_VERSION(pthread_cond_broadcast, "GLIBC_2.3.2")(condition);
    }
    wake_all(condition_of(condition).waiting);
    return 0;
}

// libc does not touch the half of it that we use.
PATCH int sem_init(sem_t* semaphore, int shared, unsigned value) noexcept
{
    const int result = LIBC(sem_init)(semaphore, shared, value);
    if (result == 0) {
        semaphore_of(semaphore).waiting = List();
    }
    return result;
}

PATCH int sem_trywait(sem_t* semaphore) noexcept
{
    if (semaphore_of(semaphore).shared != 0) {
        return LIBC(sem_trywait)(semaphore);
    }
    if (!take(semaphore_of(semaphore))) {
        errno = EAGAIN;
        return -1;
    }
    return 0;
}

namespace {

// A semaphore that processes share.
long wait_for_shared(sem_t* semaphore, Nanoseconds deadline) noexcept
{
    for (Patience patience;;) {
        if (LIBC(sem_trywait)(semaphore) == 0) {
            return 0;
        }
        if (errno != EAGAIN) {
            return -errno;
        }
        const Interruptible by =
            deadline == never ? Interruptible::unless_restarted : Interruptible::always;
        switch (patience.rest(deadline, by)) {
            case Woken::by_the_clock:
                return -ETIMEDOUT;
            case Woken::by_a_signal:
                return -EINTR;
            case Woken::by_a_thread:
                break;
        }
    }
}

long wait(sem_t* semaphore, Nanoseconds deadline) noexcept
{
    begin_to_wait();
    return semaphore_of(semaphore).shared != 0 ? wait_for_shared(semaphore, deadline)
                                               : wait(semaphore_of(semaphore), deadline);
}

}  // namespace

PATCH int sem_wait(sem_t* semaphore)
{
    begin();
    cancellation_point();
    if (semaphore_of(semaphore).shared != 0 && passes_through()) {
        return LIBC(sem_wait)(semaphore);
    }
    return static_cast<int>(end_of_wait(wait(semaphore, never)));
}

PATCH int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* time)
{
    begin();
    cancellation_point();
    if (semaphore_of(semaphore).shared != 0 && passes_through()) {
        return LIBC(sem_clockwait)(semaphore, clock, time);
    }
    if (sem_trywait(semaphore) == 0) {
        return 0;
    }
    return static_cast<int>(
        end_of_wait(valid(time) ? wait(semaphore, moment(clock, time)) : -EINVAL));
}

PATCH int sem_timedwait(sem_t* semaphore, const timespec* time)
{
    return sem_clockwait(semaphore, CLOCK_REALTIME, time);
}

PATCH int sem_post(sem_t* pointer) noexcept
{
    Semaphore& semaphore = semaphore_of(pointer);
    if (semaphore.shared != 0) {
        return LIBC(sem_post)(pointer);
    }
    if (in_handler()) {  // the lists may be in any state
        __atomic_fetch_add(&semaphore.value, 1, __ATOMIC_SEQ_CST);
        post_later(pointer);
        return 0;
    }
    if (semaphore.value == INT32_MAX) {
        errno = EOVERFLOW;
        return -1;
    }
    __atomic_fetch_add(&semaphore.value, 1, __ATOMIC_SEQ_CST);
    post_now(pointer);
    return 0;
}

void green::post_now(void* pointer) noexcept
{
    Semaphore& semaphore = *static_cast<Semaphore*>(pointer);
    while (semaphore.value != 0 && wake_first(semaphore.waiting) != nullptr) {
        take(semaphore);
    }
}

// ---- Read-write locks: as libc's usual kind, readers do not wait for writers that wait ----------

namespace {

bool is_libcs(const ReadWrite& lock) noexcept { return lock.shared != 0; }

int try_read(pthread_rwlock_t* pointer) noexcept { return ::pthread_rwlock_tryrdlock(pointer); }
int try_write(pthread_rwlock_t* pointer) noexcept { return ::pthread_rwlock_trywrlock(pointer); }

int lock_until(pthread_rwlock_t* pointer, bool to_read, clockid_t clock,
               const timespec* time) noexcept
{
    if (!valid(time)) {
        return EINVAL;
    }
    ReadWrite& mine = read_write_of(pointer);
    const Nanoseconds deadline = moment(clock, time);
    if (is_libcs(mine)) {
        return try_until(deadline,
                         [=] { return to_read ? try_read(pointer) : try_write(pointer); });
    }
    const int error = lock(mine, to_read, deadline);
    return to_read ? error : note_owner(mine, error);
}

}  // namespace

PATCH int pthread_rwlock_rdlock(pthread_rwlock_t* pointer) noexcept
{
    if (!is_libcs(read_write_of(pointer))) {
        return lock(read_write_of(pointer), true, never);
    }
    return passes_through() ? LIBC(pthread_rwlock_rdlock)(pointer)
                            : try_until(never, [=] { return try_read(pointer); });
}

PATCH int pthread_rwlock_tryrdlock(pthread_rwlock_t* pointer) noexcept
{
    if (is_libcs(read_write_of(pointer))) {
        return LIBC(pthread_rwlock_tryrdlock)(pointer);
    }
    return is_free(read_write_of(pointer), true) ? lock(read_write_of(pointer), true, never)
                                                 : EBUSY;
}

PATCH int pthread_rwlock_clockrdlock(pthread_rwlock_t* pointer, clockid_t clock,
                                     const timespec* time) noexcept
{
    return is_libcs(read_write_of(pointer)) && passes_through()
               ? LIBC(pthread_rwlock_clockrdlock)(pointer, clock, time)
               : lock_until(pointer, true, clock, time);
}

PATCH int pthread_rwlock_timedrdlock(pthread_rwlock_t* pointer, const timespec* time) noexcept
{
    return pthread_rwlock_clockrdlock(pointer, CLOCK_REALTIME, time);
}

PATCH int pthread_rwlock_wrlock(pthread_rwlock_t* pointer) noexcept
{
    if (!is_libcs(read_write_of(pointer))) {
        return note_owner(read_write_of(pointer), lock(read_write_of(pointer), false, never));
    }
    return passes_through() ? LIBC(pthread_rwlock_wrlock)(pointer)
                            : try_until(never, [=] { return try_write(pointer); });
}

PATCH int pthread_rwlock_trywrlock(pthread_rwlock_t* pointer) noexcept
{
    if (is_libcs(read_write_of(pointer))) {
        return LIBC(pthread_rwlock_trywrlock)(pointer);
    }
    return is_free(read_write_of(pointer), false) ? pthread_rwlock_wrlock(pointer) : EBUSY;
}

PATCH int pthread_rwlock_clockwrlock(pthread_rwlock_t* pointer, clockid_t clock,
                                     const timespec* time) noexcept
{
    return is_libcs(read_write_of(pointer)) && passes_through()
               ? LIBC(pthread_rwlock_clockwrlock)(pointer, clock, time)
               : lock_until(pointer, false, clock, time);
}

PATCH int pthread_rwlock_timedwrlock(pthread_rwlock_t* pointer, const timespec* time) noexcept
{
    return pthread_rwlock_clockwrlock(pointer, CLOCK_REALTIME, time);
}

PATCH int pthread_rwlock_unlock(pthread_rwlock_t* pointer) noexcept
{
    ReadWrite& mine = read_write_of(pointer);
    if (is_libcs(mine)) {
        return LIBC(pthread_rwlock_unlock)(pointer);
    }
    --(mine.writer != 0 ? mine.writer : mine.readers);
    mine.owner = 0;
    hand_over(mine);
    return 0;
}

// ---- Barriers, spin locks, the locks of stdio's files -------------------------------------------

namespace {

struct Barrier {  // over a pthread_barrier_t
    unsigned here;
    unsigned round;
    unsigned count;
    int shared;
    List waiting;
};
static_assert(sizeof(Barrier) == sizeof(pthread_barrier_t));

}  // namespace

PATCH int pthread_barrier_init(pthread_barrier_t* barrier, const pthread_barrierattr_t* attributes,
                               unsigned count) noexcept
{
    const int error = LIBC(pthread_barrier_init)(barrier, attributes, count);
    if (error == 0) {
        reinterpret_cast<Barrier*>(barrier)->waiting = List();
    }
    return error;
}

PATCH int pthread_barrier_wait(pthread_barrier_t* pointer) noexcept
{
    Barrier& barrier = *reinterpret_cast<Barrier*>(pointer);
    if (barrier.shared != 0) {
        return LIBC(pthread_barrier_wait)(pointer);
    }
    if (++barrier.here < barrier.count) {
        wait_in(barrier.waiting);
        return 0;
    }
    barrier.here = 0;
    wake_all(barrier.waiting);
    return PTHREAD_BARRIER_SERIAL_THREAD;
}

PATCH int pthread_spin_lock(pthread_spinlock_t* lock) noexcept
{
    while (::pthread_spin_trylock(lock) != 0) {
        yield();
    }
    return 0;
}

PATCH void flockfile(FILE* file) noexcept
{
    while (::ftrylockfile(file) != 0) {
        yield();
    }
}
