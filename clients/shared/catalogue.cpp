#include "clients/shared/catalogue.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace ground {

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// How well a stage's name fits: exactly, by its first word, or by its beginning.
bool fits(const std::string& name, const std::string& text, int how)
{
    return how == 0   ? name == text
           : how == 1 ? name.starts_with(text + "_")
                      : name.starts_with(text);
}

fs::path source_directory(const fs::path& stages)
{
    const fs::path installed = stages.parent_path() / "source";
    return fs::is_directory(installed) ? installed : fs::path(SOURCE_DIRECTORY);
}

bool is_program(const fs::path& path)
{
    return fs::is_regular_file(path) && ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

Catalogue read_catalogue(const std::string& directory)
{
    Catalogue catalogue;
    std::ifstream table(fs::path(directory) / "stages.tsv");
    const fs::path sources = source_directory(directory);
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        StageEntry stage;
        std::string group;
        std::string since;
        for (std::string* const field :
             {&stage.name, &group, &stage.model, &since, &stage.traits, &stage.file}) {
            std::getline(fields, *field, '\t');
        }
        stage.program = fs::path(directory) / stage.name;
        if (stage.model == "no server") {
            catalogue.others.push_back(stage.name);
        } else if (::access(stage.program.c_str(), X_OK) == 0) {
            stage.source = read_file(sources / stage.file);
            stage.page = read_file(sources / "docs" / (stage.name + ".md"));
            catalogue.stages.push_back(std::move(stage));
        }
    }
    return catalogue;
}

void add_patched(Catalogue& catalogue, const std::string& directory)
{
    const std::string name = "06c_monkey_patch";
    const auto found = [&](const std::string& wanted) {
        return std::find_if(catalogue.stages.begin(), catalogue.stages.end(),
                            [&](const StageEntry& stage) { return stage.name == wanted; });
    };
    const auto patched = found("02_threads");
    const auto before = found("06b_greenlets");
    const fs::path program = fs::path(directory) / name;
    if (patched == catalogue.stages.end() || !is_program(program)) {
        return;
    }
    StageEntry stage = *patched;
    stage.name = name;
    stage.model = "one thread for all clients";
    stage.program = program;
    stage.page = read_file(source_directory(directory) / "docs" / (name + ".md"));
    stage.arguments = {patched->program};
    const auto place = before == catalogue.stages.end() ? before : std::next(before);
    catalogue.stages.insert(place, std::move(stage));
}

StageEntry own_program(const Catalogue& catalogue, const std::string& path)
{
    std::vector<fs::path> found;
    std::error_code failed;
    if (fs::is_directory(path, failed)) {
        for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
            if (is_program(entry.path())) {
                found.push_back(entry.path());
            }
        }
    } else if (is_program(path)) {
        found.emplace_back(path);
    }
    if (found.size() != 1) {
        throw ClientError(found.empty()
                              ? fmt::format("there is no program '{}'; build it first", path)
                              : fmt::format("there are {} programs in '{}'; name one of them",
                                            found.size(), path));
    }
    StageEntry program;
    const std::string name = found.front().filename();
    program.name = "yours: " + name;
    program.model = "a program of yours";
    program.program = fs::absolute(found.front());
    for (const StageEntry& stage : catalogue.stages) {
        if (stage.name == name) {
            program.model = stage.model;
            program.page = stage.page;
        }
    }
    return program;
}

// The compiler's name is a path below our directory, or any other that is to be taken as it is.
void find_source(StageEntry& program, const std::string& file)
{
    program.file = file;
    program.source = read_file(fs::path(SOURCE_DIRECTORY) / file);
}

const StageEntry& find_stage(const Catalogue& catalogue, const std::string& name)
{
    if (catalogue.stages.empty()) {
        throw ClientError("there are no stages; build them first: cmake --build build/release");
    }
    std::vector<std::string> names;
    bool several = false;
    for (int how = 0; how < 3; ++how) {
        const StageEntry* found = nullptr;
        several = false;
        for (const StageEntry& stage : catalogue.stages) {
            if (fits(stage.name, name, how)) {
                several = found != nullptr;
                found = found == nullptr ? &stage : found;
            }
        }
        if (found != nullptr && !several) {
            return *found;
        }
        for (const std::string& other : catalogue.others) {
            if (fits(other, name, how) && found == nullptr) {
                throw ClientError(fmt::format(
                    "{0} is no server, so there is nothing to show; see docs/{0}.md", other));
            }
        }
    }
    for (const StageEntry& stage : catalogue.stages) {
        names.push_back(stage.name);
    }
    throw ClientError(fmt::format("{} has the name '{}'; there are: {}",
                                  several ? "more than one stage" : "no stage", name,
                                  fmt::join(names, ", ")));
}

}  // namespace ground
