#include "common/server/who_listens.hpp"

#include "common/base/tcp_sockets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

namespace ground {

namespace {

namespace fs = std::filesystem;

// The sockets that listen on the port, as the links in /proc/PID/fd name them.
std::set<std::string> listening_sockets(std::uint16_t port)
{
    std::set<std::string> sockets;
    for (const TcpSocket& socket : tcp_sockets(port, in_state(TcpState::listen))) {
        sockets.insert(fmt::format("socket:[{}]", socket.inode));
    }
    return sockets;
}

bool has_one_of(const fs::path& process, const std::set<std::string>& sockets)
{
    std::error_code error;
    for (fs::directory_iterator entry(process / "fd", error), end; !error && entry != end;
         entry.increment(error)) {
        std::error_code gone;
        if (sockets.contains(fs::read_symlink(entry->path(), gone).string())) {
            return true;
        }
    }
    return false;
}

}  // namespace

std::string who_listens(std::uint16_t port)
{
    const std::set<std::string> sockets = listening_sockets(port);
    std::error_code error;
    for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string pid = entry->path().filename();
        const bool is_process = pid.find_first_not_of("0123456789") == std::string::npos;
        if (is_process && !sockets.empty() && has_one_of(entry->path(), sockets)) {
            std::error_code unknown;
            std::string name = fs::read_symlink(entry->path() / "exe", unknown).filename();
            std::replace_if(
                name.begin(), name.end(), [](char c) { return c < ' ' || c == '\x7f'; }, '?');
            return fmt::format("{} (process {})", name.empty() ? "a program" : name, pid);
        }
    }
    return {};
}

}  // namespace ground
