// children.hpp -- what a server with a process for each client must do besides fork(2).
//
// For programs without threads: a child has only the thread that forked. A lock that another thread
// held at that moment would stay locked. Not for the processes of a pool, which have a forker of
// their own.
#pragma once

#include <sys/types.h>

namespace ground {

// From now on a child that ends is reaped at once. If it has crashed, a line says so ("Lost a
// client: process 4711 was ended by signal 11 (Segmentation fault)"). Call it once, before the
// first fork_child().
void reap_children();

// What a child is for. A child that serves a single client ends with it. So it may block to let the
// last reply arrive (see linger.hpp). A child that serves many clients must not block.
enum class ChildServes { one_client, many_clients };

// As fork(2): returns twice, with 0 in the child and the child's number in the parent. Returns
// once, with -1, if there can be no new process. The child is killed when its parent ends in any
// way.
[[nodiscard]] pid_t fork_child(ChildServes clients = ChildServes::one_client);

// Ends a child at once, without the rest of main() and the destructors of static objects, because
// those belong to the parent. The kernel closes the child's descriptors.
[[noreturn]] void leave_child() noexcept;

// Kills all children and waits until they are gone. For a server that ends on a signal: it may be
// called in a signal handler.
void end_children() noexcept;

}  // namespace ground
