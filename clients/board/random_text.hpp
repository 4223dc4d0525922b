// random_text.hpp -- what cannot be guessed.
#pragma once

#include <string>

namespace ground::board {

// 128 random bits, in letters that need no quoting. Throws ClientError.
[[nodiscard]] std::string random_text();

}  // namespace ground::board
