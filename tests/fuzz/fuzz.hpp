// fuzz.hpp -- what the fuzzers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

// Checks one input; this name is libFuzzer's. What does not hold is thrown: nobody catches it under
// libFuzzer, which then keeps the input, and replay.cpp names the file that it came from.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace ground {

class Finding : public std::logic_error {
    using std::logic_error::logic_error;
};

inline std::string_view as_text(const std::uint8_t* data, std::size_t size)
{
    return {reinterpret_cast<const char*>(data), size};
}

}  // namespace ground
