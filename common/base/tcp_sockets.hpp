// tcp_sockets.hpp -- the TCP sockets of this network namespace, of all processes, as the kernel
// lists them (see sock_diag(7)).
#pragma once

#include <cstdint>
#include <vector>

namespace ground {

// The states that are asked for here, with the kernel's numbers. (<netinet/tcp.h> and
// <linux/tcp.h>, which name them all, can't be included together.)
enum class TcpState : unsigned { established = 1, time_wait = 6, close_wait = 8, listen = 10 };

constexpr unsigned in_state(TcpState state) { return 1U << static_cast<unsigned>(state); }

struct TcpSocket {
    std::uint16_t local_port = 0;
    std::uint16_t remote_port = 0;
    std::uint32_t unread = 0;  // bytes that have arrived and were not read; an end of file is one
    std::uint32_t inode = 0;   // as in "socket:[4711]" of /proc/PID/fd; 0 if it has no descriptor
};

// The sockets with this local port, or with any if it is 0, that are in one of these states. Empty
// if the kernel does not tell. /proc/net/tcp knows the same, but it always lists all sockets, and a
// machine can have a hundred thousand that are in TIME_WAIT.
[[nodiscard]] std::vector<TcpSocket> tcp_sockets(std::uint16_t local_port, unsigned states);

}  // namespace ground
