#include "clients/shared/target.hpp"

#include "common/base/limits.hpp"

#include <fmt/format.h>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>

namespace ground {

namespace {

// As you would type it here: the stages were built beside the program that is running.
std::string path_of_a_stage()
{
    std::error_code unknown;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    const auto stage = program.parent_path().parent_path() / "stages" / "02_threads";
    const auto path = std::filesystem::proximate(stage, unknown);
    return std::filesystem::exists(path, unknown) ? path.string() : "02_threads";
}

bool is_number(std::string_view text)
{
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

std::vector<Address> resolve(const Target& target)
{
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* first = nullptr;
    const std::string port = std::to_string(target.port);
    if (::getaddrinfo(target.host.c_str(), port.c_str(), &hints, &first) != 0) {
        throw ClientError(fmt::format("no such host '{}'; try localhost", target.host));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(first, ::freeaddrinfo);
    std::vector<Address> addresses;
    for (const addrinfo* info = first; info != nullptr; info = info->ai_next) {
        Address& address = addresses.emplace_back();
        std::memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
        address.size = info->ai_addrlen;
    }
    return addresses;
}

}  // namespace

std::optional<std::uint16_t> parse_port(std::string_view text)
{
    std::uint16_t port = 0;
    const auto [stop, problem] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (problem != std::errc() || stop != text.data() + text.size() || port == 0) {
        return std::nullopt;
    }
    return port;
}

std::optional<Target> parse_target(std::string_view text)
{
    Target target;
    std::string_view host;
    std::string_view port;
    if (is_number(text)) {
        port = text;
    } else if (text.starts_with('[')) {  // separate IPv6's colons from the port's
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) {
            return std::nullopt;
        }
        host = text.substr(1, end - 1);
        port = text.substr(end + 1);
        if (!port.empty() && !port.starts_with(':')) {
            return std::nullopt;
        }
        port.remove_prefix(port.empty() ? 0 : 1);
    } else if (std::count(text.begin(), text.end(), ':') == 1) {
        host = text.substr(0, text.find(':'));
        port = text.substr(text.find(':') + 1);
    } else {
        host = text;
    }
    if (host.find_first_of("[]") != std::string_view::npos) {
        return std::nullopt;
    }
    if (!host.empty()) {
        target.host = host;
    }
    if (!port.empty()) {
        const auto number = parse_port(port);
        if (!number) {
            return std::nullopt;
        }
        target.port = *number;
    }
    return host.empty() && port.empty() ? std::nullopt : std::optional(target);
}

std::string to_string(const Target& target)
{
    if (target.host.find(':') != std::string::npos) {
        return fmt::format("[{}]:{}", target.host, target.port);
    }
    return fmt::format("{}:{}", target.host, target.port);
}

void check_room_for(std::size_t connections)
{
    constexpr std::size_t others = 16;  // standard streams, epoll, a timer, and some to spare
    const std::size_t needed = connections + others;
    const std::size_t limit = raise_descriptor_limit();
    if (limit < needed) {
        throw ClientError(
            fmt::format("{} connections need {} descriptors and ulimit -Hn is {}; choose "
                        "fewer, or type {} and start again",
                        connections, needed, limit, how_to_allow_descriptors(needed)));
    }
    const std::size_t ports = local_ports();
    if (ports < connections) {
        throw ClientError(
            fmt::format("{} connections need as many local ports and there are {}; choose fewer, "
                        "or type sudo sysctl net.ipv4.ip_local_port_range='1024 65535'",
                        connections, ports));
    }
}

Descriptor start_connect(const Address& address)
{
    Descriptor socket(check(::socket(address.storage.ss_family,
                                     SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP),
                            "socket"));
    const int on = 1;
    check(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
    if (::connect(socket.get(), address.get(), address.size) == -1 && errno != EINPROGRESS) {
        throw std::system_error(errno, std::generic_category(), "connect");
    }
    return socket;
}

int connect_result(const Descriptor& socket) noexcept
{
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

bool is_established(const Descriptor& socket) noexcept
{
    tcp_info info{};
    socklen_t size = sizeof info;
    return ::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_state == TCP_ESTABLISHED;
}

void reset_on_close(const Descriptor& socket, bool reset) noexcept
{
    const linger at_once{reset ? 1 : 0, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::string explain_connect(const Target& target, int error)
{
    if (error == ECONNREFUSED) {
        return fmt::format("nothing listens on {}; start a stage first, for example {}",
                           to_string(target), path_of_a_stage());
    }
    if (error == ETIMEDOUT) {
        return fmt::format("{} does not answer; check the host and the port", to_string(target));
    }
    if (error == EADDRNOTAVAIL) {
        return fmt::format(
            "no local port is left for a connection to {}; wait a minute, or limit them with -R",
            to_string(target));
    }
    return fmt::format("can't connect to {}: {}", to_string(target), std::strerror(error));
}

Connected connect(const Target& target, std::optional<std::chrono::milliseconds> timeout)
{
    int error = ECONNREFUSED;
    for (const Address& address : resolve(target)) {
        try {
            Descriptor socket = start_connect(address);
            pollfd writable{socket.get(), POLLOUT, 0};
            const int patience = timeout ? static_cast<int>(timeout->count()) : -1;
            const int ready = check(::poll(&writable, 1, patience), "poll");
            error = ready == 0 ? ETIMEDOUT : connect_result(socket);
            if (error == 0) {
                return {std::move(socket), address};
            }
        } catch (const std::system_error& problem) {
            error = problem.code().value();
        }
    }
    throw ClientError(explain_connect(target, error));
}

}  // namespace ground
