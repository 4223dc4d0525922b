#include "clients/shared/format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace ground {

std::string format_time(double nanoseconds)
{
    // The limits are where rounding would give a fourth digit: 999.6 us is 1.0 ms.
    if (nanoseconds < 9.95e3) {
        return fmt::format("{:.1f} us", nanoseconds / 1e3);
    }
    if (nanoseconds < 999.5e3) {
        return fmt::format("{:.0f} us", nanoseconds / 1e3);
    }
    if (nanoseconds < 99.95e6) {
        return fmt::format("{:.1f} ms", nanoseconds / 1e6);
    }
    if (nanoseconds < 999.5e6) {
        return fmt::format("{:.0f} ms", nanoseconds / 1e6);
    }
    return fmt::format("{:.2f} s", nanoseconds / 1e9);
}

std::string format_time_column(double nanoseconds)
{
    if (nanoseconds < 999.995e3) {
        return fmt::format("{:.2f}us", nanoseconds / 1e3);
    }
    if (nanoseconds < 999.995e6) {
        return fmt::format("{:.2f}ms", nanoseconds / 1e6);
    }
    return fmt::format("{:.2f}s", nanoseconds / 1e9);
}

std::string format_count_column(double count)
{
    if (count < 999.995) {
        return fmt::format("{:.2f}", count);
    }
    if (count < 999.995e3) {
        return fmt::format("{:.2f}k", count / 1e3);
    }
    return fmt::format("{:.2f}M", count / 1e6);
}

std::string format_bytes(double bytes)
{
    constexpr std::array<std::string_view, 5> units{"B", "KB", "MB", "GB", "TB"};
    std::size_t unit = 0;
    while (bytes >= 1023.995 && unit + 1 < units.size()) {
        bytes /= 1024;
        ++unit;
    }
    return fmt::format("{:.2f}{}", bytes, units[unit]);
}

std::string format_bar(double value, double best, unsigned width, bool utf8)
{
    constexpr std::array<std::string_view, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (value <= 0 || best <= 0) {
        return {};
    }
    const double columns = std::min(value / best, 1.0) * width;
    std::string bar;
    if (!utf8) {
        bar.assign(static_cast<std::size_t>(std::max(1.0, std::round(columns))), '#');
        return bar;
    }
    const auto parts = static_cast<std::size_t>(std::max(1.0, std::round(columns * 8)));
    for (std::size_t i = 0; i < parts / 8; ++i) {
        bar += "█";
    }
    bar += eighths[parts % 8];
    return bar;
}

}  // namespace ground
