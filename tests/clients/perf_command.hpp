// perf_command.hpp -- how the tests call perf.
#pragma once

#include "scripted_server.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace ground {

inline std::vector<std::string> perf(const ScriptedServer& server, std::vector<std::string> options)
{
    options.insert(options.begin(), {PERF_PATH, server.target()});
    return options;
}

inline bool contains(const std::string& text, std::string_view part)
{
    return text.find(part) != std::string::npos;
}

}  // namespace ground
