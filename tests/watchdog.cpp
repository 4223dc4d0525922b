#include "watchdog.hpp"

#include "common/base/descriptor.hpp"
#include "cpu_watch.hpp"
#include "harness.hpp"
#include "silent_reporter.hpp"
#include "stage.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <vector>

namespace ground::test {

namespace {

using std::chrono::seconds;
using Clock = std::chrono::steady_clock;  // the same in all processes

// A wait may take `patience`, and something may come before it. The watchdog's own tests are less
// patient.
seconds time_for_a_test_case()
{
    const char* const given = std::getenv("WATCHDOG_SECONDS");
    return given == nullptr ? 2 * patience : seconds(std::atoi(given));
}

// After this many waits in vain the rest of a suite says nothing more, and each takes `patience`.
constexpr int enough_in_vain = 3;

// What the child tells the watchdog. One thread writes the words. They are read after it has
// written nothing for a long time.
struct Shared {
    std::atomic<Clock::rep> began;     // of the test case
    std::atomic<Clock::rep> deadline;  // 0: there was none yet
    std::array<char, 256> test_case;
    std::array<char, 512> waits_for;
};
Shared* shared = nullptr;  // nothing if there is no watchdog

std::atomic<int> times_in_vain{0};

void copy(std::string_view text, char* to, std::size_t size)
{
    const std::size_t length = std::min(text.size(), size - 1);
    std::memcpy(to, text.data(), length);
    to[length] = '\0';
}

std::string first_line_of(const std::string& path)
{
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
}

// Arguments, or the name of a kernel thread or a dying process.
std::string command_of(pid_t pid)
{
    std::string words = first_line_of(fmt::format("/proc/{}/cmdline", pid));
    if (words.empty()) {
        return fmt::format("[{}]", first_line_of(fmt::format("/proc/{}/comm", pid)));
    }
    std::replace(words.begin(), words.end(), '\0', ' ');
    words.pop_back();
    // The directory of the programs is the same for all.
    const auto slash = words.substr(0, words.find(' ')).find_last_of('/');
    return slash == std::string::npos ? words : words.substr(slash + 1);
}

// Those that wait, and what their first argument is.
enum class First { nothing, descriptor };
struct Call {
    long number;
    std::string_view name;
    First first;
};
constexpr std::array<Call, 26> calls{{
    {SYS_accept, "accept", First::descriptor},
    {SYS_accept4, "accept4", First::descriptor},
    {SYS_clock_nanosleep, "clock_nanosleep", First::nothing},
    {SYS_connect, "connect", First::descriptor},
    {SYS_epoll_pwait, "epoll_pwait", First::descriptor},
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, "epoll_wait", First::descriptor},
#else
    {-2, "", First::nothing},
#endif
    {SYS_futex, "futex", First::nothing},
    {SYS_io_uring_enter, "io_uring_enter", First::descriptor},
    {SYS_nanosleep, "nanosleep", First::nothing},
#ifdef SYS_poll
    {SYS_poll, "poll", First::nothing},
    {SYS_select, "select", First::nothing},
    {SYS_pause, "pause", First::nothing},
#else
    {-2, "", First::nothing},
    {-2, "", First::nothing},
    {-2, "", First::nothing},
#endif
    {SYS_ppoll, "ppoll", First::nothing},
    {SYS_pselect6, "pselect6", First::nothing},
    {SYS_read, "read", First::descriptor},
    {SYS_readv, "readv", First::descriptor},
    {SYS_recvfrom, "recvfrom", First::descriptor},
    {SYS_recvmsg, "recvmsg", First::descriptor},
    {SYS_restart_syscall, "restart_syscall", First::nothing},
    {SYS_rt_sigtimedwait, "rt_sigtimedwait", First::nothing},
    {SYS_sendmsg, "sendmsg", First::descriptor},
    {SYS_sendto, "sendto", First::descriptor},
    {SYS_wait4, "wait4", First::nothing},
    {SYS_waitid, "waitid", First::nothing},
    {SYS_write, "write", First::descriptor},
    {SYS_writev, "writev", First::descriptor},
}};

// What a thread is doing: its system call, with the file that it is about. Otherwise where the
// kernel says that it sleeps.
std::string deed_of(pid_t pid, pid_t thread)
{
    const std::string folder = fmt::format("/proc/{}/task/{}/", pid, thread);
    std::istringstream words(first_line_of(folder + "syscall"));
    std::string number;
    std::string first;
    words >> number >> first;
    if (number == "running") {
        return "runs";
    }
    const auto call = std::find_if(calls.begin(), calls.end(), [&](const Call& one) {
        return std::to_string(one.number) == number;
    });
    if (call == calls.end()) {
        const std::string where = first_line_of(folder + "wchan");
        return number.empty() ? fmt::format("in {}", where.empty() ? "?" : where)
                              : fmt::format("in system call {}", number);
    }
    if (call->first == First::nothing) {
        return fmt::format("in {}()", call->name);
    }
    const auto descriptor = std::strtoul(first.c_str(), nullptr, 16);
    std::array<char, 200> target{};
    const std::string link = fmt::format("/proc/{}/fd/{}", pid, descriptor);
    if (::readlink(link.c_str(), target.data(), target.size() - 1) == -1) {
        return fmt::format("in {}({})", call->name, descriptor);
    }
    return fmt::format("in {}({}: {})", call->name, descriptor, target.data());
}

// All processes of this test, and no others. Each program of a test has a session of its own, so
// descendants are found even if their parents have died.
std::vector<ProcessInfo> family_of(pid_t root)
{
    std::vector<ProcessInfo> all = descendants_of(root);
    std::set<pid_t> known{root};
    std::set<pid_t> sessions;
    for (const ProcessInfo& process : all) {
        known.insert(process.pid);
        if (process.session == process.pid) {
            sessions.insert(process.session);
        }
    }
    for (const ProcessInfo& process : processes()) {
        if (sessions.contains(process.session) && known.insert(process.pid).second) {
            all.push_back(process);
        }
    }
    return all;
}

// The sockets in this namespace. Rows with all waits would be too long, so only those with unread
// bytes.
std::string unread_bytes()
{
    std::string text;
    int rows = 0;
    std::ifstream file("/proc/net/tcp");
    for (std::string line; std::getline(file, line);) {
        std::istringstream fields(line);
        std::string number, local, remote, state, queues;
        if (!(fields >> number >> local >> remote >> state >> queues) || number == "sl") {
            continue;
        }
        const auto port = [](const std::string& address) {
            return std::strtoul(address.substr(address.find(':') + 1).c_str(), nullptr, 16);
        };
        const auto unread = std::strtoul(queues.substr(queues.find(':') + 1).c_str(), nullptr, 16);
        if (unread > 0 && ++rows <= 10) {
            text += fmt::format("  {} {} at port {}, from {}\n", unread,
                                state == "0A" ? "clients that were not accepted" : "bytes unread",
                                port(local), port(remote));
        }
    }
    return rows > 10 ? text + fmt::format("  and {} more like these\n", rows - 10) : text;
}

void tell(std::string_view text)
{
    std::fflush(stdout);
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
}

// The time in which a test could not go on because it or what it has started got no CPU. Of a
// server that is not ours, because a server that hangs is no failure of the judge.
class LostTime {
  public:
    // Beyond this it is no use to wait.
    static constexpr std::chrono::minutes most{2};

    [[nodiscard]] Clock::duration of(pid_t child)
    {
        if (stage().foreign() == nullptr) {
            return {};
        }
        std::vector<pid_t> all{child};
        for (const ProcessInfo& process : family_of(child)) {
            all.push_back(process.pid);
        }
        const double share = stage().foreign()->port ? share_of_a_cpu() : 1;
        const CpuLook seen = watch_.look(all);
        const double progress = std::min(seen.progress, share);
        lost_ += std::chrono::duration_cast<Clock::duration>((1 - progress) * seen.time);
        return std::min<Clock::duration>(lost_, most);
    }
    [[nodiscard]] bool is_too_much() const { return lost_ >= most; }

  private:
    CpuWatch watch_;
    Clock::duration lost_{};
};

// The watchdog calls it for a child that has not ended in time.
void end(pid_t child, bool too_busy)
{
    const std::string waits_for(shared->waits_for.data());
    const auto taken = Clock::now().time_since_epoch() - Clock::duration(shared->began.load());
    tell(fmt::format("\nwatchdog: the test case \"{}\" has not ended in {} s{}{}\n{}",
                     shared->test_case.data(), taken / seconds(1),
                     waits_for.empty() ? "" : "; it waits for: " + waits_for,
                     too_busy ? "; the machine was too busy" : "", describe_processes(child)));
    const auto family = family_of(child);
    ::kill(child, SIGKILL);
    for (const ProcessInfo& process : family) {
        ::kill(process.pid, SIGKILL);
    }
}

int watch(pid_t child)
{
    const Descriptor process(
        check(static_cast<int>(::syscall(SYS_pidfd_open, child, 0U)), "pidfd_open"));
    bool killed = false;
    LostTime lost;
    pollfd ended{process.get(), POLLIN, 0};
    for (;;) {
        const auto deadline = shared->deadline.load();
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            Clock::duration(deadline) + lost.of(child) - Clock::now().time_since_epoch());
        if (deadline != 0 && left.count() <= 0 && !killed) {
            end(child, lost.is_too_much());
            killed = true;
        }
        // Without a test case, and after its end, it only looks again.
        constexpr std::int64_t a_while = 1000;
        const bool runs = deadline != 0 && !killed;
        const auto timeout =
            runs ? std::clamp<std::int64_t>(left.count() + 1, 1, a_while) : a_while;
        if (::poll(&ended, 1, static_cast<int>(timeout)) == 1) {
            break;
        }
    }
    int status = 0;
    check(::waitpid(child, &status, 0), "waitpid");
    if (killed) {
        return 1;
    }
    if (WIFSIGNALED(status)) {
        // The process that waits for this one shall see the same: a shell ends its loop after
        // Ctrl-C.
        ::signal(WTERMSIG(status), SIG_DFL);
        ::raise(WTERMSIG(status));
        return 1;
    }
    return WEXITSTATUS(status);
}

// Tells the watchdog which test case runs. After too many waits in vain, the next one does not run.
class Reporter : public SilentReporter {
  public:
    explicit Reporter(const doctest::ContextOptions& /*unused*/) {}

    void test_case_start(const doctest::TestCaseData& test) override
    {
        if (times_in_vain >= enough_in_vain) {
            tell(fmt::format("watchdog: {} waits were in vain; the suite ends before \"{}\"\n",
                             times_in_vain.load(), test.m_name));
            std::_Exit(1);
        }
        if (shared != nullptr) {
            copy(test.m_name, shared->test_case.data(), shared->test_case.size());
            const auto now = Clock::now().time_since_epoch();
            shared->began = now.count();
            shared->deadline = (now + time_for_a_test_case()).count();
        }
    }
};

REGISTER_LISTENER("watchdog", 1, Reporter);

bool debugged()
{
    std::ifstream file("/proc/self/status");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("TracerPid:")) {
            return line.find_first_of("123456789") != std::string::npos;
        }
    }
    return false;
}

}  // namespace

int watched(const std::function<int()>& tests)
{
    if (debugged()) {
        return tests();
    }
    void* const memory =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return tests();
    }
    shared = new (memory) Shared{};
    const pid_t watchdog = ::getpid();
    const pid_t child = check(::fork(), "fork");
    if (child != 0) {
        ::signal(SIGINT, SIG_IGN);  // from a terminal it reaches both, and the child decides
        return watch(child);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != watchdog) {
        ::_exit(1);  // it has died before the line above
    }
    return tests();
}

void allow_time(std::chrono::milliseconds from_now)
{
    if (shared == nullptr) {
        return;
    }
    const auto end = (Clock::now() + from_now + patience).time_since_epoch().count();
    auto deadline = shared->deadline.load();
    while (deadline < end && !shared->deadline.compare_exchange_weak(deadline, end)) {
    }
}

namespace {

bool on_the_tests_thread() { return ::syscall(SYS_gettid) == ::getpid(); }

}  // namespace

Waiting::Waiting(std::string_view for_what) : tells_(shared != nullptr && on_the_tests_thread())
{
    if (tells_) {
        before_ = shared->waits_for.data();
        copy(for_what, shared->waits_for.data(), shared->waits_for.size());
    }
}

Waiting::~Waiting()
{
    if (tells_) {
        copy(before_, shared->waits_for.data(), shared->waits_for.size());
    }
}

void waited_in_vain(std::string_view for_what)
{
    if (++times_in_vain <= enough_in_vain) {
        tell(fmt::format("\nwaited in vain for: {}\n{}", for_what, describe_processes(::getpid())));
    }
}

std::string describe_processes(pid_t root)
{
    std::vector<ProcessInfo> all = family_of(root);
    if (const auto info = process_info(root)) {
        all.insert(all.begin(), *info);
    }
    // In the order in which they were found. If several processes have the same text, it is shown
    // once.
    std::vector<std::pair<std::string, std::vector<pid_t>>> processes;
    for (const ProcessInfo& process : all) {
        std::vector<std::pair<std::string, int>> threads;
        for (const ProcessInfo& thread : threads_of(process.pid)) {
            const std::string deed =
                fmt::format("{} {}", thread.state, deed_of(process.pid, thread.pid));
            const auto same = std::find_if(threads.begin(), threads.end(),
                                           [&](const auto& other) { return other.first == deed; });
            if (same == threads.end()) {
                threads.emplace_back(deed, 1);
            } else {
                ++same->second;
            }
        }
        std::string text = fmt::format("{}\n", command_of(process.pid).substr(0, 200));
        for (const auto& [deed, count] : threads) {
            text += count == 1 ? fmt::format("      {}\n", deed)
                               : fmt::format("      {} threads: {}\n", count, deed);
        }
        const auto same = std::find_if(processes.begin(), processes.end(),
                                       [&](const auto& other) { return other.first == text; });
        if (same == processes.end()) {
            processes.push_back({text, {process.pid}});
        } else {
            same->second.push_back(process.pid);
        }
    }
    std::string text = "where each process is (state of each thread, and what it is in):\n";
    for (const auto& [what, pids] : processes) {
        const auto cpu = process_info(pids.front());
        text += fmt::format("  {}{} (CPU {} ms): {}", pids.front(),
                            pids.size() == 1 ? "" : fmt::format(" and {} more", pids.size() - 1),
                            cpu ? cpu->cpu.count() : 0, what);
    }
    return text + unread_bytes();
}

}  // namespace ground::test
