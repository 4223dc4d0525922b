// socketpair.hpp -- socketpair(2) as Python's socket module has it: two connected sockets.
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/socket.h>

#include <utility>

namespace ground {

// What is sent to one of them is received from the other. Throws std::system_error.
[[nodiscard]] inline std::pair<Descriptor, Descriptor> socketpair()
{
    int ends[2];
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace ground
