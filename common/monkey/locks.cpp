// locks.cpp -- the hooks of what threads wait for each other with.
//
// The lists of those who wait stand inside the program's own objects, where libc has what its
// algorithms need and these do not. An object that is shared with other processes is libc's as
// before: waiting for it blocks everybody.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <linux/futex.h>

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
PATCHED(others, "pthread_barrier_init pthread_barrier_wait pthread_spin_lock flockfile syscall");

using namespace green;

// libc's own of a hook, found once.
#define LIBC(name, version)                                                       \
    ([]() noexcept {                                                              \
        static decltype(&::name) function;                                        \
        if (function == nullptr) {                                                \
            function = reinterpret_cast<decltype(&::name)>(real(#name, version)); \
        }                                                                         \
        return function;                                                          \
    }())

namespace {

// The moment, or one that is over if it is none at all.
bool valid(const timespec* time) noexcept { return time->tv_nsec >= 0 && time->tv_nsec < second; }

// ---- Mutexes
// -----------------------------------------------------------------------------------------

struct Mutex {  // over a pthread_mutex_t
    int locked;
    unsigned count;  // how many times more, by the same thread
    uint32_t owner;
    unsigned users;
    int kind;
    int spins;
    List waiting;
};
static_assert(sizeof(Mutex) == sizeof(pthread_mutex_t));
static_assert(offsetof(Mutex, kind) == offsetof(pthread_mutex_t, __data.__kind));

Mutex& mutex_of(pthread_mutex_t* mutex) noexcept { return *reinterpret_cast<Mutex*>(mutex); }

// Robust, with a protocol about priorities, or shared with other processes.
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
                break;  // waits for itself, as it would
        }
    }
    // Whoever unlocks hands the mutex over.
    return wait_in(mutex.waiting, deadline) == Woken::by_somebody ? 0 : ETIMEDOUT;
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

// ---- Condition variables
// -------------------------------------------------------------------------------

struct Condition {  // over a pthread_cond_t
    List waiting;
    unsigned groups[5];
    unsigned flags;  // as pthread_cond_init() has set them: 1 shared, 2 by CLOCK_MONOTONIC
    unsigned signals[2];
};
static_assert(sizeof(Condition) == sizeof(pthread_cond_t));
static_assert(offsetof(Condition, flags) == offsetof(pthread_cond_t, __data.__wrefs));

Condition& condition_of(pthread_cond_t* condition) noexcept
{
    return *reinterpret_cast<Condition*>(condition);
}

bool is_libcs(const Condition& condition) noexcept { return (condition.flags & 1U) != 0; }

int wait(Condition& condition, Mutex& mutex, Nanoseconds deadline) noexcept
{
    const unsigned count = mutex.count;
    mutex.count = 0;
    if (const int error = unlock(mutex)) {
        mutex.count = count;
        return error;
    }
    const Woken how = wait_in(condition.waiting, deadline);
    lock(mutex, never);
    mutex.count = count;
    return how == Woken::by_the_clock ? ETIMEDOUT : 0;
}

// ---- Semaphores
// ------------------------------------------------------------------------------------------

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

int wait(Semaphore& semaphore, Nanoseconds deadline) noexcept
{
    if (take(semaphore)) {
        return 0;
    }
    // Whoever posts hands over what he would have added.
    const Interruptible by =
        deadline == never ? Interruptible::unless_restarted : Interruptible::always;
    switch (wait_in(semaphore.waiting, deadline, by)) {
        case Woken::by_the_clock:
            errno = ETIMEDOUT;
            return -1;
        case Woken::by_a_signal:
            errno = EINTR;
            return -1;
        case Woken::by_somebody:
            break;
    }
    return 0;
}

// ---- Read-write locks
// ----------------------------------------------------------------------------------------

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

// Hands it to the first who waits, and to all who read beside him.
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
    if (how != Woken::by_somebody) {
        hand_over(lock);  // to those who stood behind
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

PATCH int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept
{
    return is_libcs(mutex_of(mutex)) ? LIBC(pthread_mutex_lock, nullptr)(mutex)
                                     : lock(mutex_of(mutex), never);
}

PATCH int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept
{
    return is_libcs(mutex_of(mutex)) ? LIBC(pthread_mutex_trylock, nullptr)(mutex)
                                     : try_lock(mutex_of(mutex));
}

PATCH int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                  const timespec* time) noexcept
{
    if (is_libcs(mutex_of(mutex))) {
        return LIBC(pthread_mutex_clocklock, nullptr)(mutex, clock, time);
    }
    if (try_lock(mutex_of(mutex)) == 0) {
        return 0;
    }
    return valid(time) ? lock(mutex_of(mutex), moment(clock, time)) : EINVAL;
}

PATCH int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* time) noexcept
{
    return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, time);
}

PATCH int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept
{
    return is_libcs(mutex_of(mutex)) ? LIBC(pthread_mutex_unlock, nullptr)(mutex)
                                     : unlock(mutex_of(mutex));
}

PATCH int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)
{
    if (is_libcs(condition_of(condition)) || is_libcs(mutex_of(mutex))) {
        return LIBC(pthread_cond_wait, "GLIBC_2.3.2")(condition, mutex);
    }
    return wait(condition_of(condition), mutex_of(mutex), never);
}

PATCH int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                                 const timespec* time)
{
    if (is_libcs(condition_of(condition)) || is_libcs(mutex_of(mutex))) {
        return LIBC(pthread_cond_clockwait, nullptr)(condition, mutex, clock, time);
    }
    return valid(time) ? wait(condition_of(condition), mutex_of(mutex), moment(clock, time))
                       : EINVAL;
}

PATCH int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                 const timespec* time)
{
    if (is_libcs(condition_of(condition)) || is_libcs(mutex_of(mutex))) {
        return LIBC(pthread_cond_timedwait, "GLIBC_2.3.2")(condition, mutex, time);
    }
    const clockid_t clock =
        (condition_of(condition).flags & 2U) != 0 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
    return pthread_cond_clockwait(condition, mutex, clock, time);
}

PATCH int pthread_cond_signal(pthread_cond_t* condition) noexcept
{
    if (is_libcs(condition_of(condition))) {
        return LIBC(pthread_cond_signal, "GLIBC_2.3.2")(condition);
    }
    wake_first(condition_of(condition).waiting);
    return 0;
}

PATCH int pthread_cond_broadcast(pthread_cond_t* condition) noexcept
{
    if (is_libcs(condition_of(condition))) {
        return LIBC(pthread_cond_broadcast, "GLIBC_2.3.2")(condition);
    }
    wake_all(condition_of(condition).waiting);
    return 0;
}

// libc leaves alone the half of it that we use.
PATCH int sem_init(sem_t* semaphore, int shared, unsigned value) noexcept
{
    const int result = LIBC(sem_init, nullptr)(semaphore, shared, value);
    if (result == 0) {
        semaphore_of(semaphore).waiting = List();
    }
    return result;
}

PATCH int sem_wait(sem_t* semaphore)
{
    begin();
    return semaphore_of(semaphore).shared != 0 ? LIBC(sem_wait, nullptr)(semaphore)
                                               : wait(semaphore_of(semaphore), never);
}

PATCH int sem_trywait(sem_t* semaphore) noexcept
{
    if (semaphore_of(semaphore).shared != 0) {
        return LIBC(sem_trywait, nullptr)(semaphore);
    }
    if (!take(semaphore_of(semaphore))) {
        errno = EAGAIN;
        return -1;
    }
    return 0;
}

PATCH int sem_clockwait(sem_t* semaphore, clockid_t clock, const timespec* time)
{
    begin();
    if (semaphore_of(semaphore).shared != 0) {
        return LIBC(sem_clockwait, nullptr)(semaphore, clock, time);
    }
    if (take(semaphore_of(semaphore))) {
        return 0;
    }
    if (!valid(time)) {
        errno = EINVAL;
        return -1;
    }
    return wait(semaphore_of(semaphore), moment(clock, time));
}

PATCH int sem_timedwait(sem_t* semaphore, const timespec* time)
{
    return sem_clockwait(semaphore, CLOCK_REALTIME, time);
}

PATCH int sem_post(sem_t* pointer) noexcept
{
    Semaphore& semaphore = semaphore_of(pointer);
    if (semaphore.shared != 0) {
        return LIBC(sem_post, nullptr)(pointer);
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

// ---- Read-write locks: as libc's usual kind, readers do not wait for writers that wait
// ------------------

#define RWLOCK_OR_LIBC(name, ...)                                       \
    if (read_write_of(pointer).shared != 0) {                           \
        return LIBC(name, nullptr)(pointer __VA_OPT__(, ) __VA_ARGS__); \
    }

PATCH int pthread_rwlock_rdlock(pthread_rwlock_t* pointer) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_rdlock)
    return lock(read_write_of(pointer), true, never);
}

PATCH int pthread_rwlock_tryrdlock(pthread_rwlock_t* pointer) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_tryrdlock)
    return is_free(read_write_of(pointer), true) ? lock(read_write_of(pointer), true, never)
                                                 : EBUSY;
}

PATCH int pthread_rwlock_clockrdlock(pthread_rwlock_t* pointer, clockid_t clock,
                                     const timespec* time) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_clockrdlock, clock, time)
    return valid(time) ? lock(read_write_of(pointer), true, moment(clock, time)) : EINVAL;
}

PATCH int pthread_rwlock_timedrdlock(pthread_rwlock_t* pointer, const timespec* time) noexcept
{
    return pthread_rwlock_clockrdlock(pointer, CLOCK_REALTIME, time);
}

PATCH int pthread_rwlock_wrlock(pthread_rwlock_t* pointer) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_wrlock)
    return note_owner(read_write_of(pointer), lock(read_write_of(pointer), false, never));
}

PATCH int pthread_rwlock_trywrlock(pthread_rwlock_t* pointer) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_trywrlock)
    return is_free(read_write_of(pointer), false) ? pthread_rwlock_wrlock(pointer) : EBUSY;
}

PATCH int pthread_rwlock_clockwrlock(pthread_rwlock_t* pointer, clockid_t clock,
                                     const timespec* time) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_clockwrlock, clock, time)
    ReadWrite& mine = read_write_of(pointer);
    return valid(time) ? note_owner(mine, lock(mine, false, moment(clock, time))) : EINVAL;
}

PATCH int pthread_rwlock_timedwrlock(pthread_rwlock_t* pointer, const timespec* time) noexcept
{
    return pthread_rwlock_clockwrlock(pointer, CLOCK_REALTIME, time);
}

PATCH int pthread_rwlock_unlock(pthread_rwlock_t* pointer) noexcept
{
    RWLOCK_OR_LIBC(pthread_rwlock_unlock)
    ReadWrite& mine = read_write_of(pointer);
    --(mine.writer != 0 ? mine.writer : mine.readers);
    mine.owner = 0;
    hand_over(mine);
    return 0;
}

// ---- Barriers, spin locks, the locks of stdio's files
// ---------------------------------------------------

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
    const int error = LIBC(pthread_barrier_init, nullptr)(barrier, attributes, count);
    if (error == 0) {
        reinterpret_cast<Barrier*>(barrier)->waiting = List();
    }
    return error;
}

PATCH int pthread_barrier_wait(pthread_barrier_t* pointer) noexcept
{
    Barrier& barrier = *reinterpret_cast<Barrier*>(pointer);
    if (barrier.shared != 0) {
        return LIBC(pthread_barrier_wait, nullptr)(pointer);
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

// ---- Futexes: std::atomic::wait(), std::counting_semaphore, and what waits for a static variable
// ---------

namespace {

long futex(int* address, int operation, int value, const timespec* time, long fifth, long sixth)
{
    const int what = operation & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
    switch (what) {
        case FUTEX_WAIT:
        case FUTEX_WAIT_BITSET: {
            if (__atomic_load_n(address, __ATOMIC_SEQ_CST) != value) {
                return -EAGAIN;
            }
            Nanoseconds deadline = never;
            if (time != nullptr) {  // of FUTEX_WAIT a duration, else a moment
                const bool of_day = (operation & FUTEX_CLOCK_REALTIME) != 0;
                deadline = what == FUTEX_WAIT
                               ? after(time->tv_sec * second + time->tv_nsec)
                               : moment(of_day ? CLOCK_REALTIME : CLOCK_MONOTONIC, time);
            }
            const Interruptible by =
                time == nullptr ? Interruptible::unless_restarted : Interruptible::always;
            switch (wait_at(address, deadline, by)) {
                case Woken::by_the_clock:
                    return -ETIMEDOUT;
                case Woken::by_a_signal:
                    return -EINTR;
                case Woken::by_somebody:
                    break;
            }
            return 0;
        }
        case FUTEX_WAKE:
        case FUTEX_WAKE_BITSET: {
            const int woken = wake_at(address, value);
            if ((operation & FUTEX_PRIVATE_FLAG) != 0 || woken == value) {
                return woken;
            }
            // Somebody in another process may wait as well.
            const long others =
                green_system_call(SYS_futex, address, operation, value - woken, time, fifth, sixth);
            return others < 0 ? others : others + woken;
        }
        default:
            return green_system_call(SYS_futex, address, operation, value, time, fifth, sixth);
    }
}

}  // namespace

PATCH long syscall(long number, ...) noexcept
{
    va_list list;
    va_start(list, number);
    long words[6];
    for (long& word : words) {
        word = va_arg(list, long);  // as libc does it: those that were not given do not matter
    }
    va_end(list);
    if (number == SYS_futex && threaded && !in_handler()) {
        return with_errno(futex(reinterpret_cast<int*>(words[0]), static_cast<int>(words[1]),
                                static_cast<int>(words[2]), reinterpret_cast<timespec*>(words[3]),
                                words[4], words[5]));
    }
    return with_errno(
        green_system_call(number, words[0], words[1], words[2], words[3], words[4], words[5]));
}
