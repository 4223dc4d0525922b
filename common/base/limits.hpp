// limits.hpp -- how many connections the system grants a process.
#pragma once

#include <cstddef>
#include <string>

namespace ground {

// Raises the soft limit of descriptors to the hard one and returns it. The usual soft limit of 1024
// protects programs that call select() without checking their descriptors. Ours check.
std::size_t raise_descriptor_limit() noexcept;

// How many descriptors this process has open.
[[nodiscard]] std::size_t open_descriptors();

// What to type in a shell so that the programs it starts may open that many, or a few more.
[[nodiscard]] std::string how_to_allow_descriptors(std::size_t number);

// How many local ports the kernel has for connections to one server.
[[nodiscard]] std::size_t local_ports();

}  // namespace ground
