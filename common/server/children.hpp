// children.hpp -- what fork(2) leaves to do for a server that starts a process for each client.
//
// For programs without threads: a child is a copy of the thread that forks, and of nobody else who
// may just then have held a lock. Not for the processes of a pool, which have a forker of their
// own.
#pragma once

#include <sys/types.h>

namespace ground {

// From now on a child that ends is reaped at once, and one that has crashed is told of in a line
// ("Lost a client: process 4711 was ended by signal 11 (Segmentation fault)"). Call it once, before
// the first fork_child().
void reap_children();

// What a child is for. One that serves a single client ends with it, so it may block to let the
// last reply arrive (see linger.hpp); one that serves many must not.
enum class ChildServes { one_client, many_clients };

// As fork(2): returns twice, with 0 in the child and the child's number in the parent; or once,
// with -1, if there is no process to be had. The child is killed when its parent ends, however it
// ends.
[[nodiscard]] pid_t fork_child(ChildServes clients = ChildServes::one_client);

// How a child ends: at once, without what main() and static objects would still do, for that is
// their parent's. Its descriptors are closed by the kernel.
[[noreturn]] void leave_child() noexcept;

// Kills all children and waits until they are gone. By a server that ends on a signal: may be
// called in a signal handler.
void end_children() noexcept;

}  // namespace ground
