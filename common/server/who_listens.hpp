// who_listens.hpp -- which program has taken a port, for the message that the port is in use.
#pragma once

#include <cstdint>
#include <string>

namespace ground {

// "01_blocking (process 1234)". Empty if the process is not known, for example because it is
// another user's. Reads /proc, and throws nothing but bad_alloc.
[[nodiscard]] std::string who_listens(std::uint16_t port);

}  // namespace ground
