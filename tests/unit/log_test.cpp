// The log has one stderr for the life of a process, so each of these logs in a child.
#include "common/server/log.hpp"

#include "common/base/descriptor.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace ground;
using ground::test::eventually;

namespace {

// What is written to `write` can be read from `read`.
struct Channel {
    Descriptor write;
    Descriptor read;
};

Channel make_pipe()
{
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    return {Descriptor(ends[1]), Descriptor(ends[0])};
}

Channel make_terminal()
{
    int master = -1;
    int slave = -1;
    REQUIRE(::openpty(&master, &slave, nullptr, nullptr, nullptr) == 0);
    termios settings{};
    REQUIRE(::tcgetattr(slave, &settings) == 0);
    settings.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    REQUIRE(::tcsetattr(slave, TCSANOW, &settings) == 0);
    return {Descriptor(slave), Descriptor(master)};
}

Channel make_socket()
{
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    return {Descriptor(ends[1]), Descriptor(ends[0])};
}

// All that can be read now, and in the next 100 ms: a terminal has a kernel thread that moves it.
std::string drain(const Channel& channel)
{
    std::string text;
    pollfd readable{channel.read.get(), POLLIN, 0};
    while (::poll(&readable, 1, 100) == 1) {
        char buffer[4096];
        const ssize_t size = ::read(channel.read.get(), buffer, sizeof buffer);
        if (size <= 0) {
            break;
        }
        text.append(buffer, static_cast<std::size_t>(size));
    }
    std::erase(text, '\r');
    return text;
}

// A child that logs this many lines, from several threads, and once more when it is told to.
class Talker {
  public:
    explicit Talker(const Channel& channel)
    {
        pid_ = ::fork();
        REQUIRE(pid_ != -1);
        if (pid_ == 0) {
            ::dup2(channel.write.get(), STDERR_FILENO);
            char c = 0;
            for (int turn = 0; turn < 2; ++turn) {
                std::vector<std::thread> threads;
                for (int t = 0; t < 4; ++t) {
                    threads.emplace_back([&] {
                        for (int i = 0; i < (turn == 0 ? 5000 : 1); ++i) {
                            log("line of forty characters, more or less");
                        }
                    });
                }
                for (std::thread& thread : threads) {
                    thread.join();
                }
                static_cast<void>(::write(done_.write.get(), &c, 1) == 1);
                static_cast<void>(::read(told_.read.get(), &c, 1) == 1);
            }
            ::_exit(0);
        }
    }
    ~Talker()
    {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Talker(const Talker&) = delete;
    Talker& operator=(const Talker&) = delete;

    void wait_until_said() const
    {
        eventually("it has said all, and does not wait", [&] {
            pollfd done{done_.read.get(), POLLIN, 0};
            return ::poll(&done, 1, 0) == 1;
        });
        char c = 0;
        REQUIRE(::read(done_.read.get(), &c, 1) == 1);
    }
    void tell() const { REQUIRE(::write(told_.write.get(), "", 1) == 1); }

  private:
    Channel told_ = make_pipe();
    Channel done_ = make_pipe();
    pid_t pid_ = -1;
};

std::size_t check_lines_are_whole(const std::string& text)
{
    REQUIRE(text.ends_with('\n'));
    std::size_t lost = 0;
    std::size_t lines = 0;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line); ++lines) {
        CAPTURE(line);
        if (const auto end = line.find(" lines lost: stderr was not read"); end != line.npos) {
            lost += std::stoul(line.substr(0, end));
            --lines;
        } else {
            REQUIRE(line == "line of forty characters, more or less");
        }
    }
    return lines + lost;
}

}  // namespace

TEST_CASE("log: if it is not read no thread waits, and it says later what was lost")
{
    struct Kind {
        const char* what;
        Channel (*make)();
    };
    for (const Kind& kind :
         {Kind{"pipe", make_pipe}, Kind{"terminal", make_terminal}, Kind{"socket", make_socket}}) {
        CAPTURE(kind.what);
        const Channel channel = kind.make();
        const Talker talker(channel);
        talker.wait_until_said();
        std::string text = drain(channel);
        talker.tell();
        talker.wait_until_said();
        text += drain(channel);
        CHECK(text.find(" lines lost") != std::string::npos);
        CHECK(check_lines_are_whole(text) == 20'004);
    }
}

TEST_CASE("log: a terminal that Ctrl-S has stopped delays no thread")
{
    const Channel channel = make_terminal();
    REQUIRE(::write(channel.read.get(), "\x13", 1) == 1);
    const Talker talker(channel);
    talker.wait_until_said();
    REQUIRE(::write(channel.read.get(), "\x11", 1) == 1);
    std::string text = drain(channel);
    talker.tell();
    talker.wait_until_said();
    text += drain(channel);
    CHECK(check_lines_are_whole(text) == 20'004);
}

TEST_CASE("log: does not change the flags of a stream that it shares")
{
    const Channel channel = make_terminal();
    const Talker talker(channel);
    talker.wait_until_said();
    CHECK((::fcntl(channel.write.get(), F_GETFL) & O_NONBLOCK) == 0);
}
