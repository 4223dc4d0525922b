// prefork.hpp -- a server of several processes, each of which serves its own clients.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/server/options.hpp"

#include <vector>

namespace ground {

// Forks a child for each of these sockets. Returns in each child, with the child's own socket, and
// closes the others there. Does not return in the parent, which closes all of them. The parent
// passes SIGINT and SIGTERM on to the children, as SIGTERM. It waits until the last child has
// ended, and ends with 0.
//
// If a child ends before it was told to, a line says so ("Lost a loop: process 4711 was ended by
// signal 9 (Killed)"), and the others continue. If no child is left, the parent ends with 1. The
// children end when their parent ends in any way.
//
// Call it before there are threads.
[[nodiscard]] std::vector<Descriptor> prefork(const Options& options,
                                              std::vector<Descriptor> sockets);

}  // namespace ground
