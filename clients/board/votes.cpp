// votes.cpp -- the room's votes without a server, for a script that shows the questions itself.
//
//   votes --questions STAGE   prints the questions of the stage's page, a line each: the question,
//                             and behind tabs its answers. A star is before the right one
//   votes [ADDRESS[:PORT]]    lets phones come. Prints the address and its QR code, and an empty
//                             line. Then it reads commands, and replies to each with a line
//
//   ask STAGE NUMBER            puts a question of this stage to the phones; the first one is 1
//   hand NUMBER                 counts a raised hand for this answer
//   count                       how many votes there are, and how many phones
//   show                        shows the votes; the reply has the number of votes for each answer
//   close                       takes the question off the phones
//
// It ends at the end of its input. So it can't outlive the script, whatever ends that.

#include "clients/board/qr.hpp"
#include "clients/board/questions.hpp"
#include "clients/board/room.hpp"
#include "clients/board/room_door.hpp"
#include "clients/shared/catalogue.hpp"
#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>

using namespace ground;
using namespace ground::board;
using namespace std::chrono_literals;

namespace {

using Json = nlohmann::json;
using Counts = std::vector<std::size_t>;

constexpr auto between_ticks = 200ms;

Catalogue catalogue() { return read_catalogue(own_folder().parent_path() / "stages"); }

void print_questions(const std::string& stage)
{
    const Catalogue all = catalogue();
    for (const Question& question : read_questions(find_stage(all, stage).page)) {
        fmt::print("{}", question.text);
        for (std::size_t i = 0; i < question.answers.size(); ++i) {
            fmt::print("\t{}{}", question.right == i ? "*" : "", question.answers[i]);
        }
        fmt::print("\n");
    }
}

// Two rows of the code in each line of text, dark on light also in a dark terminal. The light
// margin belongs to the code.
std::string drawn(const std::vector<std::string>& code)
{
    constexpr std::size_t margin = 2;
    constexpr std::array blocks{" ", "▄", "▀", "█"};
    const auto dark = [&code](std::size_t x, std::size_t y) {
        return y >= margin && x >= margin && y < code.size() + margin && x < code.size() + margin &&
               code[y - margin][x - margin] == '1';
    };
    const std::size_t size = code.size() + 2 * margin;
    std::string text;
    for (std::size_t y = 0; y < size; y += 2) {
        text += "\x1b[30;107m";
        for (std::size_t x = 0; x < size; ++x) {
            text += blocks.at((dark(x, y) ? 2U : 0U) + (dark(x, y + 1) ? 1U : 0U));
        }
        text += "\x1b[0m\n";
    }
    return text;
}

// What the board's page would show.
Json shown(const Room& room) { return Json::parse(room.shown(0).json); }

std::string obey(Room& room, const std::string& line)
{
    std::istringstream words(line);
    std::string what;
    words >> what;
    if (what == "ask") {
        std::string stage;
        std::size_t number = 0;
        words >> stage >> number;
        return *room.obey({{"do", "question"}, {"stage", stage}, {"index", number - 1}});
    }
    if (what == "hand") {
        std::size_t number = 0;
        words >> number;
        return *room.obey({{"do", "hand"}, {"answer", number - 1}});
    }
    if (what == "show") {
        const std::string why = *room.obey({{"do", "show"}});
        return !why.empty()
                   ? why
                   : fmt::format("{}",
                                 fmt::join(shown(room)["question"]["counts"].get<Counts>(), " "));
    }
    if (what == "close") {
        return *room.obey({{"do", "close"}});
    }
    if (what == "count") {
        const Json all = shown(room);
        const auto& phones = all["phones"];
        return fmt::format("{} {}", all.value(Json::json_pointer("/question/votes"), 0),
                           std::count_if(phones.begin(), phones.end(),
                                         [](const Json& phone) { return !phone[2]; }));
    }
    return "there is no such command";
}

void take_votes(const std::string& address)
{
    Room::Questions questions;
    for (const StageEntry& stage : catalogue().stages) {
        questions.emplace(stage.name, read_questions(stage.page));
    }
    Room room({}, std::move(questions));
    const RoomDoor door(room, room_place(address, false));
    fmt::print("{}\n{}\n", door.address(), drawn(qr_code(door.address())));
    std::string input;
    std::array<char, 512> bytes{};
    for (;;) {
        std::fflush(stdout);
        pollfd in{STDIN_FILENO, POLLIN, 0};
        if (::poll(&in, 1, static_cast<int>(between_ticks / 1ms)) > 0) {
            const ssize_t size = ::read(STDIN_FILENO, bytes.data(), bytes.size());
            if (size <= 0) {
                return;
            }
            input.append(bytes.data(), static_cast<std::size_t>(size));
        }
        room.tick({});
        for (std::size_t end = 0; (end = input.find('\n')) != std::string::npos;) {
            fmt::print("{}\n", obey(room, input.substr(0, end)));
            input.erase(0, end + 1);
        }
    }
}

}  // namespace

int main(int argc, char** argv)
try {
    ::signal(SIGPIPE, SIG_IGN);
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() == 2 && words.front() == "--questions") {
        print_questions(words.back());
    } else if (words.empty() || (words.size() == 1 && !words.front().starts_with('-'))) {
        take_votes(words.empty() ? "" : words.front());
    } else {
        fmt::print(stderr, "votes: usage: votes --questions STAGE, or votes [ADDRESS[:PORT]]\n");
        return 2;
    }
    return EXIT_SUCCESS;
} catch (const std::exception& error) {
    fmt::print(stderr, "votes: {}\n", error.what());
    return EXIT_FAILURE;
}
