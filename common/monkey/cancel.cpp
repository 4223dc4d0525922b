// cancel.cpp -- pthread_cancel(): the thread ends at the next point at which it waits, or would.
//
// libc's own way interrupts the kernel thread, so this file does it in another way. Only the
// unwinding of the stack is libc's. libc's own functions are not interrupted.

#include "common/monkey/green.hpp"

#include <pthread.h>

PATCHED(cancellation,
        "pthread_cancel pthread_setcancelstate pthread_setcanceltype pthread_testcancel");

using namespace green;

void green::end_if_cancelled()
{
    if (current->cancelled && !current->uncancellable && !in_handler()) {
        ::pthread_exit(PTHREAD_CANCELED);
    }
}

PATCH int pthread_cancel(pthread_t pthread)
{
    begin();
    Thread* const thread = thread_of(pthread);
    if (thread->ended) {
        return 0;
    }
    thread->cancelled = true;
    if (thread == current) {
        if (thread->cancelled_anywhere) {
            end_if_cancelled();
        }
    } else if (thread->waits && must_not_wait(thread, thread->interruptible)) {
        wake(thread, Woken::by_a_signal);
    }
    return 0;
}

PATCH int pthread_setcancelstate(int state, int* old)
{
    begin();
    if (old != nullptr) {
        *old = current->uncancellable ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
    }
    if (state != PTHREAD_CANCEL_DISABLE && state != PTHREAD_CANCEL_ENABLE) {
        return EINVAL;
    }
    current->uncancellable = state == PTHREAD_CANCEL_DISABLE;
    if (current->cancelled_anywhere) {
        cancellation_point();
    }
    return 0;
}

PATCH int pthread_setcanceltype(int type, int* old)
{
    begin();
    if (old != nullptr) {
        *old = current->cancelled_anywhere ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    }
    if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS) {
        return EINVAL;
    }
    current->cancelled_anywhere = type == PTHREAD_CANCEL_ASYNCHRONOUS;
    if (current->cancelled_anywhere) {
        cancellation_point();
    }
    return 0;
}

PATCH void pthread_testcancel() { cancellation_point(); }
