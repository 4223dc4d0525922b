// family.hpp -- a server of several processes, each of which serves on its own.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/server/options.hpp"

#include <vector>

namespace ground {

// Forks a child for each of these sockets and returns in each child, with the one that is its own;
// the others it closes. In the parent, which closes all of them, it does not return: that passes
// SIGINT and SIGTERM on, as SIGTERM, waits until the last child has ended, and ends with 0. A child
// that ends before it was told to is told of in a line ("Lost a loop: process 4711 was ended by
// signal 9 (Killed)"); the others go on, and without any the parent ends with 1. The children end
// with their parent, however it ends.
//
// Call it before there are threads.
[[nodiscard]] std::vector<Descriptor> fork_family(const Options& options,
                                                  std::vector<Descriptor> sockets);

}  // namespace ground
