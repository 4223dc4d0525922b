#include "clients/shared/files.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

namespace ground {

std::filesystem::path own_folder()
{
    return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

std::string read_file(const std::string& name)
{
    std::ifstream file(name, std::ios::binary);
    if (!file) {
        throw ClientError(fmt::format("can't read {}", name));
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& name, const std::string& text)
{
    std::ofstream file(name, std::ios::binary);
    file << text;
    if (!file.flush()) {
        throw ClientError(fmt::format("can't write '{}'; choose another file", name));
    }
}

}  // namespace ground
