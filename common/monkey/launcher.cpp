// launcher.cpp -- 06c_monkey_patch, the program: it runs another one with its threads made green.
//
// A dynamically linked program does not contain recv(), only its name. When the program starts, the
// dynamic loader looks through the libraries, in order, for a function of that name. A library that
// LD_PRELOAD names comes before all others, even libc. So this launcher does little: it names a
// library and becomes the program.
//
// There are two libraries. --five chooses the stage's library, stages/06c_monkey_patch.cpp: five
// functions, which are enough for 02_threads. Without it, the launcher takes the library in this
// folder, which is enough for many more programs. Read this folder in this order:
//
//   trying.hpp     recv() and the like: try, and wait for the descriptor
//   files.cpp      to wait for a descriptor: a list of waiting threads, and epoll
//   scheduler.cpp  to wait at all: park() lets the next one run, wake() makes it ready again
//   timers.cpp     to wait for the clock
//   switch.cpp     to let the next one run: six registers and the stack pointer
//   blocks.cpp     what else belongs to a thread: its thread_locals
//   life.cpp       how a thread begins and ends, and what happens to its stack
//
//   sockets.cpp, reading.cpp, descriptors.cpp, sleeping.cpp, threads.cpp, c11.cpp, locks.cpp,
//   futex.cpp, processes.cpp: the functions that are replaced, by what they wait for
//
//   signals.cpp    signals that end a thread's wait
//   masks.cpp      each thread blocks signals of its own
//   cancel.cpp     pthread_cancel()

#include <fmt/format.h>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace {

constexpr const char* name = "06c_monkey_patch";

constexpr std::string_view usage =
    "06c_monkey_patch [--five] PROGRAM [ARGUMENT...]\n"
    "06c_monkey_patch --list\n"
    "\n"
    "Runs a program with its threads made green: all of them on one kernel thread.\n"
    "Watch 02_threads serve 10,000 clients with it, and ps -T show one thread.\n"
    "\n"
    "  --five  with nothing but the five functions of stages/06c_monkey_patch.cpp: for 02_threads\n"
    "  --list  prints the functions that are replaced, and runs nothing\n"
    "  --help  prints this\n";

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args)
{
    fmt::print(stderr, "{}: {}\n", name, fmt::format(format, std::forward<Args>(args)...));
    std::exit(EXIT_FAILURE);
}

void print(std::string_view text)
{
    fmt::print("{}", text);
    if (std::fflush(stdout) != 0) {
        fail("can't write to stdout: {}", std::strerror(errno));
    }
}

// What this build lacks for the library of this folder; empty if it lacks nothing.
constexpr std::string_view lacks()
{
#if !defined(__x86_64__)
    return "it is written for x86-64 processors, and this is another one; --five works for "
           "02_threads";
#elif !defined(__GLIBC__)
    return "it needs glibc";
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return "this is a build with a sanitizer, which replaces the same functions";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return "this is a build with a sanitizer, which replaces the same functions";
#endif
#endif
    return "";
}

// The libraries stand beside this program.
std::string find_library(bool five)
{
    std::error_code unknown;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unknown);
    const std::filesystem::path library =
        self.parent_path() / (five ? "06c_monkey_patch_five.so" : "06c_monkey_patch.so");
    if (!unknown && std::filesystem::exists(library)) {
        return library.string();
    }
    if (!five && !lacks().empty()) {
        fail("there is no library to preload: {}", lacks());
    }
    fail("there is no library to preload: {} is missing; {}", library.string(),
         five ? "it takes Boost.Context, and no sanitizer" : "build monkey_patch");
}

// The library has a line for each family of functions.
void list(const std::string& library)
{
    void* const handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    void* const lines = handle == nullptr ? nullptr : ::dlsym(handle, "green_patched");
    if (lines == nullptr) {
        fail("{}", ::dlerror());
    }
    std::string text;
    const auto line_at = reinterpret_cast<const char* (*)(std::size_t)>(lines);
    for (std::size_t i = 0; const char* line = line_at(i); ++i) {
        text += fmt::format("{}\n", line);
    }
    print(text);
}

// Finds the program as execvp() would.
std::string find_program(const std::string& program)
{
    if (program.find('/') != std::string::npos) {
        return program;
    }
    const char* const path = std::getenv("PATH");
    std::string_view left = path == nullptr ? "/bin:/usr/bin" : path;
    while (!left.empty()) {
        const std::size_t end = std::min(left.find(':'), left.size());
        std::string candidate = fmt::format("{}/{}", left.substr(0, end), program);
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        left.remove_prefix(std::min(end + 1, left.size()));
    }
    return program;
}

// A program without an interpreter (the dynamic loader) can't load libraries. It would run
// unpatched, without a message. A script is patched if the program that runs it can be.
bool is_static(const std::string& program)
{
    std::ifstream file(program, std::ios::binary);
    Elf64_Ehdr header{};
    if (!file.read(reinterpret_cast<char*>(&header), sizeof header) ||
        std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        return false;
    }
    file.seekg(static_cast<std::streamoff>(header.e_phoff));
    for (int i = 0; i < header.e_phnum; ++i) {
        Elf64_Phdr part{};
        if (file.read(reinterpret_cast<char*>(&part), sizeof part) && part.p_type == PT_INTERP) {
            return false;
        }
    }
    return true;
}

// LD_PRELOAD separates libraries by colons and spaces, so a path can't contain those. If it does,
// the library is opened here and named by its descriptor. (The library itself closes that.)
std::string without_separators(const std::string& library)
{
    if (library.find_first_of(": ") == std::string::npos) {
        return library;
    }
    const int fd = ::open(library.c_str(), O_RDONLY);
    if (fd == -1) {
        fail("can't open {}: {}", library, std::strerror(errno));
    }
    return fmt::format("/proc/self/fd/{}", fd);
}

// Puts the library before those that are there already: it must be searched first.
void preload(const std::string& library)
{
    const char* const others = std::getenv("LD_PRELOAD");
    const bool alone = others == nullptr || *others == '\0';
    const std::string all = alone ? library : fmt::format("{}:{}", library, others);
    ::setenv("LD_PRELOAD", all.c_str(), 1);
}

}  // namespace

int main(int argc, char** argv)
{
    const bool five = argc > 1 && std::string_view(argv[1]) == "--five";
    char** const command = argv + (five ? 2 : 1);
    const std::string_view first = *command != nullptr ? *command : "";
    if (!five && (first == "--help" || first == "-h")) {
        print(usage);
        return EXIT_SUCCESS;
    }
    if (first.empty() || (first.starts_with('-') && (five || first != "--list"))) {
        fmt::print(stderr, "{}: {}; try --help\n", name,
                   first.empty() ? "name a program to run" : fmt::format("no option {}", first));
        return 2;
    }
    const std::string library = find_library(five);
    if (first == "--list") {
        list(library);
        return EXIT_SUCCESS;
    }
    const std::string program = find_program(std::string(first));
    if (::access(program.c_str(), X_OK) != 0) {
        fail("can't run {}: {}; give the path of a program", program, std::strerror(errno));
    }
    if (is_static(program)) {
        fail("{} is statically linked: it takes no function from a library", program);
    }
    preload(without_separators(library));
    ::execv(program.c_str(), command);
    fail("can't run {}: {}", program, std::strerror(errno));
}
