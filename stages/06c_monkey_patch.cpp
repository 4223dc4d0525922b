// 06c_monkey_patch.cpp -- an existing program with threads, made green without touching it.
//
// Changed since 06b_greenlets: no program is written; one that is there already is run, and the
//         functions by which it starts threads, waits, receives and sends are replaced.
// Buys:   the source of 02, and even its binary, with the cost of 06b; it works for programs that
//         nobody here wrote.
// Costs:  one core; and whatever was not replaced stops everybody, without a word.
// Leaves: nobody sees in the source where it waits. 07_coroutines says it at every co_await.

// A dynamically linked program does not contain recv(). It contains the name, and when it is
// started the dynamic loader looks through the libraries, in order, for one that has a function of
// that name. A library that LD_PRELOAD names stands before all others, libc included. So this
// launcher does little: it names one and becomes the program.
//
// What then happens is in the folder common/monkey, in this order to be read:
//
//   sockets.cpp    recv() and its like: try, and wait for the descriptor. try_and_wait() is the
//                  lesson: begin there
//   files.cpp      to wait for a descriptor: a list of those who wait, and epoll
//   scheduler.cpp  to wait at all: park() lets the next one run, wake() makes it ready again
//   switch.cpp     to let the next one run: six registers and the stack pointer
//   blocks.cpp     what else belongs to a thread: its thread_locals
//   locks.cpp      threads that wait for each other
//   threads.cpp    pthread_create() and what goes with it
//   sleeping.cpp   poll(), select(), sleep()
//   signals.cpp    signals that end somebody's wait

#include <fmt/format.h>

#include <dlfcn.h>
#include <elf.h>
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
    "06c_monkey_patch PROGRAM [ARGUMENT...]\n"
    "06c_monkey_patch --list\n"
    "\n"
    "Runs a program with its threads made green: all of them on one kernel thread.\n"
    "Watch 02_threads serve 10,000 clients with it, and ps -T show one thread.\n"
    "\n"
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

// The library stands beside this program.
std::string find_library()
{
    std::error_code unknown;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", unknown);
    const std::filesystem::path library = self.parent_path() / "06c_monkey_patch.so";
    if (unknown || !std::filesystem::exists(library)) {
        fail("this build has no library to preload: that takes x86-64, glibc, and no sanitizer");
    }
    return library.string();
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

// As execvp() would find it.
std::string find_program(const std::string& program)
{
    if (program.find('/') != std::string::npos) {
        return program;
    }
    const char* const path = std::getenv("PATH");
    std::string_view left = path == nullptr ? "/bin:/usr/bin" : path;
    while (!left.empty()) {
        const std::size_t end = std::min(left.find(':'), left.size());
        const std::string candidate = fmt::format("{}/{}", left.substr(0, end), program);
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        left.remove_prefix(std::min(end + 1, left.size()));
    }
    return program;
}

// A program without an interpreter (the dynamic loader) has nobody who would look for libraries; it
// would run as it is, and nobody would notice. A script has, if what runs it has.
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

// Before what is there already: it has to be the first who is asked.
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
    const std::string_view first = argc > 1 ? argv[1] : "";
    if (first == "--help" || first == "-h") {
        print(usage);
        return EXIT_SUCCESS;
    }
    if (first.empty() || (first.starts_with('-') && first != "--list")) {
        fmt::print(stderr, "{}: {}; try --help\n", name,
                   first.empty() ? "name a program to run" : fmt::format("no option {}", first));
        return 2;
    }
    const std::string library = find_library();
    if (first == "--list") {
        list(library);
        return EXIT_SUCCESS;
    }
    const std::string program = find_program(argv[1]);
    if (::access(program.c_str(), X_OK) != 0) {
        fail("can't run {}: {}; give the path of a program", program, std::strerror(errno));
    }
    if (is_static(program)) {
        fail("{} is statically linked: it asks nobody for its functions", program);
    }
    preload(library);
    ::execv(program.c_str(), argv + 1);
    fail("can't run {}: {}", program, std::strerror(errno));
}
