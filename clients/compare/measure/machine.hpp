// machine.hpp -- the machine that figures come from: they mean little without it.
#pragma once

#include <cstdint>
#include <string>

namespace ground {

struct Machine {
    std::string cpu;           // its model, as /proc/cpuinfo has it
    unsigned cpus = 0;         // those that this process may use
    std::uint64_t memory = 0;  // bytes
    std::string kernel;        // "Linux 6.1.0"
    std::string compiler;      // the compiler of this program, and so of the stages beside it
    std::string build;         // CMake's build type
};

[[nodiscard]] Machine this_machine();

// "AMD EPYC, 2 CPUs, 24.0GB, Linux 6.1.0, GCC 12.2.0, Release build"
[[nodiscard]] std::string to_string(const Machine& machine);

// The arguments, quoted for a shell, to run the same again.
[[nodiscard]] std::string command_line(int argc, const char* const* argv);

// "2015-04-10T09:30:00Z": now.
[[nodiscard]] std::string date_and_time();

}  // namespace ground
