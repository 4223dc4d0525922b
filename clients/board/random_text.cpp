#include "clients/board/random_text.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <sys/random.h>

#include <array>

namespace ground::board {

std::string random_text()
{
    std::array<unsigned char, 16> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
        throw ClientError("the kernel has no random numbers");
    }
    std::string text;
    for (const unsigned char byte : bytes) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

}  // namespace ground::board
