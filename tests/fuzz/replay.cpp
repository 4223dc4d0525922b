// replay.cpp -- the main() of a fuzzer without libFuzzer: checks each file that is named, and each
// file in the directories that are named.
#include "fuzz/fuzz.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

std::vector<fs::path> files_in(const fs::path& path)
{
    if (!fs::is_directory(path)) {
        return {path};
    }
    return {fs::directory_iterator(path), fs::directory_iterator()};
}

// Whether all properties hold.
bool check(const fs::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    if (!stream) {
        fmt::print(stderr, "{}: can't be read\n", file.string());
        return false;
    }
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    const std::vector<std::uint8_t> data(bytes.begin(), bytes.end());
    try {
        LLVMFuzzerTestOneInput(data.data(), data.size());
        return true;
    } catch (const std::exception& problem) {
        fmt::print(stderr, "{}: {}\n", file.string(), problem.what());
        return false;
    }
}

}  // namespace

int main(int argc, char** argv)
try {
    int checked = 0;
    int failed = 0;
    for (const char* const argument : std::vector<const char*>(argv + 1, argv + argc)) {
        for (const fs::path& file : files_in(argument)) {
            ++checked;
            failed += check(file) ? 0 : 1;
        }
    }
    fmt::print("{} inputs, {} findings\n", checked, failed);
    return checked > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
} catch (const std::exception& problem) {
    fmt::print(stderr, "{}\n", problem.what());
    return EXIT_FAILURE;
}
