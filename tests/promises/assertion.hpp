// assertion.hpp -- what was seen and what was promised, from an assertion that has failed.
#pragma once

#include <string>
#include <string_view>

namespace ground::test {

struct SeenAndPromised {
    std::string seen;
    std::string promised;  // empty if the assertion does not say it
};

// From an assertion that has failed: its source text, such as `client.ask("1\n") == "1"`, and its
// values, such as `2 == 1`.
[[nodiscard]] SeenAndPromised from_assertion(std::string_view source, std::string_view values);

// The right side of a comparison with a text, such as `client.ask("1\n") == "1"`.
[[nodiscard]] std::string promised_text(std::string_view source);

}  // namespace ground::test
