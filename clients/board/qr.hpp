// qr.hpp -- an address as a QR code, for phones that would rather not type it.
#pragma once

#include <string>
#include <vector>

namespace ground::board {

// Its rows, from the top, '1' for dark. Empty if the text is too long, or if the board was built
// without libqrencode.
[[nodiscard]] std::vector<std::string> qr_code(const std::string& text);

}  // namespace ground::board
