// fuzz.hpp -- what the fuzzers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

// Checks one input; libFuzzer gives it this name. It throws if a property does not hold. libFuzzer
// does not catch that, and keeps the input. replay.cpp catches it, and names the file.
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
