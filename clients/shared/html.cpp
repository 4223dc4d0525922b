#include "clients/shared/html.hpp"

namespace ground {

std::string fill(std::string_view skeleton,
                 const std::map<std::string_view, std::string_view>& parts)
{
    std::string text;
    for (auto open = skeleton.find("{{"); open != std::string_view::npos;
         open = skeleton.find("{{")) {
        const std::size_t close = skeleton.find("}}", open);
        text += skeleton.substr(0, open);
        text += parts.at(skeleton.substr(open + 2, close - open - 2));
        skeleton.remove_prefix(close + 2);
    }
    return text.append(skeleton);
}

std::string for_script(std::string_view json)
{
    std::string text;
    text.reserve(json.size());
    for (const char c : json) {
        text += c == '<' ? std::string_view("\\u003c") : std::string_view(&c, 1);
    }
    return text;
}

}  // namespace ground
