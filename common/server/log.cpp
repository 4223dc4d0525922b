#include "common/server/log.hpp"

#include "common/base/descriptor.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <mutex>

namespace ground {

namespace {

bool silent = false;

// stderr, without ever waiting for who should read it: a pipe that is full, a terminal after
// Ctrl-S.
//
// O_NONBLOCK is not for this descriptor alone, but for whoever shares what it refers to: set it on
// a terminal, and the shell has it, too. So a pipe and a terminal are opened once more, for
// ourselves. A socket can be told with each message, a file does not block. Where opening is not
// allowed (the pipe was made by another user) we look first whether there is room; what another
// process writes in between can still make us wait.
class Stderr {
  public:
    Stderr() noexcept
    {
        struct stat status {};
        if (::fstat(STDERR_FILENO, &status) == 0) {
            socket_ = S_ISSOCK(status.st_mode);
            if (S_ISFIFO(status.st_mode) || ::isatty(STDERR_FILENO) == 1) {
                own_ = Descriptor(
                    ::open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
            }
        }
    }

    void write(std::string_view line)
    {
        const std::lock_guard lock(mutex_);
        std::string text = begun_;
        if (lost_ > 0) {
            text += fmt::format("{} lines lost: nobody took them\n", lost_);
        }
        text += line;
        const std::size_t written = try_write(text);
        if (written > begun_.size()) {
            lost_ = 0;
            begun_ = text.substr(written);
        } else {
            ++lost_;
            begun_.erase(0, written);
        }
    }

  private:
    [[nodiscard]] std::size_t try_write(std::string_view text) noexcept
    {
        ssize_t size = 0;
        if (socket_) {
            size = ::send(STDERR_FILENO, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (own_.get() != -1) {
            size = ::write(own_.get(), text.data(), text.size());
        } else {
            size = log_detail::write_if_there_is_room(text);
        }
        return size > 0 ? static_cast<std::size_t>(size) : 0;
    }

    Descriptor own_;
    bool socket_ = false;
    std::mutex mutex_;
    std::string begun_;  // the rest of a line: a terminal may take a part
    std::size_t lost_ = 0;
};

}  // namespace

void silence_connection_log() noexcept { silent = true; }

bool connection_log_is_silent() noexcept { return silent; }

void log_lost(const std::exception_ptr& error) noexcept
try {
    if (error) {
        std::rethrow_exception(error);
    }
} catch (const std::exception& lost) {
    try {
        connection_log("Lost a client: {}", lost.what());
    } catch (const std::exception&) {
        // No memory for a log line is no reason to end.
    }
} catch (...) {
    // What is no std::exception is no error, but how a green thread is told to end.
}

void log_detail::write_line(std::string line) noexcept
try {
    line.push_back('\n');
    static auto* const output = new Stderr;  // for ever: threads may outlive main()
    output->write(line);
} catch (const std::exception&) {
    // No memory for a log line is no reason to end.
}

ssize_t log_detail::write_if_there_is_room(std::string_view line) noexcept
{
    pollfd room{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&room, 1, 0) == 1 ? ::write(STDERR_FILENO, line.data(), line.size()) : 0;
}

}  // namespace ground
