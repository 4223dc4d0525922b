// log.hpp -- what a server says while it runs: one line on stderr for each event.
//
// Every line is one write(), so lines of several threads never mix. Writing never throws and never
// waits: a server whose terminal has gone, or that nobody reads, serves on. What can't be written
// at once is lost, and counted: the next line that can be written is preceded by "7 lines lost".
#pragma once

#include <fmt/format.h>

#include <sys/types.h>

#include <exception>
#include <string>
#include <string_view>

namespace ground {

namespace log_detail {
void write_line(std::string line) noexcept;

// As a bare function, for where there may be no lock, no memory and no descriptor but stderr.
// Async-signal-safe.
ssize_t write_if_there_is_room(std::string_view line) noexcept;
}  // namespace log_detail

// Turns connection_log() off (--quiet). Call before the first thread is started.
void silence_connection_log() noexcept;
[[nodiscard]] bool connection_log_is_silent() noexcept;

// For what concerns the whole server.
template <typename... Args>
void log(fmt::format_string<Args...> format, Args&&... args)
{
    log_detail::write_line(fmt::format(format, std::forward<Args>(args)...));
}

// For what concerns one connection.
template <typename... Args>
void connection_log(fmt::format_string<Args...> format, Args&&... args)
{
    if (!connection_log_is_silent()) {
        log_detail::write_line(fmt::format(format, std::forward<Args>(args)...));
    }
}

// "Lost a client: Connection reset by peer", for what has ended a connection before its time.
// Says nothing if there is no error.
void log_lost(const std::exception_ptr& error) noexcept;

}  // namespace ground
