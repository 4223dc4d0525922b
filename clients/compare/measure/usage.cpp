#include "clients/compare/measure/usage.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace ground {

namespace {

namespace fs = std::filesystem;

// The values of lines such as "Pss:      1234 kB". 0 if there is no such line, or no such process.
std::uint64_t field(const std::string& path, const std::string& key)
{
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(key)) {
            return std::strtoull(line.c_str() + key.size(), nullptr, 10);
        }
    }
    return 0;
}

std::vector<pid_t> process_tree(pid_t root)
{
    std::vector<pid_t> tree{root};
    for (std::size_t i = 0; i < tree.size(); ++i) {
        std::error_code gone;
        fs::directory_iterator tasks(fmt::format("/proc/{}/task", tree[i]), gone);
        while (!gone && tasks != fs::directory_iterator()) {
            std::ifstream children(tasks->path() / "children");
            for (pid_t child = 0; children >> child;) {
                tree.push_back(child);
            }
            tasks.increment(gone);
        }
    }
    return tree;
}

unsigned sockets_of(pid_t pid)
{
    unsigned count = 0;
    std::error_code gone;
    fs::directory_iterator descriptors(fmt::format("/proc/{}/fd", pid), gone);
    while (!gone && descriptors != fs::directory_iterator()) {
        std::error_code closed;  // meanwhile
        count +=
            fs::read_symlink(descriptors->path(), closed).native().starts_with("socket:") ? 1U : 0U;
        descriptors.increment(gone);
    }
    return count;
}

// The CPU time of a process's children that have ended: user and system, the fields 16 and 17 of
// its stat, in ticks. The second field, a name in parentheses, may contain blanks.
double cpu_s_of_ended_children(pid_t pid)
{
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string stat;
    std::getline(file, stat, '\0');  // all of it; empty if the process has just ended
    std::istringstream fields(stat.substr(std::min(stat.rfind(')'), stat.size() - 1) + 1));
    std::string skipped;
    for (int i = 3; i < 16; ++i) {
        fields >> skipped;
    }
    double user = 0;
    double system = 0;
    fields >> user >> system;
    return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

Usage usage_of(pid_t server)
{
    Usage usage;
    for (const pid_t pid : process_tree(server)) {
        clockid_t clock{};
        timespec used{};
        if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &used) != 0) {
            continue;  // it has just ended
        }
        ++usage.processes;
        usage.cpu_s += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9 +
                       cpu_s_of_ended_children(pid);
        usage.sockets += sockets_of(pid);
        const std::string memory = fmt::format("/proc/{}/smaps_rollup", pid);
        usage.memory += 1024 * field(memory, "Pss:");
        usage.anonymous += 1024 * field(memory, "Pss_Anon:");
        usage.threads +=
            static_cast<unsigned>(field(fmt::format("/proc/{}/status", pid), "Threads:"));
    }
    return usage;
}

// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
CpuTicks cpu_ticks()
{
    std::ifstream file("/proc/stat");
    std::string cpu;
    file >> cpu;
    CpuTicks ticks;
    for (unsigned field = 0; field < 8; ++field) {
        std::uint64_t value = 0;
        file >> value;
        const bool idle = field == 3 || field == 4;
        ticks.busy += idle ? 0 : value;
        ticks.all += value;
    }
    return ticks;
}

}  // namespace ground
