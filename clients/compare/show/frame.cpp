#include "clients/compare/show/frame.hpp"

#include "clients/shared/format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace ground {

namespace {

// SGR codes
constexpr std::string_view bold = "1";
constexpr std::string_view dim = "2";
constexpr std::string_view red = "31";
constexpr std::string_view green = "32";

std::string coloured(std::string_view code, const std::string& text, Style style)
{
    return style.colour && !text.empty() ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
}

// The number of bytes of the text's first character. 0 if it can't be shown, because it is a
// control character or no UTF-8.
std::size_t length_of_first(std::string_view text, bool utf8)
{
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    if (byte(0) < 0x80) {
        return byte(0) >= 0x20 && byte(0) != 0x7f ? 1 : 0;
    }
    const std::size_t length = byte(0) >= 0xf5   ? 0
                               : byte(0) >= 0xf0 ? 4
                               : byte(0) >= 0xe0 ? 3
                               : byte(0) >= 0xc2 ? 2
                                                 : 0;
    if (!utf8 || length == 0 || text.size() < length || (byte(0) == 0xc2 && byte(1) < 0xa0)) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

// Each character takes one column: names in wide characters are rare enough.
std::size_t columns_of(std::string_view text)
{
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    }));
}

// Cut, or filled up with blanks.
std::string fitted(std::string_view text, std::size_t width, bool utf8)
{
    std::string shown = cut(text, width, utf8);
    shown.append(width - columns_of(shown), ' ');
    return shown;
}

std::string clock(double seconds)
{
    const auto whole = static_cast<std::uint64_t>(std::ceil(std::max(seconds, 0.0)));
    return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

// How the columns of a line are divided. If there are few, the name gets them all.
struct Layout {
    std::size_t name = 0;
    std::size_t sparkline = 0;
    std::size_t words = 0;
    std::size_t rates_per_column = 1;

    Layout(const Frame& frame, std::size_t width)
    {
        std::size_t longest = 0;
        for (const StageLine& stage : frame.stages) {
            longest = std::max(longest, columns_of(stage.name));
        }
        if (width < 20) {
            name = width;
            return;
        }
        name = std::min(longest, width / 3);
        sparkline = std::clamp<std::size_t>(width / 5, 4, 40);
        rates_per_column = std::max<std::size_t>((frame.slices + sparkline / 2) / sparkline, 1);
        words = width - (name + 1 + sparkline + 1);
    }
};

std::string line_of(const StageLine& stage, const Layout& layout, Style style)
{
    using State = StageLine::State;
    if (layout.sparkline == 0) {
        return cut(stage.name, layout.name, style.utf8);
    }
    std::string words = stage.words;
    if (stage.state == State::running && !stage.rates.empty()) {
        words = fmt::format("{:.0f} reqs/sec, {}", stage.rates.back(), words);
    }
    const std::string name = fitted(stage.name, layout.name, style.utf8);
    const std::string text = cut(words, layout.words, style.utf8);
    return fmt::format(
        "{} {} {}", stage.state == State::running ? coloured(bold, name, style) : name,
        format_sparkline(stage.rates, stage.best, layout.rates_per_column, layout.sparkline, style),
        stage.state == State::failed    ? coloured(red, text, style)
        : stage.state == State::waiting ? coloured(dim, text, style)
                                        : text);
}

std::string progress_of(const Frame& frame, std::size_t width, Style style)
{
    const std::string words =
        fmt::format("  {} of {}   {} left", frame.done, frame.total, clock(frame.seconds_left));
    const std::size_t room = std::min<std::size_t>(width - std::min(width, words.size() + 2), 40);
    if (room == 0) {
        return cut(words, width, style.utf8);
    }
    const auto bar = format_bar(frame.share, 1, static_cast<unsigned>(room), style.utf8);
    return fmt::format("[{}]{}", fitted(bar, room, style.utf8), words);
}

// How high a rate is in a sparkline, from 0 to 7. 0 is for a rate of 0. Above it the scale is
// logarithmic, four decades high. On a linear scale a stage with 1% of its best rate, and one with
// 0.05%, would both look like 0.
std::size_t height(double share)
{
    if (share <= 0) {
        return 0;
    }
    const double decades = std::clamp(4 + std::log10(share), 0.0, 4.0);
    return 1 + static_cast<std::size_t>(std::lround(decades / 4 * 6));
}

}  // namespace

std::string printable(std::string_view text, bool utf8)
{
    return cut(text, std::string::npos, utf8);
}

std::string cut(std::string_view text, std::size_t width, bool utf8)
{
    std::string shown;
    std::size_t last = 0;  // where the last character begins
    for (std::size_t column = 0; !text.empty() && column < width; ++column) {
        last = shown.size();
        const std::size_t length = length_of_first(text, utf8);
        shown += length == 0 ? "?" : text.substr(0, length);
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    if (!text.empty() && width > 0) {
        shown.resize(last);
        shown += utf8 ? "…" : "~";
    }
    return shown;
}

std::string format_sparkline(const std::vector<double>& rates, double best,
                             std::size_t rates_per_column, std::size_t width, Style style)
{
    constexpr std::array<std::string_view, 8> blocks{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    // The lowest is drawn, too: it is a standstill, not a missing figure.
    constexpr std::array<std::string_view, 8> ascii{"_", ".", ":", "-", "=", "+", "*", "#"};
    const std::size_t all = (rates.size() + rates_per_column - 1) / rates_per_column;
    const std::size_t shown = std::min(all, width);
    std::string line;
    std::string piece;  // bars of the same colour
    bool low = false;
    for (std::size_t column = all - shown; column < all; ++column) {
        const auto begin = rates.begin() + static_cast<std::ptrdiff_t>(column * rates_per_column);
        const auto count = std::min<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(rates_per_column),
                                                    rates.end() - begin);
        const double mean = std::accumulate(begin, begin + count, 0.0) / static_cast<double>(count);
        const double share = best > 0 ? std::clamp(mean / best, 0.0, 1.0) : 0;
        if ((share < 0.5) != low) {
            line += coloured(low ? red : green, piece, style);
            piece.clear();
            low = share < 0.5;
        }
        piece += (style.utf8 ? blocks : ascii)[height(share)];
    }
    line += coloured(low ? red : green, piece, style);
    line.append(width - shown, ' ');
    return line;
}

std::vector<std::string> picture_of(const Frame& frame, Style style)
{
    const std::size_t width = std::max(style.columns, 2U) - 1;
    const Layout layout(frame, width);
    std::vector<std::string> lines{cut(frame.title, width, style.utf8)};
    for (const StageLine& stage : frame.stages) {
        lines.push_back(line_of(stage, layout, style));
    }
    return lines;
}

std::vector<std::string> lines_of(const Frame& frame, Style style, std::size_t rows)
{
    const std::size_t width = std::max(style.columns, 2U) - 1;
    // If there is little room the title is dropped first, then the bar. The stage that runs is
    // never dropped.
    const bool has_title = rows >= 3;
    const bool has_bar = rows >= 2;
    const std::size_t room = rows - (has_title ? 1 : 0) - (has_bar ? 1 : 0);
    const std::size_t shown = std::min(room, frame.stages.size());
    const std::size_t above = std::min(frame.running, shown > 0 ? (shown - 1) / 2 : 0);
    const std::size_t first = std::min(frame.running - above, frame.stages.size() - shown);
    const Layout layout(frame, width);
    std::vector<std::string> lines;
    if (has_title) {
        lines.push_back(cut(frame.title, width, style.utf8));
    }
    for (std::size_t i = first; i < first + shown; ++i) {
        lines.push_back(line_of(frame.stages[i], layout, style));
    }
    if (has_bar) {
        lines.push_back(progress_of(frame, width, style));
    }
    return lines;
}

}  // namespace ground
