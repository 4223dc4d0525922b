// files.hpp -- files that a user names on a command line, as a whole; where the programs are.
#pragma once

#include <filesystem>
#include <string>

namespace ground {

// The folder of this program. All clients are in it, and the folder of the stages is beside it.
[[nodiscard]] std::filesystem::path own_folder();

// Throws ClientError if it can't be read.
[[nodiscard]] std::string read_file(const std::string& name);

// Throws ClientError unless all of the text is in the file.
void write_file(const std::string& name, const std::string& text);

}  // namespace ground
