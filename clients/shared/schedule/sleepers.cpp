#include "clients/shared/schedule/sleepers.hpp"

#include <fmt/format.h>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace ground::explore {

namespace {

Descriptor open_file(const std::string& path)
{
    return Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

// All of a small file of the kernel's, as it is now. Empty if its thread has gone.
std::string read_again(const Descriptor& file)
{
    std::array<char, 512> text;
    const ssize_t size = ::pread(file.get(), text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))};
}

}  // namespace

// "4711 (name) S ...". A name may contain a parenthesis.
bool Sleepers::sleeps(const Thread& thread)
{
    const std::string text = read_again(thread.state);
    const std::size_t end = text.rfind(')');
    const char state = end != std::string::npos && end + 2 < text.size() ? text[end + 2] : 'X';
    return state == 'S' || state == 'X' || state == 'Z';
}

// Twice over all threads. If each one slept both times and has not run in between, all of them
// slept at the moment between the two.
bool Sleepers::all_asleep()
{
    const auto all_sleep = [this] {
        const auto found = std::find_if(threads_.begin(), threads_.end(),
                                        [](const auto& thread) { return !sleeps(thread.second); });
        awake_ = found == threads_.end() ? 0 : found->first;
        return awake_ == 0;
    };
    if (!all_sleep()) {
        return false;
    }
    list();
    for (auto& [tid, thread] : threads_) {
        thread.before = read_again(thread.turns);
    }
    if (!all_sleep()) {
        return false;
    }
    for (const auto& [tid, thread] : threads_) {
        if (read_again(thread.turns) != thread.before) {
            awake_ = tid;
            return false;
        }
    }
    // The first look at the states above may have been before the numbers were read.
    return all_sleep();
}

// "12345678 910 11": the time on a CPU, the time of waiting for one, and how often it had one.
std::uint64_t Sleepers::cpu_time_of_awake() const
{
    const auto thread = threads_.find(awake_);
    return thread == threads_.end()
               ? 0
               : std::strtoull(read_again(thread->second.turns).c_str(), nullptr, 10);
}

void Sleepers::list()
{
    for (auto& [tid, thread] : threads_) {
        thread.listed = false;
    }
    processes_.clear();
    list(server_);
    std::erase_if(threads_, [](const auto& thread) { return !thread.second.listed; });
}

void Sleepers::list(pid_t process)
{
    processes_.push_back(process);
    const std::string tasks = fmt::format("/proc/{}/task", process);
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(tasks.c_str()), ::closedir);
    if (!folder) {
        return;
    }
    while (const dirent* const entry = ::readdir(folder.get())) {
        const auto tid = static_cast<pid_t>(std::atoi(entry->d_name));
        if (tid == 0) {
            continue;
        }
        const std::string task = fmt::format("{}/{}", tasks, tid);
        auto& thread = threads_[tid];
        thread.listed = true;
        if (thread.state.get() == -1) {
            thread.state = open_file(task + "/stat");
            thread.turns = open_file(task + "/schedstat");
        }
        const std::string children = read_again(open_file(task + "/children"));
        for (std::size_t begin = 0; begin < children.size();) {
            const std::size_t end = std::min(children.find(' ', begin), children.size());
            list(static_cast<pid_t>(std::atoi(children.c_str() + begin)));
            begin = end + 1;
        }
    }
}

}  // namespace ground::explore
