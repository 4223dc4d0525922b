#include "cpu_watch.hpp"

#include "harness.hpp"

#include <fmt/format.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>

namespace ground::test {

namespace {

using std::chrono::nanoseconds;

// A thread that runs, or would if it got a CPU or its page from the disk.
bool wants_to_run(char state) { return state == 'R' || state == 'D'; }

double ratio(nanoseconds part, nanoseconds whole)
{
    return static_cast<double>(part.count()) / static_cast<double>(whole.count());
}

}  // namespace

CpuWatch::Thread CpuWatch::read(pid_t process, pid_t thread)
{
    const std::string folder = fmt::format("/proc/{}/task/{}/", process, thread);
    std::uint64_t used = 0;
    std::uint64_t waited = 0;
    std::ifstream(folder + "schedstat") >> used >> waited;
    std::uint64_t sleeps = 0;
    std::ifstream status(folder + "status");
    for (std::string word; status >> word;) {
        if (word == "voluntary_ctxt_switches:") {
            status >> sleeps;
            break;
        }
    }
    return {nanoseconds(used), nanoseconds(waited), sleeps};
}

void CpuWatch::add(CpuLook& seen, const Thread& before, const Thread& now, char state)
{
    const auto ran = std::clamp(now.used - before.used, nanoseconds(0), seen.time);
    auto lost = std::clamp(now.waited - before.waited, nanoseconds(0), seen.time - ran);
    // A wait that has not ended is not in the kernel's sum. A thread that has not slept has waited
    // when it did not run.
    if (wants_to_run(state) && now.sleeps == before.sleeps) {
        lost = seen.time - ran;
    }
    const nanoseconds rest = seen.time - lost;
    constexpr nanoseconds tiny = std::chrono::microseconds(100);
    seen.used += ran;
    seen.waited += lost;
    seen.demand += wants_to_run(state) || rest <= tiny ? 1 : ratio(ran, rest);
    seen.progress = std::min(seen.progress, ratio(rest, seen.time));
}

CpuLook CpuWatch::look(const std::vector<pid_t>& processes)
{
    const auto now = Clock::now();
    const bool first = last_ == Clock::time_point{};
    CpuLook seen;
    seen.time = first ? nanoseconds(0) : now - last_;
    std::map<pid_t, Thread> threads;
    const auto self = static_cast<pid_t>(::syscall(SYS_gettid));
    for (const pid_t process : processes) {
        for (const ProcessInfo& info : threads_of(process)) {
            if (info.pid == self) {
                continue;  // it runs, because it looks
            }
            const Thread thread = read(process, info.pid);
            threads[info.pid] = thread;
            if (seen.time > nanoseconds(0)) {
                add(seen, threads_[info.pid], thread, info.state);  // a new one begins at zero
            }
        }
    }
    threads_ = std::move(threads);
    last_ = now;
    return seen;
}

double share_of_a_cpu()
{
    constexpr nanoseconds enough = std::chrono::milliseconds(40);
    const auto start = std::chrono::steady_clock::now();
    const auto used_before = thread_cpu_time();
    while (thread_cpu_time() - used_before < enough) {
    }
    const nanoseconds time = std::chrono::steady_clock::now() - start;
    return std::min(1.0, ratio(enough, time));
}

}  // namespace ground::test
