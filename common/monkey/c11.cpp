// c11.cpp -- C's own threads (threads.h) on POSIX's, because libc's would bypass the hooks.

#include "common/monkey/green.hpp"

#include <pthread.h>
#include <sched.h>
#include <threads.h>

PATCHED(
    c11,
    "thrd_create thrd_join thrd_detach thrd_exit thrd_yield thrd_sleep mtx_lock mtx_trylock "
    "mtx_timedlock mtx_unlock cnd_wait cnd_timedwait cnd_signal cnd_broadcast call_once tss_create "
    "tss_delete");

using namespace green;

namespace {

int as_c11(int error) noexcept
{
    switch (error) {
        case 0:
            return thrd_success;
        case EBUSY:
            return thrd_busy;
        case ETIMEDOUT:
            return thrd_timedout;
        case ENOMEM:
        case EAGAIN:
            return thrd_nomem;
        default:
            return thrd_error;
    }
}

pthread_mutex_t* posix(mtx_t* mutex) noexcept { return reinterpret_cast<pthread_mutex_t*>(mutex); }
pthread_cond_t* posix(cnd_t* condition) noexcept
{
    return reinterpret_cast<pthread_cond_t*>(condition);
}

}  // namespace

PATCH int thrd_create(thrd_t* thread, thrd_start_t start, void* argument)
{
    // An int is returned in the same register as a pointer.
    return as_c11(::pthread_create(
        thread, nullptr, reinterpret_cast<void* (*)(void*)>(reinterpret_cast<void*>(start)),
        argument));
}

PATCH int thrd_join(thrd_t thread, int* result)
{
    void* value = nullptr;
    const int error = ::pthread_join(thread, &value);
    if (error == 0 && result != nullptr) {
        *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
    }
    return as_c11(error);
}

PATCH int thrd_detach(thrd_t thread) { return as_c11(::pthread_detach(thread)); }

PATCH void thrd_exit(int result)
{
    ::pthread_exit(reinterpret_cast<void*>(static_cast<intptr_t>(result)));
}

PATCH void thrd_yield() { ::sched_yield(); }

PATCH int thrd_sleep(const timespec* time, timespec* left)
{
    const int error = ::clock_nanosleep(CLOCK_REALTIME, 0, time, left);
    return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

PATCH int mtx_lock(mtx_t* mutex) { return as_c11(::pthread_mutex_lock(posix(mutex))); }
PATCH int mtx_trylock(mtx_t* mutex) { return as_c11(::pthread_mutex_trylock(posix(mutex))); }
PATCH int mtx_unlock(mtx_t* mutex) { return as_c11(::pthread_mutex_unlock(posix(mutex))); }
PATCH int mtx_timedlock(mtx_t* __restrict mutex, const timespec* __restrict time)
{
    return as_c11(::pthread_mutex_timedlock(posix(mutex), time));
}

PATCH int cnd_wait(cnd_t* condition, mtx_t* mutex)
{
    return as_c11(::pthread_cond_wait(posix(condition), posix(mutex)));
}
PATCH int cnd_timedwait(cnd_t* __restrict condition, mtx_t* __restrict mutex,
                        const timespec* __restrict time)
{
    return as_c11(::pthread_cond_timedwait(posix(condition), posix(mutex), time));
}
PATCH int cnd_signal(cnd_t* condition) { return as_c11(::pthread_cond_signal(posix(condition))); }
PATCH int cnd_broadcast(cnd_t* condition)
{
    return as_c11(::pthread_cond_broadcast(posix(condition)));
}

PATCH void call_once(once_flag* flag, void (*function)())
{
    ::pthread_once(reinterpret_cast<pthread_once_t*>(flag), function);
}

PATCH int tss_create(tss_t* key, tss_dtor_t destructor)
{
    return as_c11(::pthread_key_create(key, destructor));
}
PATCH void tss_delete(tss_t key) { ::pthread_key_delete(key); }
