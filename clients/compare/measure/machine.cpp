#include "clients/compare/measure/machine.hpp"

#include "clients/shared/format.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <fstream>
#include <string_view>

namespace ground {

namespace {

std::string cpu_model()
{
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const std::size_t colon = line.find(": ");
        if (line.starts_with("model name") && colon != std::string::npos) {
            return line.substr(colon + 2);
        }
    }
    return "unknown CPU";
}

// As you would type it in a shell: in quotes, if the shell would change anything in it.
std::string quoted(std::string_view word)
{
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 ||
               std::string_view("-_./=:,%+@").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (plain) {
        return std::string(word);
    }
    std::string text(1, '\'');
    for (const char c : word) {
        text += c == '\'' ? std::string_view("'\\''") : std::string_view(&c, 1);
    }
    text += '\'';
    return text;
}

}  // namespace

Machine this_machine()
{
    Machine machine;
    machine.cpu = cpu_model();
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        machine.cpus = static_cast<unsigned>(CPU_COUNT(&set));
    }
    machine.memory = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                     static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    utsname system{};
    ::uname(&system);
    machine.kernel = fmt::format("{} {}", system.sysname, system.release);
#ifdef __clang__
    machine.compiler = fmt::format("clang {}", __clang_version__);
#else
    machine.compiler = fmt::format("GCC {}", __VERSION__);
#endif
    machine.build = BUILD_TYPE;
    return machine;
}

std::string to_string(const Machine& machine)
{
    return fmt::format("{}, {} CPU{}, {}, {}, {}, {} build", machine.cpu, machine.cpus,
                       machine.cpus == 1 ? "" : "s",
                       format_bytes(static_cast<double>(machine.memory)), machine.kernel,
                       machine.compiler, machine.build);
}

std::string command_line(int argc, const char* const* argv)
{
    std::string text;
    for (int i = 0; i < argc; ++i) {
        text += fmt::format("{}{}", i == 0 ? "" : " ", quoted(argv[i]));
    }
    return text;
}

std::string date_and_time()
{
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace ground
