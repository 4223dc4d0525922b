// qr.hpp -- an address as a QR code, so that it need not be typed on a phone.
#pragma once

#include <string>
#include <vector>

namespace ground::board {

// Its rows, from the top, '1' for dark. Empty if the text is too long, or if the board was built
// without libqrencode.
[[nodiscard]] std::vector<std::string> qr_code(const std::string& text);

}  // namespace ground::board
