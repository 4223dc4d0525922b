// io_uring_missing.cpp -- what 07c_io_uring says on a machine without io_uring.
//
// A container or an administrator may forbid io_uring, and older kernels lack it. Or there is no
// memory for one more ring (see asio.cpp). Asio then throws where the stage makes its io_context.
// The source of the stage is that of 07, byte for byte, and 07 can't fail like this. So the message
// comes from here, when the program terminates.
#include "common/server/log.hpp"
#include "common/server/options.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <system_error>

namespace {

[[noreturn]] void end_with_a_line() noexcept
{
    try {
        if (const auto error = std::current_exception()) {
            std::rethrow_exception(error);
        }
    } catch (const std::system_error& error) {
        if (std::string_view(error.what()).starts_with("io_uring")) {
            ground::log("{}: no io_uring here ({}); {}, or run 07_coroutines", ground::about.name,
                        error.what(),
                        error.code().value() == ENOMEM
                            ? "your programs share ulimit -l, so end another one that has a ring"
                            : "see sysctl kernel.io_uring_disabled and what your container allows");
            ::_exit(EXIT_FAILURE);
        }
    } catch (...) {  // it is not about io_uring
    }
    std::abort();
}

[[maybe_unused]] const std::terminate_handler before = std::set_terminate(end_with_a_line);

}  // namespace
