// log.hpp -- what a server says while it runs: one line on stderr for each event.
//
// Every line is one write(), so lines of several threads never mix. Writing never throws and never
// waits: a server keeps serving when its terminal has gone or its stderr is not read. A line that
// can't be written at once is lost, and counted: "7 lines lost" precedes the next line that can be
// written.
#pragma once

#include <fmt/format.h>

#include <sys/types.h>

#include <exception>
#include <string>
#include <string_view>

namespace ground {

namespace log_detail {
void write_line(std::string line) noexcept;

// Needs no lock, no memory and no descriptor except stderr. Async-signal-safe.
ssize_t write_if_there_is_room(std::string_view line) noexcept;
}  // namespace log_detail

// Turns connection_log() off (--quiet). Call before the first thread is started.
void silence_connection_log() noexcept;
[[nodiscard]] bool connection_log_is_silent() noexcept;

// Logs what concerns the whole server.
template <typename... Args>
void log(fmt::format_string<Args...> format, Args&&... args)
{
    log_detail::write_line(fmt::format(format, std::forward<Args>(args)...));
}

// Logs what concerns one connection.
template <typename... Args>
void connection_log(fmt::format_string<Args...> format, Args&&... args)
{
    if (!connection_log_is_silent()) {
        log_detail::write_line(fmt::format(format, std::forward<Args>(args)...));
    }
}

// Logs the error that has ended a connection, for example "Lost a client: Connection reset by
// peer". Logs nothing if there is no error.
void log_error(const std::exception_ptr& error) noexcept;

}  // namespace ground
