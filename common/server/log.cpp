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

// Writes to stderr and never waits for its reader, for example at a full pipe or at a terminal
// after Ctrl-S.
//
// O_NONBLOCK holds for all processes that share the open file: set on a terminal, it also holds for
// the shell. So a pipe or a terminal is opened once more, for us alone. For a socket each call has
// a flag for that, and a file does not block. If we may not open the pipe, because another user
// made it, we check first whether there is room. Then another process that writes in between can
// still make us wait.
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
            text += fmt::format("{} lines lost: stderr was not read\n", lost_);
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
    std::string begun_;  // the rest of a line, of which the terminal has taken only a part
    std::size_t lost_ = 0;
};

}  // namespace

void silence_connection_log() noexcept { silent = true; }

bool connection_log_is_silent() noexcept { return silent; }

void log_error(const std::exception_ptr& error) noexcept
try {
    if (error) {
        std::rethrow_exception(error);
    }
} catch (const std::exception& lost) {
    try {
        connection_log("Lost a client: {}", lost.what());
    } catch (const std::exception&) {
        // Without memory for a log line the server continues.
    }
} catch (...) {
    // Anything but a std::exception is no error: it tells a green thread to end.
}

void log_detail::write_line(std::string line) noexcept
try {
    line.push_back('\n');
    static auto* const output = new Stderr;  // never destroyed: threads may outlive main()
    output->write(line);
} catch (const std::exception&) {
    // Without memory for a log line the server continues.
}

ssize_t log_detail::write_if_there_is_room(std::string_view line) noexcept
{
    pollfd room{STDERR_FILENO, POLLOUT, 0};
    return ::poll(&room, 1, 0) == 1 ? ::write(STDERR_FILENO, line.data(), line.size()) : 0;
}

}  // namespace ground
