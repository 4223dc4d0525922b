// green.hpp -- what the preloaded library has in place of the kernel's threads.
//
// A green thread is a stack, a block for its thread_locals, and the registers that it had when it
// last stopped running. All of them take turns on the one kernel thread that there is. They change
// places in park() only: a thread that has to wait chooses the next one, or asks the kernel what
// has happened meanwhile. There is no hub beside them.
//
// One kernel thread, so nothing here takes a lock. But a signal's handler may come at any moment:
// a hook that is called by one must not touch the lists (see in_handler()).
//
// The library is loaded into programs in C, C++ and other languages, and is called before it has
// been initialised. So it needs nothing of libstdc++, has no constructors, and makes system calls
// of its own where libc's functions would come back through the hooks.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

// The library shows the world its hooks, and nothing else.
#define PATCH extern "C" __attribute__((visibility("default")))

// What --list prints: a line for each family of hooks.
#define PATCHED(family, functions)                                                 \
    __attribute__((section("patched"), used)) const char* const patched_##family = \
        #family ": " functions

// An exception that comes by (out of what pthread_once() has called, say) finds its way by
// libstdc++. In a program in C there is none, and no exception either: so the library must not
// insist on it.
__asm__(
    ".weak __gxx_personality_v0\n.weak _Unwind_Resume\n"
    ".weak __cxa_begin_catch\n.weak _ZSt9terminatev");  // clang asks for the last two

// The system call with this number: what it returns, or minus the error's number.
extern "C" long green_system_call(long number, ...) noexcept;

namespace green {

using Nanoseconds = int64_t;
constexpr Nanoseconds never = INT64_MAX;
constexpr Nanoseconds second = 1'000'000'000;

// ---- Threads ------------------------------------------------------------------------------------

// Why a thread goes on.
enum class Woken : uint8_t { by_somebody, by_the_clock, by_a_signal };

// What ends a wait early: pthread_cancel() only, or signals as well, by their handlers' flags, as
// signal(7) has it for each function.
enum class Interruptible : uint8_t { no, if_cancelled, unless_restarted, always };

// Which signal a thread has had to handle since its hook was called: with SA_RESTART or without.
enum class Struck : uint8_t { no, restarting, ending };

using Signals = uint64_t;  // a set of them, as the kernel has it

struct Thread {
    void* stack_pointer;  // while it does not run
    void* block;          // its thread control block: what %fs points to, and its pthread_t
    Thread* next;         // in the queue of those that are ready, or of those that are spare
    size_t stack_size;

    Nanoseconds deadline;  // while it waits
    size_t timer;          // its place among the timers, 0 if it has none
    Interruptible interruptible;
    Woken woken;
    bool waits;

    Signals blocked;  // its signal mask
    Signals pending;  // sent to this thread while it blocks them
    Struck struck;    // set by handlers

    bool detached;
    bool ended;
    bool cancelled;           // pthread_cancel() was called
    bool uncancellable;       // but it does not want to know, or ends already
    bool cancelled_anywhere;  // it has asked for asynchronous cancellation
    Thread* joiner;
    Thread* next_alive;  // in the list of those that have not ended
    Thread* previous_alive;
    void* (*start)(void*);
    void* argument;
    void* result;
    uint32_t id;
};

// The one that runs. (Not a thread_local: those are exactly what changes.)
extern Thread* current;

// The one that the program began with.
extern Thread main_thread;

// Whether there is, or ever was, another one. As long as there is not, blocking does no harm.
extern bool threaded;

// To be called first by every hook that may be the first.
void begin() noexcept;
extern bool begun;

// Those that have begun and not ended, and how many they are.
extern Thread* first_alive;
extern size_t living;

// Stops running until another thread calls wake(), the clock says so, or a signal has been handled.
Woken park(Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

// It will go on when its turn comes. Nothing if it does not wait.
void wake(Thread* thread, Woken how = Woken::by_somebody) noexcept;

// Lets the others run.
void yield() noexcept;

// For a thread that has just got what it wanted without waiting: after a number of times it lets
// the others run. Else a client that sends without a pause would have its thread run without a
// pause.
void take_turns() noexcept;

// Starts a thread; null and errno if there is no memory.
Thread* start_thread(void* (*start)(void*), void* argument, size_t stack_size,
                     bool detached) noexcept;

// Its memory may be used for another one, or given back.
void forget(Thread* thread) noexcept;

// What pthread_getattr_np() tells of it.
struct StackOf {
    void* lowest;
    size_t size;
    size_t guard;
};
StackOf stack_of(const Thread* thread) noexcept;

Thread* thread_of(unsigned long pthread) noexcept;

Nanoseconds now() noexcept;
// The moment on our clock that is this one of a clock of theirs.
Nanoseconds moment(int clock, const timespec* time) noexcept;
// The moment so long from now.
Nanoseconds after(Nanoseconds duration) noexcept;

// For what no thread here can be woken for, because another process brings it about: try it, rest,
// and try again. The pauses grow, so that a long wait costs little.
class Patience {
  public:
    // by_the_clock: the deadline is over, and not only this pause.
    Woken rest(Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

  private:
    Nanoseconds pause_ = 50'000;
};

// ---- Waiting for each other ---------------------------------------------------------------------

// A place in a list, on the stack of the thread that waits. The list is 16 bytes, and empty if they
// are zero: it fits into the objects that a program gives to libc, whatever it initialised them
// with.
struct Waiter;
struct List {
    Waiter* first;
    Waiter* last;
};
struct Waiter {
    Thread* thread = current;
    List* list = nullptr;  // null when it has been taken out
    Waiter* next = nullptr;
    Waiter* previous = nullptr;
    const void* address = nullptr;  // for wait_at()
    uint32_t use = 0;               // of the descriptor that it waits for
    bool shared = false;            // it wants to read what others may read, too

    Waiter() = default;
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    void enter(List& where) noexcept;
    void leave() noexcept;
};

// Takes the first one out and wakes it; null if there is none.
Waiter* wake_first(List& list) noexcept;
void wake_all(List& list) noexcept;

// Waits in the list. by_somebody: it has been taken out by wake_first() or wake_all().
Woken wait_in(List& list, Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

// ---- Waiting for descriptors --------------------------------------------------------------------

// What is known of an open descriptor. Never more than can be found out anew.
struct File {
    List readers;
    List writers;
    uint32_t watched;  // by which epoll descriptor; see files.cpp
    uint32_t use;      // grows when it is closed: the number is soon that of another file
    enum class Kind : uint8_t { unknown, socket, pollable, plain } kind;
    bool knows_flags;
    bool nonblocking;  // the program wants EAGAIN
    bool listens;      // nonblocking by our doing
    Nanoseconds receive_timeout;
    Nanoseconds send_timeout;
};

// Null for a descriptor that is too large for us: it is passed through.
File* file(int fd) noexcept;
// It has been closed, or is about to be.
void forget_file(int fd) noexcept;
void forget_files(unsigned first, unsigned last) noexcept;
File::Kind kind_of(int fd) noexcept;
void learn(int fd, File& file) noexcept;
// From now on our epoll tells of it. False: epoll does not take it.
bool watch(int fd, File& file) noexcept;

// Waits for the descriptor. Returns 0, or EAGAIN when the time is over, or EINTR, or EBADF if it
// has been closed meanwhile.
int wait_readable(int fd, File& file, Nanoseconds deadline) noexcept;
int wait_writable(int fd, File& file, Nanoseconds deadline) noexcept;

// Asks the kernel what has happened, for so long at most, and wakes the threads that it concerns.
void ask_kernel(Nanoseconds deadline) noexcept;
// For a handler: if the kernel is about to be asked, it shall answer at once.
void hurry() noexcept;
bool have_epoll() noexcept;
void drop_epoll() noexcept;

// ---- Signals ------------------------------------------------------------------------------------

// Whether a handler of the program runs: hooks that it calls are passed through.
bool in_handler() noexcept;
inline bool passes_through() noexcept { return !threaded || in_handler(); }

// After a handler has run: wakes whose wait ends by it, and does what sem_post() was asked for.
void after_signals() noexcept;
extern volatile bool signals_came;

// To be called by every hook that signals may interrupt: those that came before do not count.
inline void begin_to_wait() noexcept { current->struck = Struck::no; }

// Whether something has happened to the thread that ends such a wait.
bool must_not_wait(const Thread* thread, Interruptible interruptible) noexcept;

// Each thread has a signal mask. The kernel knows one, for it knows one thread: what all of them
// block.
void begin_masks() noexcept;
void set_mask(Signals blocked) noexcept;  // of the current thread
void mask_begins(Thread* thread) noexcept;
void mask_ends(const Thread* thread) noexcept;
void masks_in_child() noexcept;

// ---- Cancellation -------------------------------------------------------------------------------

// Ends the thread if it has been cancelled. It unwinds, so no function that is noexcept, or has
// something to destroy, may call it.
void end_if_cancelled();

// For the head of a hook that is a cancellation point.
inline void cancellation_point()
{
    if (__builtin_expect(static_cast<long>(current->cancelled), 0L) != 0) {
        end_if_cancelled();
    }
}

// For what a handler may do to a semaphore.
bool post_later(void* semaphore) noexcept;
void post_now(void* semaphore) noexcept;

// ---- Waiting for a word in memory, as the kernel's futexes do -----------------------------------

Woken wait_at(const void* address, Nanoseconds deadline = never,
              Interruptible = Interruptible::no) noexcept;
int wake_at(const void* address, int at_most) noexcept;

// ---- What begins with a thread ------------------------------------------------------------------

void run_key_destructors() noexcept;

// libc's own function of that name.
void* real(const char* name, const char* version = nullptr) noexcept;

// For a hook that returns like a system call: sets errno.
inline long with_errno(long result) noexcept
{
    if (result < 0 && result > -4096) {
        errno = static_cast<int>(-result);
        return -1;
    }
    return result;
}

// The same for a cancellation point, whose wait a cancellation ends.
inline long end_of_wait(long result)
{
    if (result == -EINTR) {
        cancellation_point();
    }
    return with_errno(result);
}

inline bool is_error(long result) noexcept { return result < 0 && result > -4096; }

// libc's own of a hook, found once.
#define LIBC_VERSION(name, version)                                                      \
    ([]() noexcept {                                                                     \
        static decltype(&::name) function;                                               \
        if (function == nullptr) {                                                       \
            function = reinterpret_cast<decltype(&::name)>(green::real(#name, version)); \
        }                                                                                \
        return function;                                                                 \
    }())
#define LIBC(name) LIBC_VERSION(name, nullptr)

}  // namespace green
