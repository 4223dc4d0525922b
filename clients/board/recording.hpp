// recording.hpp -- what a recorded page contains, taken out of it again.
#pragma once

#include <string>

namespace ground::board {

// Both are JSON arrays, as the page has them.
struct Recording {
    std::string stages;
    std::string frames;
};

// Throws ClientError if the file can't be read or is no recording of the board's.
[[nodiscard]] Recording read_recording(const std::string& file);

}  // namespace ground::board
