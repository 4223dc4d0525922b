#include "harness.hpp"

#include "common/base/pipe.hpp"
#include "common/base/tcp_sockets.hpp"
#include "cpu_watch.hpp"
#include "stage.hpp"
#include "watchdog.hpp"

#include <fmt/format.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>

namespace ground::test {

namespace {

// The time between two looks at what only /proc can tell.
constexpr std::chrono::milliseconds longest_pause{20};

// More CPU time than it takes to wake up and look around.
constexpr std::chrono::milliseconds noticeable{50};

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

// Thrown for what has not come by its deadline.
[[noreturn]] void fail_in_vain(std::string_view for_what, std::string_view more = {})
{
    waited_in_vain(for_what);
    fail(fmt::format("waited in vain for {}{}", for_what, more));
}

// A wait that may take longer than others, which the watchdog has to know.
void announce(const Deadline& deadline)
{
    const std::chrono::milliseconds left(deadline.milliseconds());
    if (left > patience) {
        allow_time(left);
    }
}

// Waits for one event on one descriptor; false at the deadline. As in all waits here, the last look
// comes after the deadline: on a busy machine this thread may not have run for seconds before that.
bool wait_for_event(int fd, short events, const Deadline& deadline)
{
    pollfd entry{fd, events, 0};
    for (;;) {
        const int left = deadline.milliseconds();
        const int ready = ::poll(&entry, 1, left);
        if ((ready == -1 && errno == EINTR) || (ready == 0 && left > 0)) {
            continue;
        }
        return check(ready, "poll") == 1;
    }
}

// The names in a directory of /proc that are numbers.
std::vector<int> numbers_in(const std::string& directory)
{
    std::vector<int> numbers;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
    if (dir == nullptr) {
        return numbers;
    }
    while (const dirent* entry = ::readdir(dir.get())) {
        const std::string_view name(entry->d_name);
        int number = 0;
        const auto [stop, problem] =
            std::from_chars(name.data(), name.data() + name.size(), number);
        if (problem == std::errc() && stop == name.data() + name.size()) {
            numbers.push_back(number);
        }
    }
    return numbers;
}

}  // namespace

std::chrono::seconds patience_of_this_run()
{
    const char* const given = std::getenv("JUDGE_PATIENCE");
    return std::chrono::seconds((given == nullptr ? 20 : std::atoi(given)) * slowdown);
}

namespace {

using Clock = std::chrono::steady_clock;

// Between two looks at who gets a CPU.
constexpr std::chrono::milliseconds time_between_looks{200};

std::atomic<bool> machine_is_too_busy{false};

// This process and all that it has started.
std::vector<pid_t> all_of_this_test()
{
    std::vector<pid_t> all{::getpid()};
    for (const ProcessInfo& process : descendants_of(::getpid())) {
        all.push_back(process.pid);
    }
    return all;
}

}  // namespace

// Without an address of its own it would start with a copy of what another has seen.
struct Deadline::SecondHalf {
    CpuWatch watch;
    Clock::time_point next_look = Clock::now();
    Clock::time_point latest = Clock::now() + std::chrono::minutes(1);
    std::chrono::duration<double> left;
};

Deadline::Deadline(std::chrono::milliseconds from_now)
{
    // A shorter one is no deadline, but a look whether something is there.
    const bool fair = stage().foreign() != nullptr && from_now >= std::chrono::seconds(1);
    length_of_second_half_ = fair ? from_now / 2 : std::chrono::milliseconds(0);
    end_of_first_half_ = Clock::now() + (from_now - length_of_second_half_);
}

bool Deadline::too_busy() noexcept { return machine_is_too_busy; }

void Deadline::look_at_the_machine() const
{
    if (second_half_ == nullptr) {
        second_half_ = std::make_shared<SecondHalf>();
        second_half_->left = length_of_second_half_;
    }
    SecondHalf& half = *second_half_;
    if (Clock::now() < half.next_look) {
        return;
    }
    const double share = stage().foreign()->port ? share_of_a_cpu() : 1;
    const CpuLook seen = half.watch.look(all_of_this_test());
    half.left -= std::min(seen.progress, share) * seen.time;
    passed_ = half.left <= half.left.zero();
    if (!passed_ && Clock::now() > half.latest) {
        machine_is_too_busy = true;
        passed_ = true;
    }
    half.next_look = Clock::now() + time_between_looks;
    allow_time(time_between_looks);
}

int Deadline::milliseconds() const
{
    const auto until = [](Clock::time_point time) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now());
        return static_cast<int>(std::max<std::int64_t>(0, left.count()));
    };
    const int first = until(end_of_first_half_);
    if (first > 0 || passed_) {
        return passed_ ? 0 : first;
    }
    if (length_of_second_half_.count() == 0) {
        passed_ = true;
        return 0;
    }
    look_at_the_machine();
    return passed_ ? 0 : std::max(1, until(second_half_->next_look));
}

namespace {

bool holds_before(const Deadline& deadline, std::string_view what,
                  const std::function<bool()>& condition)
{
    const Waiting waiting(what);
    announce(deadline);
    // A look may cost more than what is waited for: often it reads all of /proc.
    for (std::chrono::milliseconds pause(1);; pause = std::min(2 * pause, longest_pause)) {
        const bool last = deadline.milliseconds() == 0;
        if (condition()) {
            return true;
        }
        if (last) {
            return false;
        }
        std::this_thread::sleep_for(pause);
    }
}

}  // namespace

void eventually(std::string_view what, const std::function<bool()>& condition, Deadline deadline)
{
    if (!holds_before(deadline, what, condition)) {
        fail_in_vain(what);
    }
}

void eventually(std::string_view what, const std::function<bool()>& condition,
                const std::function<std::string()>& seen, Deadline deadline)
{
    if (!holds_before(deadline, what, condition)) {
        waited_in_vain(what);
        fail(seen());
    }
}

namespace {

// Fields as in proc(5). The name of the program, in parentheses, may contain anything: skip it.
std::optional<ProcessInfo> read_stat(const std::string& path, pid_t pid)
{
    std::ifstream file(path);
    std::string text;
    if (!std::getline(file, text, '\0') || text.rfind(')') == std::string::npos) {
        return std::nullopt;
    }
    std::istringstream rest(text.substr(text.rfind(')') + 1));
    ProcessInfo info;
    info.pid = pid;
    std::string skipped;
    std::int64_t user_ticks = 0;
    std::int64_t system_ticks = 0;
    rest >> info.state >> info.parent >> skipped >> info.session;
    for (int field = 7; field <= 13; ++field) {
        rest >> skipped;
    }
    rest >> user_ticks >> system_ticks;
    for (int field = 16; field <= 19; ++field) {
        rest >> skipped;
    }
    rest >> info.threads >> skipped >> info.started;
    if (!rest) {
        return std::nullopt;
    }
    info.cpu =
        std::chrono::milliseconds((user_ticks + system_ticks) * 1000 / ::sysconf(_SC_CLK_TCK));
    return info;
}

}  // namespace

std::optional<ProcessInfo> process_info(pid_t pid)
{
    return read_stat(fmt::format("/proc/{}/stat", pid), pid);
}

std::vector<ProcessInfo> threads_of(pid_t pid)
{
    std::vector<ProcessInfo> threads;
    for (const int thread : numbers_in(fmt::format("/proc/{}/task", pid))) {
        if (const auto info =
                read_stat(fmt::format("/proc/{}/task/{}/stat", pid, thread), thread)) {
            threads.push_back(*info);
        }
    }
    return threads;
}

std::vector<ProcessInfo> processes()
{
    std::vector<ProcessInfo> all;
    for (const int pid : numbers_in("/proc")) {
        if (const auto info = process_info(pid); info && info->state != 'Z') {
            all.push_back(*info);
        }
    }
    return all;
}

std::size_t zombies_of(pid_t pid)
{
    const std::vector<int> all = numbers_in("/proc");
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](int each) {
        const auto info = process_info(each);
        return info && info->parent == pid && info->state == 'Z';
    }));
}

std::vector<ProcessInfo> descendants_of(pid_t pid)
{
    const std::vector<ProcessInfo> others = processes();
    std::vector<ProcessInfo> found;
    std::vector<pid_t> ancestors{pid};
    for (std::size_t i = 0; i < ancestors.size(); ++i) {
        for (const ProcessInfo& process : others) {
            if (process.parent == ancestors[i]) {
                found.push_back(process);
                ancestors.push_back(process.pid);
            }
        }
    }
    return found;
}

std::chrono::nanoseconds thread_cpu_time()
{
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

std::vector<std::uint64_t> socket_inodes(pid_t pid)
{
    const std::string directory = fmt::format("/proc/{}/fd", pid);
    std::vector<std::uint64_t> inodes;
    for (const int fd : numbers_in(directory)) {
        std::array<char, 64> target{};
        const std::string link = fmt::format("{}/{}", directory, fd);
        const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
        constexpr std::string_view prefix = "socket:[";
        const std::string_view name(target.data(), static_cast<std::size_t>(std::max(size, {})));
        if (name.starts_with(prefix)) {
            inodes.push_back(std::stoull(std::string(name.substr(prefix.size()))));
        }
    }
    return inodes;
}

Output::Output(Descriptor pipe, std::size_t keep)
    : pipe_(std::move(pipe)), stop_(check(::eventfd(0, EFD_CLOEXEC), "eventfd")), keep_(keep)
{
    thread_ = std::thread([this] { drain(); });
}

Output::~Output()
{
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

std::string Output::text() const
{
    const std::lock_guard lock(mutex_);
    return text_;
}

std::uint64_t Output::size() const
{
    const std::lock_guard lock(mutex_);
    return size_;
}

bool Output::has_unread() const
{
    int bytes = 0;
    return ::ioctl(pipe_.get(), FIONREAD, &bytes) == 0 && bytes > 0;
}

// Call with the mutex not held; the condition is evaluated with it held.
void Output::wait_until(const std::string& what, const std::function<bool()>& condition) const
{
    const Waiting waiting(what);
    std::unique_lock lock(mutex_);
    const bool in_time = changed_.wait_for(lock, patience, [&] { return ended_ || condition(); });
    if (!in_time) {
        fail_in_vain(what, "; what came is: " + text_);
    }
    if (!condition()) {
        fail(fmt::format("the output has ended, without {}; what came is: {}", what, text_));
    }
}

void Output::wait_for(std::string_view text) const
{
    wait_until(fmt::format("'{}'", text), [&] { return text_.find(text) != std::string::npos; });
}

std::string Output::read_all() const
{
    wait_until("the end of the output", [&] { return ended_; });
    return text();
}

void Output::drain()
{
    std::array<char, 4096> buffer{};
    for (;;) {
        std::array<pollfd, 2> entries{{{pipe_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
        if (::poll(entries.data(), entries.size(), -1) == -1) {
            continue;  // a signal
        }
        if (entries[1].revents != 0) {
            return;
        }
        const ssize_t size = ::read(pipe_.get(), buffer.data(), buffer.size());
        const std::lock_guard lock(mutex_);
        if (size > 0) {
            text_.append(buffer.data(), static_cast<std::size_t>(size));
            size_ += static_cast<std::uint64_t>(size);
            if (text_.size() > 4 * keep_) {
                text_ = text_.substr(0, keep_) + "\n[...]\n" + text_.substr(text_.size() - keep_);
            }
        } else {
            ended_ = true;
        }
        changed_.notify_all();
        if (ended_) {
            return;
        }
    }
}

namespace {

// The writing end of what the program gets as its stdout or stderr, or nothing.
Descriptor open_stream(Stream stream, Pipe& pipe)
{
    switch (stream) {
        case Stream::full:
            return Descriptor(check(::open("/dev/full", O_WRONLY | O_CLOEXEC), "/dev/full"));
        case Stream::closed:
            return Descriptor();
        case Stream::deaf:
            pipe.read_end.reset();
            break;
        case Stream::pipe:
        case Stream::unread:
            break;
    }
    return std::move(pipe.write_end);
}

// Async-signal-safe.
bool become(int target, const Descriptor& stream) noexcept
{
    return stream.get() == -1 ? ::close(target) == 0 : ::dup2(stream.get(), target) != -1;
}

}  // namespace

namespace {

// The programs that this process has started and not yet waited for. Its other children are those
// of programs that have died (see PR_SET_CHILD_SUBREAPER).
std::set<pid_t>& started_here()
{
    static std::set<pid_t> pids;
    return pids;
}

}  // namespace

// The child of a fork in a program with threads may only make system calls. So everything that
// needs memory is prepared before.
Program::Program(const Start& start)
{
    Pipe in;
    Pipe out;
    Pipe err;
    Descriptor child_out = open_stream(start.out, out);
    Descriptor child_err = open_stream(start.err, err);
    const auto pointers = [](std::vector<std::string>& words, char** more = nullptr) {
        std::vector<char*> found;
        for (std::string& word : words) {
            found.push_back(word.data());
        }
        for (; more != nullptr && *more != nullptr; ++more) {
            found.push_back(*more);
        }
        found.push_back(nullptr);
        return found;
    };
    std::vector<std::string> words = start.command;
    std::vector<std::string> variables = start.environment;
    const std::vector<char*> arguments = pointers(words);
    const std::vector<char*> environment = pointers(variables, environ);

    const pid_t parent = ::getpid();
    pid_ = check(::fork(), "fork");
    if (pid_ == 0) {
        ::setsid();
        bool good = ::dup2(in.read_end.get(), STDIN_FILENO) != -1;
        good = good && become(STDOUT_FILENO, child_out);
        good = good && become(STDERR_FILENO, child_err);
        // What this process has inherited must not count as the program's.
        ::syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
        if (start.keep) {
            ::fcntl(*start.keep, F_SETFD, 0);
        }
        ::signal(SIGPIPE, SIG_DFL);
        if (start.user) {
            // By system calls, because glibc's functions would involve all threads, and here is
            // only one.
            good = good && ::syscall(SYS_setresgid, *start.user, *start.user, *start.user) == 0;
            good = good && ::syscall(SYS_setresuid, *start.user, *start.user, *start.user) == 0;
        }
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);    // after a change of user, which resets it
        good = good && ::getppid() == parent;  // the parent had died before the line above
        for (const auto& [resource, limit] : start.limits) {
            good = good && ::setrlimit(resource, &limit) == 0;
        }
        if (good) {
            ::execvpe(arguments[0], arguments.data(), environment.data());
        }
        ::_exit(127);
    }
    started_here().insert(pid_);
    pidfd_ = Descriptor(check(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0U)), "pidfd_open"));
    stdin_ = std::move(in.write_end);
    // The drains start after the fork. So if a program fails to start, its output ends.
    child_out.reset();
    child_err.reset();
    if (start.out == Stream::pipe) {
        stdout_.emplace(std::move(out.read_end), start.keep_output);
    }
    if (start.err == Stream::pipe) {
        stderr_.emplace(std::move(err.read_end), start.keep_output);
    } else if (start.err == Stream::unread) {
        unread_ = std::move(err.read_end);
    }
}

bool Program::has_ended(std::chrono::milliseconds within) const
{
    return status_ || wait_for_event(pidfd_.get(), POLLIN, Deadline(within));
}

Program::~Program()
{
    // The session's other processes may still be starting further ones: repeat until none is left.
    for (int round = 0; round < 100; ++round) {
        const auto others = descendants();
        if (!status_) {
            ::kill(pid_, SIGKILL);
        }
        for (const ProcessInfo& process : others) {
            ::kill(process.pid, SIGKILL);
        }
        if (!status_) {
            int status = 0;
            ::waitpid(pid_, &status, 0);
            status_ = status;
            started_here().erase(pid_);
        }
        if (others.empty()) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

void Program::write(std::string_view text)
{
    while (!text.empty()) {
        const ssize_t size = ::write(stdin_.get(), text.data(), text.size());
        text.remove_prefix(static_cast<std::size_t>(check(static_cast<int>(size), "write")));
    }
}

void Program::signal(int number) const
{
    told_to_end_ = told_to_end_ || (number != SIGSTOP && number != SIGCONT);
    // A server that is not ours may be a shell that has started the server.
    const bool all = stage().foreign() != nullptr && (number == SIGSTOP || number == SIGCONT);
    check(::kill(all ? -pid_ : pid_, number), "kill");
}

void Program::stop() const
{
    signal(SIGSTOP);
    siginfo_t event{};
    const auto id = static_cast<id_t>(pid_);
    check(::waitid(P_PID, id, &event, WSTOPPED | WEXITED | WNOWAIT), "waitid");
    if (event.si_code != CLD_STOPPED) {
        fail("the program has ended instead of being stopped");
    }
}

void Program::resume() const { signal(SIGCONT); }

void Program::signal_group(int number) const
{
    told_to_end_ = true;
    check(::kill(-pid_, number), "kill");
}

int Program::wait(Deadline deadline)
{
    if (!status_) {
        const Waiting waiting("the end of the program");
        announce(deadline);
        if (!wait_for_event(pidfd_.get(), POLLIN, deadline)) {
            fail_in_vain("the end of the program");
        }
        int status = 0;
        check(::waitpid(pid_, &status, 0), "waitpid");
        status_ = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
        started_here().erase(pid_);
    }
    return *status_;
}

ProcessInfo Program::info() const
{
    const auto info = process_info(pid_);
    if (!info) {
        fail("the program has ended");
    }
    return *info;
}

std::vector<ProcessInfo> Program::descendants() const
{
    const std::vector<ProcessInfo> all = processes();
    std::set<pid_t> ours{pid_};
    std::vector<ProcessInfo> found;
    const pid_t self = ::getpid();
    const bool adopted_too = stage().foreign() != nullptr;
    const auto belongs = [&](const ProcessInfo& process) {
        return process.session == pid_ ||
               (adopted_too && (ours.contains(process.parent) ||
                                (process.parent == self && !started_here().contains(process.pid))));
    };
    for (bool more = true; more;) {  // a child may come before its parent
        more = false;
        for (const ProcessInfo& process : all) {
            if (!ours.contains(process.pid) && belongs(process)) {
                ours.insert(process.pid);
                found.push_back(process);
                more = adopted_too;
            }
        }
    }
    return found;
}

std::size_t Program::descriptors() const
{
    std::size_t open = numbers_in(fmt::format("/proc/{}/fd", pid_)).size();
    if (stage().foreign() != nullptr) {
        for (const ProcessInfo& process : descendants()) {
            open += numbers_in(fmt::format("/proc/{}/fd", process.pid)).size();
        }
    }
    return open;
}

namespace {

std::size_t resident_memory(pid_t pid)
{
    std::ifstream file(fmt::format("/proc/{}/statm", pid));
    std::size_t total = 0;
    std::size_t resident = 0;
    file >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

std::size_t Program::memory() const
{
    std::size_t sum = resident_memory(pid_);
    if (stage().foreign() != nullptr) {
        for (const ProcessInfo& process : descendants()) {
            sum += resident_memory(process.pid);
        }
    }
    return sum;
}

std::size_t Program::address_space() const
{
    std::ifstream file(fmt::format("/proc/{}/statm", pid_));
    std::size_t total = 0;
    file >> total;
    return total * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

Outcome run(const Start& start, Deadline deadline)
{
    Program program(start);
    program.close_stdin();
    Outcome outcome;
    outcome.status = program.wait(deadline);
    outcome.out = program.out().read_all();
    outcome.err = program.err().read_all();
    return outcome;
}

namespace {

// By a client of a server that is not ours.
std::atomic<bool> an_end_was_seen{false};

std::optional<Ending>& the_ending()
{
    static std::optional<Ending> ending;
    return ending;
}

std::optional<std::string> value_of(std::string_view option, const Server::Arguments& arguments)
{
    const auto found = std::find(arguments.begin(), arguments.end(), option);
    return found == arguments.end() ? std::nullopt : std::optional(*(found + 1));
}

Server::Arguments with_queue(Server::Arguments arguments)
{
    static int count = 0;
    if (stage().pool_is_broker() && !value_of("--queue", arguments)) {
        arguments.insert(arguments.end(),
                         {"--queue", fmt::format("server.{}.{}", ::getpid(), ++count)});
    }
    return arguments;
}

// A port that was free a moment ago.
std::uint16_t free_port()
{
    const Descriptor probe(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    check(::bind(probe.get(), generic, size), "bind");
    check(::getsockname(probe.get(), generic, &size), "getsockname");
    return ntohs(address.sin_port);
}

std::uint16_t port_for(const Foreign* foreign)
{
    return foreign == nullptr ? std::uint16_t{0} : foreign->port.value_or(free_port());
}

Start with_foreign_command(const Foreign& foreign, std::uint16_t port, Start start)
{
    const std::string number = std::to_string(port);
    start.keep_output = 16U << 10U;
    if (foreign.port) {
        start.command = {"cat"};  // runs until it is ended, and does nothing
        return start;
    }
    start.command = foreign.command;
    bool placed = false;
    for (std::string& word : start.command) {
        constexpr std::string_view place = "{port}";
        for (auto at = word.find(place); at != std::string::npos; at = word.find(place, at)) {
            word.replace(at, place.size(), number);
            placed = true;
        }
    }
    if (!placed) {
        start.command.insert(start.command.end(), {"--port", number});
    }
    start.environment.push_back("PORT=" + number);
    constexpr rlim_t largest_file = 1U << 30U;
    start.limits.push_back({RLIMIT_FSIZE, {largest_file, largest_file}});
    start.limits.push_back({RLIMIT_CORE, {0, 0}});
    return start;
}

Start with_command(const Server::Arguments& arguments, Start start, std::uint16_t port)
{
    if (const Foreign* const foreign = stage().foreign()) {
        return with_foreign_command(*foreign, port, std::move(start));
    }
    start.command = stage().command();
    const bool port_given =
        std::find(arguments.begin(), arguments.end(), "--port") != arguments.end();
    if (!port_given) {
        start.command.insert(start.command.end(), {"--port", "0"});
    }
    for (const auto* list : {&stage().arguments(), &arguments}) {
        start.command.insert(start.command.end(), list->begin(), list->end());
    }
    return start;
}

}  // namespace

std::uint16_t Program::listening_port() const
{
    const auto inodes = socket_inodes(pid_);
    for (const TcpSocket& socket : tcp_sockets(0, in_state(TcpState::listen))) {
        if (std::find(inodes.begin(), inodes.end(), socket.inode) != inodes.end()) {
            return socket.local_port;
        }
    }
    return 0;
}

Server::Server(const Arguments& arguments, Start start)
    : Server(with_queue(arguments), std::move(start), value_of("--queue", arguments).has_value(),
             port_for(stage().foreign()))
{
    if (stage().foreign() != nullptr) {
        wait_until_foreign_listens();  // if it throws, the destructor runs
    }
}

Server::Server(const Arguments& arguments, Start start, bool queue_given, std::uint16_t port)
    : Program(with_command(arguments, start, port)), port_(port)
{
    if (stage().foreign() != nullptr) {
        the_ending().reset();
        return;
    }
    if (stage().pool_is_broker() && !queue_given) {
        const std::string executable = stage().executable();
        const std::string worker =
            executable.substr(0, executable.find_last_of('/') + 1) + "10_worker";
        const int count = std::stoi(value_of("--workers", arguments).value_or("2"));
        for (int i = 0; i < count; ++i) {
            workers_.emplace_back(
                Start{{worker, "--queue", value_of("--queue", arguments).value()}});
        }
    }
    if (start.out != Stream::pipe) {
        eventually("the server listens", [&] { return (port_ = listening_port()) != 0; });
        return;
    }
    out().wait_for("\n");
    const std::string line = out().text();
    const std::string expected = fmt::format("{} listening on 127.0.0.1:", stage().name());
    if (!line.starts_with(expected) || line.back() != '\n') {
        fail(fmt::format("not the line that says where it listens: {}", line));
    }
    std::from_chars(line.data() + expected.size(), line.data() + line.size(), port_);
}

namespace {

// How long a server that is not ours may take to listen.
std::chrono::milliseconds time_to_listen()
{
    const char* const given = std::getenv("JUDGE_START");
    return std::chrono::milliseconds(given == nullptr ? 10'000 : std::atoi(given));
}

// The same if it and all that it has started do nothing meanwhile.
std::chrono::milliseconds time_asleep()
{
    const char* const given = std::getenv("JUDGE_ASLEEP");
    return given == nullptr ? time_to_listen() : std::chrono::milliseconds(std::atoi(given));
}

// How long it may take to end by itself.
std::chrono::milliseconds time_to_end_by_itself()
{
    const char* const given = std::getenv("JUDGE_GRACE");
    return std::chrono::milliseconds(given == nullptr ? 1000 : std::atoi(given));
}

std::string describe(int status)
{
    return status >= 0 ? fmt::format("exit status {}", status)
                       : fmt::format("signal {} ({})", -status, ::strsignal(-status));
}

// Where a process that the program has started listens; the ports in ascending order.
std::set<std::uint16_t> ports_of(const Program& program)
{
    std::vector<std::uint64_t> inodes = socket_inodes(program.pid());
    for (const ProcessInfo& process : program.descendants()) {
        const auto more = socket_inodes(process.pid);
        inodes.insert(inodes.end(), more.begin(), more.end());
    }
    std::set<std::uint16_t> ports;
    for (const TcpSocket& socket : tcp_sockets(0, in_state(TcpState::listen))) {
        if (std::find(inodes.begin(), inodes.end(), socket.inode) != inodes.end()) {
            ports.insert(socket.local_port);
        }
    }
    return ports;
}

// For how long a program and all that it has started have done nothing: they wait.
class SleepWatch {
  public:
    std::chrono::nanoseconds time_of(const Program& program)
    {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_look_) {
            return asleep_;
        }
        next_look_ = now + time_between_looks;
        std::vector<pid_t> all{program.pid()};
        for (const ProcessInfo& process : program.descendants()) {
            all.push_back(process.pid);
        }
        const CpuLook seen = watch_.look(all);
        constexpr double hardly_any = 0.02;
        asleep_ = seen.demand <= hardly_any && seen.progress >= 0.5 ? asleep_ + seen.time
                                                                    : seen.time.zero();
        return asleep_;
    }

  private:
    CpuWatch watch_;
    std::chrono::steady_clock::time_point next_look_{};
    std::chrono::nanoseconds asleep_{0};
};

bool replies(std::uint16_t port)
{
    try {
        return Client(port).ask("1\n") == "1";
    } catch (const std::runtime_error&) {
        return false;
    }
}

}  // namespace

void Server::wait_until_foreign_listens()
{
    if (stage().foreign()->port) {
        return;
    }
    const Waiting waiting("the server listens");
    const Deadline deadline(time_to_listen());
    announce(deadline);
    SleepWatch sleep;
    for (std::chrono::milliseconds pause(1);; pause = std::min(2 * pause, longest_pause)) {
        if (has_ended(pause)) {
            fail("it ended before it listened");
        }
        const bool over = deadline.milliseconds() == 0;
        const bool asleep = sleep.time_of(*this) >= time_asleep();
        // In this order: a socket that is there when the processes are looked at belongs to one of
        // them, or to a process that we have not started. A container's port does. Both come after
        // the looks at the time: it may listen, and then sleep, while this thread does not run.
        const bool listens = !tcp_sockets(port_, in_state(TcpState::listen)).empty();
        const auto ports = ports_of(*this);
        if (ports.contains(port_)) {
            return;
        }
        if (listens && replies(port_)) {
            process_known_ = false;
            return;
        }
        if (over || asleep) {
            fail(fmt::format(
                "it does not listen on port {} after {} s{}{}", port_,
                std::chrono::duration<double>(over ? time_to_listen() : time_asleep()).count(),
                over ? "" : " in which it does nothing (--start gives it more time)",
                ports.empty() ? "" : fmt::format(", but on port {}", *ports.begin())));
        }
    }
}

void Server::require_process() const
{
    if (!process_known_) {
        throw DoesNotApply("the process that listens is not one that the command has started");
    }
}

Server::~Server()
{
    if (stage().foreign() != nullptr) {
        end_foreign();
    }
}

// The end of its session's processes is the base class' task, as of any program.
void Server::end_foreign() noexcept
{
    try {
        Ending ending;
        // A connection ends a little before its process.
        ending.noticed = an_end_was_seen.exchange(false);
        const std::chrono::milliseconds a_little(ending.noticed ? 50 : 0);
        ending.by_itself = has_ended(a_little) && !was_told_to_end();
        if (!has_ended()) {
            ::kill(-pid(), SIGTERM);
            ::kill(-pid(), SIGCONT);
            static_cast<void>(has_ended(time_to_end_by_itself()));
        } else {
            ending.how = describe(wait());
        }
        for (auto others = descendants(); !others.empty(); others = descendants()) {
            for (const ProcessInfo& process : others) {
                ::kill(process.pid, SIGKILL);
                if (process.parent == ::getpid()) {
                    ::waitpid(process.pid, nullptr, 0);
                }
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        ending.out = out().text();
        ending.err = err().text();
        the_ending() = ending;
    } catch (const std::exception&) {
        // It can't be ended better than by the base class.
    }
}

std::vector<ProcessInfo> Server::helpers() const
{
    std::vector<ProcessInfo> all = descendants();
    for (const Program& worker : workers_) {
        all.push_back(worker.info());
    }
    return all;
}

std::optional<uid_t> user_of_our_own()
{
    const uid_t user = 200'000U + static_cast<uid_t>(::getpid());
    const char* const executable = stage().executable().c_str();
    const pid_t probe = check(::fork(), "fork");
    if (probe == 0) {
        const bool good = ::syscall(SYS_setresgid, user, user, user) == 0 &&
                          ::syscall(SYS_setresuid, user, user, user) == 0 &&
                          ::access(executable, X_OK) == 0;
        ::_exit(good ? 0 : 1);
    }
    int status = 0;
    check(::waitpid(probe, &status, 0), "waitpid");
    return status == 0 ? std::optional(user) : std::nullopt;
}

const std::optional<Ending>& last_ending() { return the_ending(); }

Talk& last_talk()
{
    thread_local Talk talk;
    return talk;
}

namespace {

constexpr std::size_t much_talk = 400;

void note_sent(std::string_view text)
{
    Talk& talk = last_talk();
    if (!talk.received.empty()) {
        talk = {};
    }
    if (talk.sent.size() < much_talk) {
        talk.sent += text.substr(0, much_talk);
    }
}

void note_received(std::string_view text)
{
    Talk& talk = last_talk();
    talk.received += text.substr(text.size() - std::min(text.size(), much_talk));
    if (talk.received.size() > 2 * much_talk) {
        talk.received.erase(0, talk.received.size() - much_talk);
    }
}

// The address of the server of this run, with this port.
struct ServerAddress {
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_in);
};

ServerAddress find_host(const std::string& host)
{
    addrinfo* found = nullptr;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    const std::string port = std::to_string(stage().foreign()->port.value());
    if (const int problem = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found)) {
        fail(fmt::format("no address for {}: {}", host, ::gai_strerror(problem)));
    }
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
    ServerAddress address;
    // localhost is often two addresses, and the server may listen on one.
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
        std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
        address.size = one->ai_addrlen;
        const Descriptor probe(::socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(probe.get(), one->ai_addr, one->ai_addrlen) == 0) {
            break;
        }
    }
    return address;
}

ServerAddress address_of(std::uint16_t port)
{
    if (const Foreign* const foreign = stage().foreign(); foreign != nullptr && foreign->port) {
        static const ServerAddress found = find_host(foreign->host);
        return found;
    }
    ServerAddress address;
    auto* const loopback = reinterpret_cast<sockaddr_in*>(&address.storage);
    loopback->sin_family = AF_INET;
    loopback->sin_port = htons(port);
    loopback->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

}  // namespace

Client::Client(std::uint16_t port, int receive_buffer)
{
    const ServerAddress to = address_of(port);
    socket_ =
        Descriptor(check(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    if (receive_buffer != 0) {
        ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    check(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.size),
          "connect");
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    check(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&own), &size), "getsockname");
    // The port is at the same place in an address of IPv6.
    local_port_ = ntohs(reinterpret_cast<const sockaddr_in*>(&own)->sin_port);
}

void Client::grow_receive_buffer()
{
    const int size = 1 << 20;
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

std::size_t Client::send_some(std::string_view text)
{
    const ssize_t size =
        ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    const auto sent = static_cast<std::size_t>(check(static_cast<int>(size), "send"));
    note_sent(text.substr(0, sent));
    return sent;
}

void Client::send(std::string_view text)
{
    const Deadline deadline;
    while (!text.empty()) {
        if (!wait_for_event(socket_.get(), POLLOUT, deadline)) {
            fail_in_vain("the server to read");
        }
        text.remove_prefix(send_some(text));
    }
}

void Client::shutdown_send() { check(::shutdown(socket_.get(), SHUT_WR), "shutdown"); }

// Waits for more bytes; false at the end of file.
bool Client::receive(const Deadline& deadline, std::string_view what)
{
    const Waiting waiting(what);
    if (!wait_for_event(socket_.get(), POLLIN, deadline)) {
        fail_in_vain(what,
                     fmt::format("; so far {} bytes, at the end '{}'", received_.size(),
                                 received_.substr(received_.size() -
                                                  std::min<std::size_t>(received_.size(), 500))));
    }
    std::array<char, 65536> buffer{};
    const ssize_t result = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    an_end_was_seen = an_end_was_seen || result <= 0;
    const auto size = static_cast<std::size_t>(check(static_cast<int>(result), "recv"));
    received_.append(buffer.data(), size);
    note_received({buffer.data(), size});
    return size != 0;
}

std::string Client::read_line()
{
    const Deadline deadline;
    std::size_t end = 0;
    while ((end = received_.find('\n')) == std::string::npos) {
        if (!receive(deadline)) {
            fail(fmt::format("the server has closed instead of replying; what is left: '{}'",
                             received_));
        }
    }
    std::string line = received_.substr(0, end);
    received_.erase(0, end + 1);
    return line;
}

char Client::read_byte()
{
    char byte = 0;
    if (received_.empty()) {
        if (!wait_for_event(socket_.get(), POLLIN, Deadline())) {
            fail_in_vain("the server's reply");
        }
        if (check(static_cast<int>(::recv(socket_.get(), &byte, 1, 0)), "recv") == 0) {
            fail("the server has closed instead of replying");
        }
        return byte;
    }
    byte = received_.front();
    received_.erase(0, 1);
    return byte;
}

namespace {

constexpr std::string_view more_or_the_end = "the server to send more or to close";

}  // namespace

std::string Client::read_all()
{
    // As long as something comes, the server is not stuck.
    for (Deadline deadline; receive(deadline, more_or_the_end); deadline = Deadline()) {
    }
    return std::exchange(received_, {});
}

std::string Client::read_until_gone()
{
    const Deadline deadline;
    try {
        while (receive(deadline, more_or_the_end)) {
        }
    } catch (const std::system_error& error) {
        if (error.code() != std::errc::connection_reset) {
            throw;
        }
    }
    return std::exchange(received_, {});
}

// As long as something comes or goes, the other side is not stuck.
std::string Client::converse(std::string_view text)
{
    Deadline deadline;
    if (text.empty()) {
        shutdown_send();
    }
    for (bool open = true; open;) {
        pollfd entry{socket_.get(), POLLIN, 0};
        if (!text.empty()) {
            entry.events |= POLLOUT;
        }
        const int left = deadline.milliseconds();
        if (check(::poll(&entry, 1, left), "poll") == 0) {
            if (left > 0) {
                continue;
            }
            fail_in_vain(text.empty() ? more_or_the_end : "the server to read or to send");
        }
        if ((entry.revents & POLLOUT) != 0) {
            text.remove_prefix(send_some(text));
            deadline = Deadline();
            if (text.empty()) {
                shutdown_send();
            }
        }
        if ((entry.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            open = receive(deadline);
            deadline = Deadline();
        }
    }
    return std::exchange(received_, {});
}

bool Client::readable() const
{
    return !received_.empty() ||
           wait_for_event(socket_.get(), POLLIN, Deadline(std::chrono::milliseconds(0)));
}

void Client::wait_readable(Deadline deadline) const
{
    const Waiting waiting("the server's reply");
    announce(deadline);
    if (received_.empty() && !wait_for_event(socket_.get(), POLLIN, deadline)) {
        fail_in_vain("the server's reply");
    }
}

void Client::reset()
{
    const linger at_once{1, 0};
    check(::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once),
          "setsockopt");
    socket_.reset();
}

unsigned Client::segments_received() const
{
    tcp_info info{};
    socklen_t size = sizeof info;
    check(::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &size), "getsockopt");
    return info.tcpi_data_segs_in;
}

std::optional<ServerEnd> server_end(const Server& server, const Client& client)
{
    constexpr unsigned not_listening =
        ~(in_state(TcpState::listen) | in_state(TcpState::time_wait));
    for (const TcpSocket& socket : tcp_sockets(server.port(), not_listening)) {
        if (socket.remote_port == client.local_port()) {
            return ServerEnd{socket.inode, socket.unread};
        }
    }
    return std::nullopt;
}

void wait_until_read(const Server& server, const Client& client)
{
    // The server may run on another machine. What has arrived there is as much as can be known.
    if (const Foreign* const foreign = stage().foreign(); foreign != nullptr && foreign->port) {
        eventually("what was sent arrives", [&] {
            int under_way = 0;
            return ::ioctl(client.native_handle(), SIOCOUTQ, &under_way) == 0 && under_way == 0;
        });
        return;
    }
    eventually("the server reads what was sent", [&] {
        const auto end = server_end(server, client);
        return !end || (end->inode != 0 && end->unread == 0);
    });
}

std::chrono::milliseconds cpu_time_with_descendants(const Program& program)
{
    std::chrono::milliseconds sum = program.info().cpu;
    for (const ProcessInfo& process : program.helpers()) {
        sum += process.cpu;
    }
    return sum;
}

void wait_until_computing(const Program& program, const std::function<void()>& start)
{
    const auto before = cpu_time_with_descendants(program);
    start();
    eventually("the server computes",
               [&] { return cpu_time_with_descendants(program) >= before + noticeable; });
}

std::vector<pid_t> wait_until_descendants_compute(const Program& program, std::size_t count,
                                                  const std::function<void()>& start)
{
    const auto before = program.descendants();
    const auto used_before = [&](const ProcessInfo& process) {
        const auto same = std::find_if(before.begin(), before.end(), [&](const ProcessInfo& other) {
            return other.pid == process.pid && other.started == process.started;
        });
        return same == before.end() ? std::chrono::milliseconds(0) : same->cpu;
    };
    start();
    std::vector<pid_t> computing;
    eventually(fmt::format("{} descendants compute", count), [&] {
        computing.clear();
        for (const ProcessInfo& process : program.descendants()) {
            if (process.cpu >= used_before(process) + noticeable) {
                computing.push_back(process.pid);
            }
        }
        return computing.size() >= count;
    });
    return computing;
}

}  // namespace ground::test
