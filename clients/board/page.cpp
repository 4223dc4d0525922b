#include "clients/board/page.hpp"

#include "clients/shared/html.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <string_view>

EMBED(board_head_html, BOARD_PAGE_DIRECTORY "/head.html");
EMBED(board_html, BOARD_PAGE_DIRECTORY "/board.html");
EMBED(board_overlays_html, BOARD_PAGE_DIRECTORY "/overlays.html");
EMBED(board_css, BOARD_PAGE_DIRECTORY "/board.css");
EMBED(board_words_js, BOARD_PAGE_DIRECTORY "/words.js");
EMBED(board_post_js, BOARD_PAGE_DIRECTORY "/post.js");
EMBED(board_model_js, BOARD_PAGE_DIRECTORY "/model.js");
EMBED(board_source_js, BOARD_PAGE_DIRECTORY "/source.js");
EMBED(board_lanes_js, BOARD_PAGE_DIRECTORY "/lanes.js");
EMBED(board_room_js, BOARD_PAGE_DIRECTORY "/room.js");
EMBED(board_room_css, BOARD_PAGE_DIRECTORY "/room.css");
EMBED(board_pair_html, BOARD_PAGE_DIRECTORY "/pair.html");
EMBED(board_pair_css, BOARD_PAGE_DIRECTORY "/pair.css");
EMBED(board_pair_js, BOARD_PAGE_DIRECTORY "/pair.js");
EMBED(board_pane_css, BOARD_PAGE_DIRECTORY "/pane.css");
EMBED(board_phone_html, BOARD_PAGE_DIRECTORY "/phone.html");
EMBED(board_phone_css, BOARD_PAGE_DIRECTORY "/phone.css");
EMBED(board_phone_js, BOARD_PAGE_DIRECTORY "/phone.js");
EMBED(board_player_html, BOARD_PAGE_DIRECTORY "/player.html");
EMBED(board_player_js, BOARD_PAGE_DIRECTORY "/player.js");
EMBED(board_beside_html, BOARD_PAGE_DIRECTORY "/beside.html");
EMBED(board_beside_js, BOARD_PAGE_DIRECTORY "/beside.js");
EMBED(board_scheduled_html, BOARD_PAGE_DIRECTORY "/scheduled.html");
EMBED(board_scheduled_css, BOARD_PAGE_DIRECTORY "/scheduled.css");
EMBED(board_scheduled_js, BOARD_PAGE_DIRECTORY "/scheduled.js");
EMBED(board_board_js, BOARD_PAGE_DIRECTORY "/board.js");

namespace ground::board {

namespace {

using Json = nlohmann::ordered_json;
using Parts = std::map<std::string_view, std::string_view>;

// This file of page/, with each {{name}} replaced: by one of these parts, or by the file of that
// name.
std::string filled(std::string_view file, Parts parts)
{
    static const Parts files{{"head.html", {board_head_html, board_head_html_size}},
                             {"board.html", {board_html, board_html_size}},
                             {"overlays.html", {board_overlays_html, board_overlays_html_size}},
                             {"board.css", {board_css, board_css_size}},
                             {"words.js", {board_words_js, board_words_js_size}},
                             {"post.js", {board_post_js, board_post_js_size}},
                             {"model.js", {board_model_js, board_model_js_size}},
                             {"source.js", {board_source_js, board_source_js_size}},
                             {"lanes.js", {board_lanes_js, board_lanes_js_size}},
                             {"room.js", {board_room_js, board_room_js_size}},
                             {"room.css", {board_room_css, board_room_css_size}},
                             {"pair.html", {board_pair_html, board_pair_html_size}},
                             {"pair.css", {board_pair_css, board_pair_css_size}},
                             {"pair.js", {board_pair_js, board_pair_js_size}},
                             {"pane.css", {board_pane_css, board_pane_css_size}},
                             {"phone.html", {board_phone_html, board_phone_html_size}},
                             {"phone.css", {board_phone_css, board_phone_css_size}},
                             {"phone.js", {board_phone_js, board_phone_js_size}},
                             {"player.html", {board_player_html, board_player_html_size}},
                             {"player.js", {board_player_js, board_player_js_size}},
                             {"beside.html", {board_beside_html, board_beside_html_size}},
                             {"beside.js", {board_beside_js, board_beside_js_size}},
                             {"scheduled.html", {board_scheduled_html, board_scheduled_html_size}},
                             {"scheduled.css", {board_scheduled_css, board_scheduled_css_size}},
                             {"scheduled.js", {board_scheduled_js, board_scheduled_js_size}},
                             {"board.js", {board_board_js, board_board_js_size}}};
    parts.insert(files.begin(), files.end());
    return fill(files.at(file), parts);
}

Json json_of(const StageEntry& stage)
{
    return {{"name", stage.name},
            {"model", stage.model},
            {"file", stage.file},
            {"source", stage.source}};
}

std::string dump(const Json& json)
{
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// What a page may do. from_file: it comes from no server, so it asks none for anything.
std::string policy_of(const std::string& nonce, bool from_file)
{
    return fmt::format(
        "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src {1}; "
        "base-uri "
        "'none'; form-action 'none'",
        nonce, from_file ? "'none'" : "'self'");
}

// Nothing but this program puts anything into a recording, so any nonce will do.
const std::string recorded = "recorded";

std::string page(std::string_view stages, const std::string& frames, const std::string& nonce,
                 const std::string& pane, bool from_file)
{
    return filled("board.html", {{"policy", policy_of(nonce, from_file)},
                                 {"nonce", nonce},
                                 {"pane", pane},
                                 {"stages", for_script(stages)},
                                 {"frames", for_script(frames)}});
}

}  // namespace

std::string live_page(const std::vector<StageEntry>& stages, const std::string& nonce,
                      const std::string& pane)
{
    Json all = Json::array();
    for (const StageEntry& stage : stages) {
        all.push_back(json_of(stage));
    }
    return page(dump(all), "", nonce, pane, false);
}

std::string pair_page(const std::string& nonce) { return filled("pair.html", {{"nonce", nonce}}); }

std::string phone_page(const std::string& nonce)
{
    return filled("phone.html", {{"nonce", nonce}});
}

std::string recorded_page(const std::vector<StageEntry>& stages,
                          const std::vector<FramePointer>& frames)
{
    std::string text = "[";
    for (const FramePointer& frame : frames) {
        text += (text.size() > 1 ? ",\n" : "") + frame->json;
    }
    text += ']';
    Json shown = Json::array();
    for (const StageEntry& stage : stages) {
        if (text.find(fmt::format(R"("stage":"{}")", stage.name)) != std::string::npos) {
            shown.push_back(json_of(stage));
        }
    }
    return page(dump(shown), text, recorded, "", true);
}

std::string page_beside(const Recording& left, const Recording& right)
{
    const auto json = [](const Recording& recording) {
        return for_script(
            fmt::format(R"({{"stages":{},"frames":{}}})", recording.stages, recording.frames));
    };
    const std::string pane = page("null", "", recorded, "", true);
    return filled("beside.html", {{"policy", policy_of(recorded, true)},
                                  {"nonce", recorded},
                                  {"pane", for_script(dump(pane))},
                                  {"left", json(left)},
                                  {"right", json(right)}});
}

}  // namespace ground::board
