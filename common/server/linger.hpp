// linger.hpp -- closing a connection so that its last reply arrives.
//
// If bytes are unread when a socket is closed, or if some arrive later, the kernel sends a reset.
// If the reset reaches the client before the client has read our last reply, the reply is lost. So
// a server that ends a conversation while the client still sends does two things. It ends its
// sending side, and then reads until the client closes. This is a lingering close (RFC 9112,
// section 9.6).
#pragma once

#include "common/base/descriptor.hpp"

namespace ground {

// Closes a connection. While its client may still send, the connection stays until the client
// closes, but no longer than 2 s or 16 MiB. A thread of its own reads meanwhile, so this never
// blocks. There are at most 32 such threads. If there can be no other thread, only the bytes that
// have come until now are read.
void close_lingering(Descriptor socket) noexcept;

// From now on close_lingering() reads on the calling thread and blocks. For a process that ends
// with its conversation.
void linger_without_threads() noexcept;

}  // namespace ground
