#include "clients/compare/measure/child.hpp"

#include "common/base/pipe.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace ground {

namespace {

// A server that prints much must not make compare grow. perf's report is far shorter than this.
constexpr std::size_t most_text = 16 << 20;
// Stages promise to end within 2 s.
constexpr int milliseconds_to_end = 3000;

// As exec() takes them.
std::vector<char*> pointers_to(std::vector<std::string>& texts)
{
    std::vector<char*> pointers;
    pointers.reserve(texts.size() + 1);
    for (std::string& text : texts) {
        pointers.push_back(text.data());
    }
    pointers.push_back(nullptr);
    return pointers;
}

// Between fork() and exec(). A failure is reported on the child's stderr.
[[noreturn]] void become(const std::vector<char*>& argv, const std::vector<char*>& environment,
                         const cpu_set_t* cpus, pid_t parent, const Pipe& out,
                         const Pipe& err) noexcept
{
    // The signal is sent if the parent dies after this call. It may have died before.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
        ::_exit(127);
    }
    ::setpgid(0, 0);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    ::dup2(in, STDIN_FILENO);
    ::dup2(out.write_end.get(), STDOUT_FILENO);
    ::dup2(err.write_end.get(), STDERR_FILENO);
    if (cpus == nullptr || ::sched_setaffinity(0, sizeof *cpus, cpus) == 0) {
        ::execve(argv[0], argv.data(), environment.data());
    }
    const char* const why = std::strerror(errno);
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, why, std::strlen(why));
    ::_exit(127);
}

}  // namespace

// ---- Supervisor

Supervisor::Supervisor(std::function<void()> tick) : tick_(std::move(tick))
{
    sigset_t set;
    ::sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        ::sigaddset(&set, number);
    }
    check(::sigprocmask(SIG_BLOCK, &set, nullptr), "sigprocmask");
    signals_ = Descriptor(check(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
}

bool Supervisor::wait(const std::function<bool()>& condition, Time deadline)
{
    for (;;) {
        // poll() ignores a descriptor of -1.
        std::vector<pollfd> watched{{signals_.get(), POLLIN, 0}};
        for (const Child* const child : children_) {
            watched.push_back({child->out_.pipe.get(), POLLIN, 0});
            watched.push_back({child->err_.pipe.get(), POLLIN, 0});
            watched.push_back({child->ended() ? -1 : child->pidfd_.get(), POLLIN, 0});
        }
        if (condition()) {
            return true;
        }
        const Time now = std::chrono::steady_clock::now();
        if (now >= next_tick_) {
            next_tick_ = now + tick_period;
            tick_();
        }
        if (now >= deadline) {
            return false;
        }
        const auto pause =
            std::chrono::ceil<std::chrono::milliseconds>(std::min(deadline, next_tick_) - now);
        const int limit = static_cast<int>(pause.count());  // at most a tick's period
        if (::poll(watched.data(), watched.size(), limit) == -1 && errno != EINTR) {
            check(-1, "poll");
        }
        if (watched[0].revents != 0) {
            throw Interrupted();
        }
        for (std::size_t i = 0; i < children_.size(); ++i) {
            const pollfd* const of_child = &watched[1 + 3 * i];
            if (of_child[0].revents != 0) {
                children_[i]->out_.read();
            }
            if (of_child[1].revents != 0) {
                children_[i]->err_.read();
            }
            if (of_child[2].revents != 0) {
                children_[i]->look_whether_ended();
            }
        }
    }
}

// ---- Child

Child::Child(Supervisor& supervisor, const Command& command) : supervisor_(supervisor)
{
    std::vector<std::string> arguments = command.arguments;
    const std::vector<char*> argv = pointers_to(arguments);
    std::vector<std::string> variables = command.environment;
    for (char** variable = ::environ; *variable != nullptr; ++variable) {
        variables.emplace_back(*variable);
    }
    const std::vector<char*> environment = pointers_to(variables);
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (const int cpu : command.cpus) {
        CPU_SET(static_cast<std::size_t>(cpu), &cpus);
    }

    Pipe out;
    Pipe err;
    supervisor_.children_.reserve(supervisor_.children_.size() + 1);  // no failing after fork()
    const pid_t parent = ::getpid();
    pid_ = check(::fork(), "fork");
    if (pid_ == 0) {
        become(argv, environment, command.cpus.empty() ? nullptr : &cpus, parent, out, err);
    }
    ::setpgid(pid_, pid_);  // here, too: the group must exist before it is signalled
    supervisor_.children_.push_back(this);
    out_.pipe = std::move(out.read_end);
    err_.pipe = std::move(err.read_end);
    for (const Stream* const stream : {&out_, &err_}) {
        ::fcntl(stream->pipe.get(), F_SETFL, O_NONBLOCK);
    }
    // Through syscall(): glibc 2.36 declares pidfd_open() without extern "C".
    const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (pidfd == -1) {
        const int error = errno;
        supervisor_.children_.pop_back();
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        throw std::system_error(error, std::generic_category(), "pidfd_open");
    }
    pidfd_ = Descriptor(pidfd);
}

Child::~Child()
{
    std::erase(supervisor_.children_, this);
    ::kill(-pid_, SIGKILL);  // before waitpid(), so the number still means this group
    ::waitpid(pid_, nullptr, 0);
}

std::string Child::ending() const
{
    if (!ending_) {
        return "running";
    }
    return ending_->killed
               ? fmt::format("signal {} ({})", ending_->status, ::strsignal(ending_->status))
               : fmt::format("exit status {}", ending_->status);
}

void Child::signal(int number) noexcept { ::kill(pid_, number); }

void Child::terminate() noexcept
{
    signal(SIGTERM);
    pollfd end{pidfd_.get(), POLLIN, 0};
    while (::poll(&end, 1, milliseconds_to_end) == -1 && errno == EINTR) {
    }
    look_whether_ended();
}

void Child::look_whether_ended() noexcept
{
    siginfo_t info{};
    const auto pid = static_cast<id_t>(pid_);
    if (::waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_) {
        // Its last output came before its end, so it is read before the end is reported.
        out_.read();
        err_.read();
        ending_ = Ending{info.si_code != CLD_EXITED, info.si_status};
    }
}

// One piece at a time: a child that never stops writing must not keep us here.
void Child::Stream::read()
{
    if (pipe.get() < 0) {
        return;
    }
    std::array<char, 65536> buffer;  // all that a pipe holds
    const ssize_t size = ::read(pipe.get(), buffer.data(), buffer.size());
    if (size > 0) {
        text.append(buffer.data(), static_cast<std::size_t>(size));
        text.erase(0, text.size() - std::min(text.size(), most_text));
    } else if (size == 0 || errno != EAGAIN) {
        pipe.reset();
    }
}

}  // namespace ground
