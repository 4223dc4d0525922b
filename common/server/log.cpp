#include "common/server/log.hpp"

#include <unistd.h>

namespace ground {

namespace {
bool silent = false;
}

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
}

void log_detail::write_line(std::string line) noexcept
{
    line.push_back('\n');
    // Nobody is left to tell if this fails.
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace ground
