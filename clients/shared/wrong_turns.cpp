#include "clients/shared/wrong_turns.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace ground {

WrongTurn find_wrong_turn(const Catalogue& catalogue, const std::string& directory,
                          const std::string& name)
{
    const std::filesystem::path folder = std::filesystem::path(directory) / "wrong_turns";
    std::ifstream table(folder / "wrong_turns.tsv");
    std::vector<std::string> names;
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        std::string its_name;
        std::string stage;
        std::string options;
        std::string story;
        std::string file;
        for (std::string* const field : {&its_name, &stage, &options, &story, &file}) {
            std::getline(fields, *field, '\t');
        }
        names.push_back(its_name);
        if (its_name != name) {
            continue;
        }
        WrongTurn turn{.entry = find_stage(catalogue, stage), .options = {}, .story = {}};
        turn.entry.name = name;
        turn.entry.program = folder / name;
        turn.entry.file = file;
        std::ifstream source(folder / (name + ".cpp"), std::ios::binary);
        turn.entry.source.assign(std::istreambuf_iterator<char>(source), {});
        std::istringstream words(options == "-" ? "" : options);
        turn.options.assign(std::istream_iterator<std::string>(words), {});
        std::istringstream parts(story == "-" ? "" : story);
        std::string count;
        parts >> turn.story >> count;
        turn.counts = count == "count";
        if (::access(turn.entry.program.c_str(), X_OK) != 0) {
            throw ClientError(
                fmt::format("{0} is not built; type: scripts/wrong-turn {0} --build", name));
        }
        return turn;
    }
    throw ClientError(
        fmt::format("there is no wrong turn '{}'; there are: {}", name, fmt::join(names, ", ")));
}

}  // namespace ground
