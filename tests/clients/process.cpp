#include "process.hpp"

#include "common/base/pipe.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>

namespace ground {

namespace {

// posix_spawn() returns its errors instead of setting errno.
void check_spawn(int error, const char* call)
{
    if (error != 0) {
        throw std::system_error(error, std::generic_category(), call);
    }
}

}  // namespace

Process::Process(std::vector<std::string> arguments, Stdio stdio,
                 std::vector<std::string> variables)
{
    std::vector<char*> argv;
    for (std::string& argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    // The user's locale and terminal must not affect a test.
    std::vector<std::string> environment{"PATH=/usr/bin:/bin", "LC_ALL=C", "TERM=xterm"};
    environment.insert(environment.end(), variables.begin(), variables.end());
    for (const char* const name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
        if (const char* const value = std::getenv(name)) {
            environment.push_back(std::string(name) + "=" + value);
        }
    }
    std::vector<char*> envp;
    for (auto variable = environment.rbegin(); variable != environment.rend(); ++variable) {
        envp.push_back(variable->data());  // backwards: of two with the same name the first counts
    }
    envp.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    check_spawn(::posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
    check_spawn(::posix_spawnattr_init(&attributes), "posix_spawnattr_init");
    // The test ignores SIGPIPE (see type()), but the program must not inherit that.
    sigset_t defaults;
    ::sigemptyset(&defaults);
    ::sigaddset(&defaults, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &defaults);
    short flags = POSIX_SPAWN_SETSIGDEF;
    int error = 0;
    if (stdio == Stdio::terminal) {
        int master = -1;
        int slave = -1;
        std::array<char, 64> name{};
        const winsize size{24, 80, 0, 0};
        check(::openpty(&master, &slave, name.data(), nullptr, &size), "openpty");
        const Descriptor slave_here(slave);
        out_end_ = Descriptor(master);
        check(::fcntl(master, F_SETFD, FD_CLOEXEC), "fcntl");
        check(::fcntl(slave, F_SETFD, FD_CLOEXEC), "fcntl");
        in_ = Descriptor(check(::fcntl(master, F_DUPFD_CLOEXEC, 0), "fcntl"));
        // A session of its own, whose first terminal becomes the controlling one: Ctrl-C works.
        flags = static_cast<short>(flags | POSIX_SPAWN_SETSID);
        ::posix_spawnattr_setflags(&attributes, flags);
        ::posix_spawn_file_actions_addopen(&actions, 0, name.data(), O_RDWR, 0);
        ::posix_spawn_file_actions_adddup2(&actions, 0, 1);
        ::posix_spawn_file_actions_adddup2(&actions, 0, 2);
        error = ::posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), envp.data());
    } else {
        Pipe in;
        Pipe out;
        Pipe err;
        ::posix_spawnattr_setflags(&attributes, flags);
        ::posix_spawn_file_actions_adddup2(&actions, in.read_end.get(), 0);
        ::posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), 1);
        ::posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), 2);
        error = ::posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), envp.data());
        in_ = std::move(in.write_end);
        out_end_ = std::move(out.read_end);
        err_end_ = std::move(err.read_end);
    }
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
    check_spawn(error, argv[0]);
}

Process::~Process()
{
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
}

void Process::type(std::string_view text)
{
    ::signal(SIGPIPE, SIG_IGN);
    while (!text.empty()) {
        const ssize_t written = ::write(in_.get(), text.data(), text.size());
        if (written <= 0) {
            return;  // it has gone; its exit status tells
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

void Process::end_input() { in_.reset(); }

void Process::signal(int number) { check(::kill(pid_, number), "kill"); }

bool Process::until(const std::function<bool()>& condition)
{
    while (!condition()) {
        if (!read_some()) {
            return false;
        }
    }
    return true;
}

bool Process::shows(std::string_view text)
{
    return until([&] { return out_.find(text) != std::string::npos; });
}

void Process::stop()
{
    signal(SIGSTOP);
    siginfo_t info{};
    check(::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WEXITED | WNOWAIT), "waitid");
    while (readable() && read_some()) {
    }
}

int Process::wait()
{
    while (read_some()) {
    }
    int status = 0;
    check(::waitpid(pid_, &status, 0), "waitpid");
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Process::readable() const
{
    std::array<pollfd, 2> watched{{{out_end_.get(), POLLIN, 0}, {err_end_.get(), POLLIN, 0}}};
    return check(::poll(watched.data(), watched.size(), 0), "poll") > 0;
}

bool Process::read_some()
{
    std::array<pollfd, 2> watched{{{out_end_.get(), POLLIN, 0}, {err_end_.get(), POLLIN, 0}}};
    if (out_end_.get() < 0 && err_end_.get() < 0) {
        return false;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until_ - std::chrono::steady_clock::now());
    const int limit = static_cast<int>(std::max(left, std::chrono::milliseconds(0)).count());
    if (limit == 0 || check(::poll(watched.data(), watched.size(), limit), "poll") == 0) {
        throw std::runtime_error("the program hangs; it has shown: " + out_ + err_);
    }
    std::array<char, 4096> buffer;
    if (watched[0].revents != 0) {
        const ssize_t size = ::read(out_end_.get(), buffer.data(), buffer.size());
        if (size > 0) {
            out_.append(buffer.data(), static_cast<std::size_t>(size));
        } else {
            out_end_.reset();  // a terminal ends with an error (EIO) instead of an end of file
        }
    }
    if (watched[1].revents != 0) {
        const ssize_t size = ::read(err_end_.get(), buffer.data(), buffer.size());
        if (size > 0) {
            err_.append(buffer.data(), static_cast<std::size_t>(size));
        } else {
            err_end_.reset();
        }
    }
    return true;
}

Outcome run(std::vector<std::string> arguments, std::string_view input)
{
    Process process(std::move(arguments));
    process.type(input);
    process.end_input();
    const int status = process.wait();
    return {status, process.out(), process.err()};
}

std::vector<std::string> lines(std::string_view text)
{
    std::vector<std::string> found;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string line(text.substr(0, end));
        if (line.ends_with('\r')) {
            line.pop_back();
        }
        found.push_back(std::move(line));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return found;
}

}  // namespace ground
