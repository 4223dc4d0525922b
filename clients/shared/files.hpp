// files.hpp -- the files that a user names on a command line, as a whole.
#pragma once

#include <string>

namespace ground {

// Throws ClientError if it can't be read.
[[nodiscard]] std::string read_file(const std::string& name);

// Throws ClientError unless all of the text is in the file.
void write_file(const std::string& name, const std::string& text);

}  // namespace ground
