// catalogue.hpp -- the stages that board and explore can run: those that are built.
#pragma once

#include <string>
#include <vector>

namespace ground {

struct StageEntry {
    std::string name;     // "05_futures"
    std::string model;    // "one thread for all clients"
    std::string traits;   // "pool,select"
    std::string program;  // its path
    std::string
        file;  // its source, as the table and __builtin_FILE() have it: "stages/05_futures.cpp"
    std::string source;                       // the text of that; empty if it no longer exists
    std::string page;                         // the text of docs/05_futures.md
    std::vector<std::string> arguments = {};  // that the program needs before its options
};

struct Catalogue {
    std::vector<StageEntry> stages;
    std::vector<std::string> others;  // those that are no servers, by name
};

// From the table that CMake has put beside the stages. It lists those that have been built.
[[nodiscard]] Catalogue read_catalogue(const std::string& directory);

// Adds 06c, if it is built. It is no server, and runs the program of 02, so it is shown with the
// source of that.
void add_patched(Catalogue& catalogue, const std::string& directory);

// A server of one's own: this file, or the only program in this folder. If it has the name of a
// stage, as in a lab, it is taken for one of that kind. Its source is found when it runs. Throws
// ClientError.
[[nodiscard]] StageEntry own_program(const Catalogue& catalogue, const std::string& path);

// The source of a server of one's own, by the name that the compiler knew it by.
void find_source(StageEntry& program, const std::string& file);

// The stage with this name, or the only one whose name begins like this: "05", "05_futures". Throws
// ClientError.
[[nodiscard]] const StageEntry& find_stage(const Catalogue& catalogue, const std::string& name);

}  // namespace ground
