#include "clients/shared/schedule/schedule_file.hpp"

#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <sstream>

namespace ground::explore {

namespace {

constexpr std::string_view first_line = "explore schedule 1";

std::string trimmed(const std::string& text)
{
    const std::size_t begin = text.find_first_not_of(" \t\r");
    const std::size_t end = text.find_last_not_of(" \t\r");
    return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

}  // namespace

// FNV-1a.
std::string fingerprint(const std::string& text)
{
    std::uint32_t hash = 2'166'136'261U;
    for (const char c : text) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 16'777'619U;
    }
    return fmt::format("{:08x}", hash);
}

std::string to_text(const ScheduleFile& file)
{
    std::string text = fmt::format("{}\nstage: {}\n", first_line, file.stage);
    if (!file.options.empty()) {
        text += fmt::format("options: {}\n", fmt::join(file.options, " "));
    }
    text += fmt::format("story: {}\nsource: {}\n\n", file.story, file.source);
    for (std::size_t i = 0; i < file.actors.size(); ++i) {
        text += fmt::format("{}: {}\n", file.actors[i], file.acts[i]);
    }
    return text;
}

std::string to_order(const Schedule& schedule)
{
    std::string text;
    for (std::size_t i = 0, times = 0; i < schedule.size(); i += times) {
        const auto begin = schedule.begin() + static_cast<std::ptrdiff_t>(i);
        const auto end = std::find_if(begin, schedule.end(),
                                      [&](const std::string& actor) { return actor != *begin; });
        times = static_cast<std::size_t>(end - begin);
        text += (i == 0 ? "" : ", ") + *begin + (times > 1 ? fmt::format(" x {}", times) : "");
    }
    return text;
}

Schedule parse_order(const std::string& text)
{
    Schedule schedule;
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ',');) {
        const std::size_t mark = part.rfind(" x ");
        const std::string actor = trimmed(part.substr(0, mark));
        const std::string digits = mark == std::string::npos ? "1" : trimmed(part.substr(mark + 3));
        constexpr std::size_t most = 10'000;
        std::size_t times = 0;
        const auto [stop, problem] =
            std::from_chars(digits.data(), digits.data() + digits.size(), times);
        const bool is_number = problem == std::errc() && stop == digits.data() + digits.size();
        if (actor.empty() || !is_number || times == 0 || times > most) {
            throw ClientError(
                fmt::format("--order: '{}' is no step; try client 1, thread 1 x 3", trimmed(part)));
        }
        schedule.insert(schedule.end(), times, actor);
    }
    return schedule;
}

ScheduleFile parse_schedule(const std::string& text)
{
    ScheduleFile file;
    std::istringstream lines(text);
    std::string line;
    std::size_t number = 0;
    while (std::getline(lines, line)) {
        ++number;
        line = trimmed(line);
        if (number == 1 && line != first_line) {
            throw ClientError(fmt::format("line 1 is not '{}'", first_line));
        }
        if (number == 1 || line.empty() || line.starts_with('#')) {
            continue;
        }
        const std::size_t colon = line.find(':');
        const std::string key = trimmed(line.substr(0, colon));
        const std::string value = colon == std::string::npos ? "" : trimmed(line.substr(colon + 1));
        if (key == "stage") {
            file.stage = value;
        } else if (key == "story") {
            file.story = value;
        } else if (key == "source") {
            file.source = value;
        } else if (key == "options") {
            std::istringstream words(value);
            for (std::string word; words >> word;) {
                file.options.push_back(word);
            }
        } else if (key == "main" || key.find(' ') != std::string::npos) {
            file.actors.push_back(key);
            file.acts.push_back(value);
        } else {
            throw ClientError(fmt::format("line {}: '{}' is no actor; try client 1, thread 1, main",
                                          number, key));
        }
    }
    if (number == 0) {
        throw ClientError("it is empty");
    }
    if (file.stage.empty() || file.story.empty()) {
        throw ClientError("it names no stage, or no story");
    }
    return file;
}

ScheduleFile read_schedule(const std::string& file)
{
    try {
        return parse_schedule(read_file(file));
    } catch (const ClientError& problem) {
        throw ClientError(fmt::format("{}: {}", file, problem.what()));
    }
}

}  // namespace ground::explore
