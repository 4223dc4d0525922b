#include "clients/board/catalogue.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace ground::board {

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// How well a stage's name fits: the whole, its first word, a beginning.
bool fits(const std::string& name, const std::string& text, int how)
{
    return how == 0   ? name == text
           : how == 1 ? name.starts_with(text + "_")
                      : name.starts_with(text);
}

}  // namespace

std::vector<StageEntry> read_catalogue(const std::string& directory)
{
    std::vector<StageEntry> stages;
    std::ifstream table(fs::path(directory) / "stages.tsv");
    const fs::path installed = fs::path(directory).parent_path() / "source";
    const fs::path sources = fs::is_directory(installed) ? installed : fs::path(SOURCE_DIRECTORY);
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        StageEntry stage;
        std::string group;
        std::string since;
        std::string traits;
        for (std::string* const field :
             {&stage.name, &group, &stage.model, &since, &traits, &stage.file}) {
            std::getline(fields, *field, '\t');
        }
        stage.program = fs::path(directory) / stage.name;
        if (stage.model != "no server" && ::access(stage.program.c_str(), X_OK) == 0) {
            stage.source = read_file(sources / stage.file);
            stages.push_back(std::move(stage));
        }
    }
    return stages;
}

const StageEntry& find_stage(const std::vector<StageEntry>& stages, const std::string& name)
{
    if (stages.empty()) {
        throw ClientError("there are no stages; build them first: cmake --build build/release");
    }
    std::vector<std::string> names;
    for (int how = 0; how < 3; ++how) {
        const StageEntry* found = nullptr;
        bool several = false;
        for (const StageEntry& stage : stages) {
            if (fits(stage.name, name, how)) {
                several = found != nullptr;
                found = found == nullptr ? &stage : found;
            }
        }
        if (found != nullptr && !several) {
            return *found;
        }
    }
    for (const StageEntry& stage : stages) {
        names.push_back(stage.name);
    }
    throw ClientError(
        fmt::format("no single stage is called '{}'; there are: {}", name, fmt::join(names, ", ")));
}

}  // namespace ground::board
