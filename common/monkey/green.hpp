// green.hpp -- what the preloaded library has in place of the kernel's threads.
//
// A green thread is a stack, a block for its thread_locals, and the registers that it had when it
// last stopped running. All green threads take turns on the only kernel thread. They change places
// only in park() and yield(). A thread that must wait chooses the next one, or asks the kernel what
// has happened meanwhile. There is no hub.
//
// With one kernel thread, nothing here takes a lock. But a signal handler may run at any moment. A
// hook that is called by a handler must not touch the lists (see in_handler()).
//
// The library is loaded into programs in C, C++ and other languages, and is called before it has
// been initialised. So it needs nothing of libstdc++, and none of its variables has a constructor.
// It makes system calls itself where libc's functions would come back through the hooks.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

// The library exports only its hooks.
#define PATCH extern "C" __attribute__((visibility("default")))

// What --list prints: a line for each family of hooks.
#define PATCHED(family, functions)                                                 \
    __attribute__((section("patched"), used)) const char* const patched_##family = \
        #family ": " functions

// An exception that passes through the library, for example from a function that pthread_once()
// called, needs libstdc++. A program in C has no exceptions and no libstdc++, so the library must
// not require it.
__asm__(
    ".weak __gxx_personality_v0\n.weak _Unwind_Resume\n"
    ".weak __cxa_begin_catch\n.weak _ZSt9terminatev");  // clang asks for the last two

// Makes the system call with this number. Returns its result, or minus the error's number.
extern "C" long green_system_call(long number, ...) noexcept;

namespace green {

using Nanoseconds = int64_t;
constexpr Nanoseconds never = INT64_MAX;
constexpr Nanoseconds second = 1'000'000'000;

// ---- Threads ------------------------------------------------------------------------------------

// Why a thread resumes.
enum class Woken : uint8_t { by_a_thread, by_the_clock, by_a_signal };

// What ends a wait early: only pthread_cancel(), or also signals, depending on the flags of their
// handlers. signal(7) says which of these holds for which function.
enum class Interruptible : uint8_t { no, if_cancelled, unless_restarted, always };

// Whether a thread has handled a signal since its hook was called, with SA_RESTART or without.
enum class Struck : uint8_t { no, restarting, ending };

using Signals = uint64_t;  // a set of signals, as the kernel has it

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
    bool uncancellable;       // but it has disabled that, or ends already
    bool cancelled_anywhere;  // it has asked for asynchronous cancellation
    Thread* joiner;
    Thread* next_alive;  // in the list of those that have not ended
    Thread* previous_alive;
    void* (*start)(void*);
    void* argument;
    void* result;
    uint32_t id;
};

// The thread that runs. (No thread_local, because those change with the thread.)
extern Thread* current;

// The thread that the program began with.
extern Thread main_thread;

// Whether there is, or ever was, another thread. Until then blocking does no harm.
extern bool threaded;

// Every hook that may be the first to run calls this first.
void begin() noexcept;
extern bool begun;

// The threads that have begun and not ended, and their number.
extern Thread* first_alive;
extern size_t living;

// Stops running until another thread calls wake(), the deadline is over, or a signal was handled.
Woken park(Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

// Makes the thread resume when its turn comes. Does nothing if it does not wait.
void wake(Thread* thread, Woken how = Woken::by_a_thread) noexcept;

// Lets the other threads run.
void yield() noexcept;

// For a thread that has just got what it wanted without waiting. After a number of calls it lets
// the other threads run. Otherwise the thread of a client that sends without a pause would never
// stop.
void take_turns() noexcept;

// Starts a thread. Returns null and sets errno if there is no memory.
Thread* start_thread(void* (*start)(void*), void* argument, size_t stack_size,
                     bool detached) noexcept;

// The thread's memory may be reused or returned to the kernel.
void forget(Thread* thread) noexcept;

// What pthread_getattr_np() says about a thread.
struct StackOf {
    void* lowest;
    size_t size;
    size_t guard;
};
StackOf stack_of(const Thread* thread) noexcept;

Thread* thread_of(unsigned long pthread) noexcept;

Nanoseconds now() noexcept;
// Converts a moment of that clock to one of our clock.
Nanoseconds moment(int clock, const timespec* time) noexcept;
// The moment that long from now.
Nanoseconds after(Nanoseconds duration) noexcept;

// For waits that another process ends, which is no event for us: try, rest, and try again. The
// pauses grow, so that a long wait costs little.
class Patience {
  public:
    // by_the_clock: the deadline is over, not only this pause.
    Woken rest(Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

  private:
    Nanoseconds pause_ = 50'000;
};

// ---- Waiting for each other ---------------------------------------------------------------------

// A place in a list, on the stack of the thread that waits. A list is 16 bytes, and empty if they
// are zero. So it fits into the objects that a program passes to libc, however they were
// initialised.
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
    bool shared = false;            // it wants to read, beside other readers

    Waiter() = default;
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    void enter(List& where) noexcept;
    void leave() noexcept;
};

// Takes the first waiter out and wakes its thread. Returns null if there is none.
Waiter* wake_first(List& list) noexcept;
void wake_all(List& list) noexcept;

// Waits in the list. by_a_thread: wake_first() or wake_all() has taken it out.
Woken wait_in(List& list, Nanoseconds deadline = never, Interruptible = Interruptible::no) noexcept;

// ---- Waiting for descriptors --------------------------------------------------------------------

// What is known of an open descriptor. All of it can be found out again.
struct File {
    List readers;
    List writers;
    uint32_t watched;  // by which epoll descriptor; see files.cpp
    uint32_t use;      // grows when it is closed, because the number is reused
    enum class Kind : uint8_t { unknown, socket, pollable, plain } kind;
    bool knows_flags;
    bool nonblocking;  // the program wants EAGAIN
    bool listens;      // we have made it nonblocking
    Nanoseconds receive_timeout;
    Nanoseconds send_timeout;
};

// Null for a descriptor that is too large for us. Calls with it are passed through.
File* file(int fd) noexcept;
// The descriptor has been closed, or is about to be.
void forget_file(int fd) noexcept;
void forget_files(unsigned first, unsigned last) noexcept;
File::Kind kind_of(int fd) noexcept;
void learn(int fd, File& file) noexcept;
// From now on our epoll reports its events. False: epoll does not accept it.
bool watch(int fd, File& file) noexcept;

// Waits for the descriptor. Returns 0, or EAGAIN when the time is over, or EINTR, or EBADF if it
// has been closed meanwhile.
int wait_readable(int fd, File& file, Nanoseconds deadline) noexcept;
int wait_writable(int fd, File& file, Nanoseconds deadline) noexcept;

// Asks the kernel what has happened, waits until the deadline at most, and wakes the threads that
// can continue.
void ask_kernel(Nanoseconds deadline) noexcept;
// For a handler: if the kernel is about to be asked, it must answer at once.
void hurry() noexcept;
bool have_epoll() noexcept;
void drop_epoll() noexcept;

// ---- Signals ------------------------------------------------------------------------------------

// Whether a signal handler of the program runs. Hooks that it calls are passed through.
bool in_handler() noexcept;
inline bool passes_through() noexcept { return !threaded || in_handler(); }

// After a handler has run: wakes the threads whose wait it ends, and completes its sem_post()
// calls.
void after_signals() noexcept;
extern volatile bool signals_came;

// Every hook that signals may interrupt calls this: earlier signals do not count.
inline void begin_to_wait() noexcept { current->struck = Struck::no; }

// Whether something that ends such a wait has happened to the thread.
bool must_not_wait(const Thread* thread, Interruptible interruptible) noexcept;

// Each thread has a signal mask. The kernel knows only one thread. The kernel's mask contains the
// signals that all threads block.
void begin_masks() noexcept;
void set_mask(Signals blocked) noexcept;  // of the current thread
void mask_begins(Thread* thread) noexcept;
void mask_ends(const Thread* thread) noexcept;
void masks_in_child() noexcept;

// ---- Cancellation -------------------------------------------------------------------------------

// Ends the thread if it has been cancelled. This unwinds the stack. So it must not be called by a
// function that is noexcept or has something to destroy.
void end_if_cancelled();

// A hook that is a cancellation point begins with this.
inline void cancellation_point()
{
    if (__builtin_expect(static_cast<long>(current->cancelled), 0L) != 0) {
        end_if_cancelled();
    }
}

// For sem_post() in a handler.
bool post_later(void* semaphore) noexcept;
void post_now(void* semaphore) noexcept;

// ---- Waiting for a word in memory, as the kernel's futexes do -----------------------------------

Woken wait_at(const void* address, Nanoseconds deadline = never,
              Interruptible = Interruptible::no) noexcept;
int wake_at(const void* address, int at_most) noexcept;

// ---- What begins with a thread ------------------------------------------------------------------

void run_key_destructors() noexcept;

// libc's function of that name.
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

// libc's function behind a hook, found once.
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
