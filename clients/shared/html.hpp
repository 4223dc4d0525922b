// html.hpp -- pages that need no other file: the program contains their parts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

// Puts a file into this object file when it is assembled, so that the program does not need the
// file when it runs. CMakeLists.txt knows the directories, and compiles the source again when one
// of the files changes.
#define EMBED(name, file)                                                      \
    asm(".pushsection .rodata\n"                                               \
        ".balign 8\n"                                                          \
        ".globl " #name                                                        \
        "_size\n"                                                              \
        ".hidden " #name "_size\n" #name "_size: .quad " #name "_end - " #name \
        "\n"                                                                   \
        ".globl " #name                                                        \
        "\n"                                                                   \
        ".hidden " #name "\n" #name ": .incbin \"" file "\"\n" #name           \
        "_end:\n"                                                              \
        ".popsection\n");                                                      \
    extern "C" const std::uint64_t name##_size;                                \
    extern "C" const char name[] /* NOLINT(bugprone-macro-parentheses) */

namespace ground {

// The skeleton with each {{name}} replaced by that part. A {{name}} inside a part stays as it is.
[[nodiscard]] std::string fill(std::string_view skeleton,
                               const std::map<std::string_view, std::string_view>& parts);

// JSON for a <script> element. The element ends at the first "</script", and "<!--" may confuse it,
// wherever that is. In JSON a '<' is always in a string, and may be written differently.
[[nodiscard]] std::string for_script(std::string_view json);

}  // namespace ground
