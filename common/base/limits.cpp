#include "common/base/limits.hpp"

#include <fmt/format.h>

#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace ground {

std::size_t raise_descriptor_limit() noexcept
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 0;
    }
    const rlim_t soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : soft;
}

std::size_t open_descriptors()
{
    std::error_code unknown;
    const std::filesystem::directory_iterator descriptors("/proc/self/fd", unknown);
    if (unknown) {
        return 0;
    }
    const auto listed = std::distance(begin(descriptors), end(descriptors));
    return static_cast<std::size_t>(listed) - 1;  // the list itself
}

std::string how_to_allow_descriptors(std::size_t number)
{
    // A round number, so that one advice is enough for both a server and its load client.
    return fmt::format("sudo prlimit --pid $$ --nofile={}", (number + 999) / 1000 * 1000);
}

std::size_t local_ports()
{
    std::ifstream file("/proc/sys/net/ipv4/ip_local_port_range");
    std::size_t first = 0;
    std::size_t last = 65535;
    file >> first >> last;
    return file && first <= last ? last - first + 1 : 65536;
}

}  // namespace ground
