// The picture of a run, and the forecast of its end, without a terminal.
#include "clients/compare/show/frame.hpp"

#include "clients/compare/show/forecast.hpp"

#include <doctest/doctest.h>

using namespace ground;

namespace {

constexpr Style plain{};
constexpr Style utf8{false, true, 80};
constexpr Style colour{true, false, 80};

StageLine stage(const std::string& name)
{
    StageLine line;
    line.name = name;
    line.words = "waiting";
    return line;
}

Frame frame_of(std::size_t stages)
{
    Frame frame;
    frame.title = "run 1 of 3, crowd: 16 clients, fib(1)";
    for (std::size_t i = 0; i < stages; ++i) {
        frame.stages.push_back(stage("stage_" + std::to_string(i)));
    }
    frame.slices = 13;
    frame.done = 12;
    frame.total = 48;
    frame.share = 0.25;
    frame.seconds_left = 64.2;
    return frame;
}

std::size_t columns_of(const std::string& text)
{
    std::size_t columns = 0;
    for (const char c : text) {
        columns += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
    }
    return columns;
}

std::string sparkline(const std::vector<double>& rates, double best, Style style = plain)
{
    return format_sparkline(rates, best, 1, 8, style);
}

}  // namespace

TEST_CASE("frame: shows a title, a line for each stage, and the progress of the run")
{
    Frame frame = frame_of(2);
    frame.running = 1;
    frame.stages[1].state = StageLine::State::running;
    frame.stages[1].words = "measuring";
    frame.stages[1].rates = {50, 100};
    frame.stages[1].best = 100;
    const auto lines = lines_of(frame, plain, 23);
    REQUIRE(lines.size() == 4);
    CHECK(lines[0] == "run 1 of 3, crowd: 16 clients, fib(1)");
    CHECK(lines[1] == "stage_0                 waiting");
    CHECK(lines[2] == "stage_1 ##              100 reqs/sec, measuring");
    CHECK(lines[3] == "[##########                              ]  12 of 48   1:05 left");
}

TEST_CASE("frame: no line is as wide as the terminal, however narrow that is")
{
    Frame frame = frame_of(3);
    frame.stages[1].name = std::string(300, 'n');
    frame.stages[2].words = std::string(300, 'w');
    frame.stages[2].rates = std::vector<double>(300, 1.0);
    frame.stages[2].best = 1;
    for (const bool wide : {false, true}) {
        for (const unsigned columns : {1U, 2U, 5U, 10U, 40U, 80U, 200U}) {
            CAPTURE(columns);
            for (const std::string& line : lines_of(frame, Style{false, wide, columns}, 23)) {
                CHECK(columns_of(line) < std::max(columns, 2U));
            }
        }
    }
}

TEST_CASE("frame: fits into the rows that there are, and always has the stage that runs")
{
    Frame frame = frame_of(8);
    for (; frame.running < 8; ++frame.running) {
        for (std::size_t rows = 1; rows < 12; ++rows) {
            const auto lines = lines_of(frame, plain, rows);
            CHECK(lines.size() == std::min<std::size_t>(rows, 10));
            CHECK(std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
                return line.starts_with("stage_" + std::to_string(frame.running));
            }));
        }
    }
    frame.running = 4;
    CHECK(lines_of(frame, plain, 0).empty());
    const auto lines = lines_of(frame, plain, 5);
    CHECK(lines[1].starts_with("stage_3"));
    CHECK(lines[3].starts_with("stage_5"));
}

TEST_CASE("frame: a sparkline shows a fall and a recovery")
{
    CHECK(sparkline({100, 100, 0, 1, 30, 100}, 100) == "##_=*#  ");
    CHECK(sparkline({100, 0, 1}, 100, utf8) == "█▁▅     ");
    CHECK(sparkline({0, 0}, 0) == "__      ");
    CHECK(sparkline({}, 0) == "        ");
}

TEST_CASE("frame: the sparklines of three collapsed stages show how far each has fallen")
{
    // 02b, 04 and 01 with the hog: 1%, one reply for each big one, none.
    CHECK(sparkline({20'000, 200}, 20'000) == "#=      ");
    CHECK(sparkline({20'000, 7}, 20'000) == "#:      ");
    CHECK(sparkline({20'000, 0.5}, 20'000) == "#.      ");
    CHECK(sparkline({20'000, 0}, 20'000) == "#_      ");
}

TEST_CASE("frame: the picture that stays has all stages, in a window of any height")
{
    const auto lines = picture_of(frame_of(40), plain);
    REQUIRE(lines.size() == 41);
    CHECK(lines[0] == "run 1 of 3, crowd: 16 clients, fib(1)");
    CHECK(lines[40].starts_with("stage_39 "));
}

TEST_CASE("frame: a sparkline is red where the rate is below half of the best")
{
    CHECK(sparkline({100, 49, 50}, 100, colour) ==
          "\x1b[32m#\x1b[0m\x1b[31m#\x1b[0m\x1b[32m#\x1b[0m     ");
}

TEST_CASE("frame: a sparkline has the newest rates, or the means of several")
{
    CHECK(format_sparkline({0, 0, 100, 100, 100}, 100, 1, 4, plain) == "_###");
    CHECK(format_sparkline({0, 100, 100, 100, 0}, 100, 2, 4, plain) == "##_ ");
}

TEST_CASE("frame: what does not fit is cut, with a mark")
{
    CHECK(cut("12345", 5, false) == "12345");
    CHECK(cut("123456", 5, false) == "1234~");
    CHECK(cut("123456", 5, true) == "1234…");
    CHECK(cut("äöüäöü", 5, true) == "äöüä…");
    CHECK(cut("123456", 0, true).empty());
}

TEST_CASE("frame: no text from a server controls the terminal")
{
    CHECK(printable("a\x1b[2Jb\r\n\x7f", true) == "a?[2Jb???");
    CHECK(printable("\xc2\x9b"
                    "1m",
                    true) == "??1m");  // CSI as one character
    CHECK(printable("\xff\xe2\x82", true) == "???");
    CHECK(printable("\u00e4", false) == "??");
}

TEST_CASE("forecast: first by the plan, then by what has been measured")
{
    Forecast forecast({1, 4}, 2, 2);
    CHECK(forecast.left() == 20);
    forecast.add(0, 0, 1.5, false);
    // The same once more, and the others at one and a half times the planned time.
    CHECK(forecast.left() == 1.5 + 2 * 1.5 + 4 * 6);
}

TEST_CASE("forecast: a stage that fails says nothing about the others")
{
    Forecast forecast({1}, 3, 2);
    forecast.add(0, 0, 20, true);
    CHECK(forecast.left() == 20 + 4 * 1);
    forecast.add(0, 1, 0, true);
    forecast.give_up(1);
    CHECK(forecast.left() == 20 + 2 * 1);
}

TEST_CASE("forecast: nothing is left at the end")
{
    Forecast forecast({1}, 1, 2);
    forecast.add(0, 0, 3, false);
    forecast.add(0, 0, 2, false);
    CHECK(forecast.left() == 0);
}
