// limits.hpp -- how many connections the system grants a process.
#pragma once

#include <cstddef>
#include <string>

namespace ground {

// As many descriptors as the system allows: raises the soft limit to the hard one and returns it.
// The usual soft limit of 1024 is there for programs that use select without looking. Ours look.
std::size_t raise_descriptor_limit() noexcept;

// How many descriptors this process has open.
[[nodiscard]] std::size_t open_descriptors();

// What to type in a shell so that the programs it starts may have so many, or a few more.
[[nodiscard]] std::string how_to_allow_descriptors(std::size_t number);

// How many ports the kernel has for the near ends of connections to one server.
[[nodiscard]] std::size_t local_ports();

}  // namespace ground
