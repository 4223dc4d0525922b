#include "clients/board/outside.hpp"

#include "common/base/tcp_sockets.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace ground::board {

namespace {

namespace fs = std::filesystem;

unsigned entries(const std::string& directory)
{
    unsigned count = 0;
    std::error_code gone;
    fs::directory_iterator entry(directory, gone);
    while (!gone && entry != fs::directory_iterator()) {
        ++count;
        entry.increment(gone);
    }
    return count;
}

// The parent of a process; 0 if there is no such process. "1234 (a name) S 1 ...": the name may
// contain anything.
pid_t parent_of(pid_t pid)
{
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    const std::size_t end = line.rfind(')');
    int parent = 0;
    if (end == std::string::npos || std::sscanf(line.c_str() + end, ") %*c %d", &parent) != 1) {
        return 0;
    }
    return parent;
}

}  // namespace

Body body_of(pid_t server)
{
    std::vector<pid_t> tree{server};
    Body body;
    for (std::size_t i = 0; i < tree.size(); ++i) {
        const std::string tasks = fmt::format("/proc/{}/task", tree[i]);
        clockid_t clock{};
        timespec used{};
        if (::clock_getcpuclockid(tree[i], &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
            continue;  // it has just ended
        }
        ++body.processes;
        body.cpu += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
        body.descriptors += entries(fmt::format("/proc/{}/fd", tree[i]));
        std::error_code gone;
        fs::directory_iterator task(tasks, gone);
        while (!gone && task != fs::directory_iterator()) {
            ++body.threads;
            std::ifstream children(task->path() / "children");
            for (pid_t child = 0; children >> child;) {
                tree.push_back(child);
            }
            task.increment(gone);
        }
    }
    return body;
}

// Until a connection is accepted it belongs to no descriptor, and its inode is 0.
Door door_of(std::uint16_t port)
{
    Door door;
    for (const TcpSocket& socket :
         tcp_sockets(port, in_state(TcpState::established) | in_state(TcpState::close_wait))) {
        if (socket.inode == 0) {
            door.waiting.push_back(socket.remote_port);
        }
        if (socket.unread > 0) {
            door.unread[socket.remote_port] = socket.unread;
        }
    }
    return door;
}

bool is_below(pid_t pid, pid_t ancestor)
{
    for (int steps = 0; pid > 1 && steps < 16; ++steps) {
        pid = parent_of(pid);
        if (pid == ancestor) {
            return true;
        }
    }
    return false;
}

}  // namespace ground::board
