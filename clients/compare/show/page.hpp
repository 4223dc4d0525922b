// page.hpp -- a comparison as a page to show and to keep.
#pragma once

#include "clients/compare/judge/comparison.hpp"

#include <string>

namespace ground {

// One HTML file that needs no other. It contains charts of the rates over time, the tables as
// format_table() has them, and the report of format_json(), from which the page draws them.
[[nodiscard]] std::string format_page(const Comparison& comparison);

}  // namespace ground
