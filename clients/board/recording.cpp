#include "clients/board/recording.hpp"

#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <string_view>

namespace ground::board {

namespace {

using Json = nlohmann::ordered_json;

// The JSON of the element with this id. Discarded if there is none, or if it is something else.
Json element(std::string_view page, std::string_view id)
{
    const std::string tag = fmt::format(R"(<script type="application/json" id="{}">)", id);
    const std::size_t begin = page.find(tag);
    const std::size_t end = page.find("</script>", begin);
    if (begin == std::string_view::npos || end == std::string_view::npos) {
        return Json::value_t::discarded;
    }
    return Json::parse(page.substr(begin + tag.size(), end - begin - tag.size()), nullptr, false);
}

bool all_have(const Json& list, const char* name, Json::value_t type)
{
    return list.is_array() && !list.empty() &&
           std::all_of(list.begin(), list.end(), [&](const Json& entry) {
               return entry.is_object() && entry.contains(name) && entry[name].type() == type;
           });
}

}  // namespace

Recording read_recording(const std::string& file)
{
    const std::string page = read_file(file);
    const Json stages = element(page, "stages");
    const Json frames = element(page, "frames");
    if (!all_have(stages, "name", Json::value_t::string) ||
        !all_have(frames, "t", Json::value_t::number_unsigned)) {
        throw ClientError(fmt::format(
            "'{}' is no recording of the board's; board 04 --for 20 --record 04.html makes one",
            file));
    }
    return {stages.dump(), frames.dump()};
}

}  // namespace ground::board
