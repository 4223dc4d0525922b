// target.hpp -- the server that a client talks to, and how to connect to it.
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ground {

// A failure that the user can do something about: one line that says what.
class ClientError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Target {
    std::string host = "localhost";
    std::uint16_t port = 25000;
};

// "HOST:PORT", "HOST", "PORT", "[::1]:PORT". What is missing keeps its default. Nothing if it is
// none of these.
[[nodiscard]] std::optional<Target> parse_target(std::string_view text);

// 1 to 65535 in decimal, or nothing.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text);

// "localhost:25000"
[[nodiscard]] std::string to_string(const Target& target);

// Prepares for this many connections to one server at the same time. Raises the limit on
// descriptors, and throws ClientError if that, or the number of local ports, is not enough.
void check_room_for(std::size_t connections);

// One of the addresses that a name stands for.
struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;

    [[nodiscard]] const sockaddr* get() const noexcept
    {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
};

// A new socket that does not block and sends each request at once (TCP_NODELAY), already connecting
// to the address. Wait until it is writable, then ask connect_result(). Throws std::system_error if
// it cannot even begin.
[[nodiscard]] Descriptor start_connect(const Address& address);

// 0 if the connection is there, else the errno that says why not.
[[nodiscard]] int connect_result(const Descriptor& socket) noexcept;

// Whether neither end has closed the connection.
[[nodiscard]] bool is_established(const Descriptor& socket) noexcept;

// However this socket is closed from now on, even by the end of the process: if its peer is still
// there, a reset tells it. A mere close looks to the server like the end of input: it may go on
// computing replies that nothing waits for.
void reset_on_close(const Descriptor& socket, bool reset = true) noexcept;

// Why there is no connection, and what to do about it.
[[nodiscard]] std::string explain_connect(const Target& target, int error);

struct Connected {
    Descriptor socket;  // does not block
    Address address;
};

// Tries the target's addresses one after the other (localhost is often ::1 and then 127.0.0.1).
// Waits for each as long as timeout, or as long as the kernel tries. Throws ClientError.
[[nodiscard]] Connected connect(const Target& target,
                                std::optional<std::chrono::milliseconds> timeout);

}  // namespace ground
