// linger.hpp -- closing a connection so that its last reply arrives.
//
// A socket that is closed with bytes unread, or that gets some later, answers with a reset; and a
// reset may reach the client before it has read what we said, and takes that along. So whoever ends
// a conversation while the client still talks first says that no more will come, then listens until
// the client leaves, too: a lingering close (RFC 9112, section 9.6).
#pragma once

#include "common/base/descriptor.hpp"

namespace ground {

// Closes a connection. If its client has not closed its side and may still send, that takes a
// while: until the client closes, but no longer than 2 s or 16 MiB. A thread of its own listens
// meanwhile, so this never blocks. There are at most 32 of them; beyond that, or if there is no
// thread to be had, what has come until now is read, and nothing more.
void close_lingering(Descriptor socket) noexcept;

// From now on close_lingering() listens by itself: for a process that ends with its conversation.
void linger_without_threads() noexcept;

}  // namespace ground
