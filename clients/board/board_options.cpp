#include "clients/board/board_options.hpp"

#include "common/base/numbers.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace ground::board {

namespace {

constexpr auto help = R"(board [OPTIONS] [STAGE] [-- STAGE-OPTIONS]      (without one: 05_futures)

Starts a stage and serves a page that shows where it is: its source, with a dot
for each client on the line at which it is. The page also shows what runs and
what waits over time, and a button stops time: then you say which goes next.

      --wrong NAME      in place of a stage: one with a mistake, which
                        scripts/wrong-turn NAME --build has built
      --port PORT       of the page                               [a free one]
      --in-container    listen on all addresses of this container, so that its
                        port can be published           [--port is then 8000]
      --record FILE     at the end, write the last minute as a page of its own
      --for SECONDS     end after this time                  [end with Ctrl-C]
      --with LIST       clients at the beginning, one second after the other:
                        client, hog, idle; 20*client: a crowd
  -h, --help            this help

Open the address that it prints in a browser on this machine. The address works
for as long as the board runs. To watch from another machine, forward the port
to the same number: ssh -L PORT:127.0.0.1:PORT, with the same --port. In a
code space it prints the address at which the space forwards the port.

Examples:
  board 02b                        two clients, one lock: you say who has it
  board 05 -- --pool threads       with an option of the stage's
  board 04 --with client,client,hog --for 20 --record 04.html
                                   a page to keep, without a browser

Exit status: 0, also after Ctrl-C; 1 if the stage does not start or the file
cannot be written, 2 after a mistake in the options.
)";

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "board: {} (--help lists the options)\n", why);
    std::exit(2);
}

std::pair<Role, std::size_t> guest(const std::string& text)
{
    const std::size_t star = text.find('*');
    const std::string name = star == std::string::npos ? text : text.substr(star + 1);
    const auto role = std::find(role_names.begin(), role_names.end(), name);
    std::size_t count = 1;
    if (star != std::string::npos) {
        const std::string digits = text.substr(0, star);
        const bool number = !digits.empty() && digits.size() < 5 &&
                            digits.find_first_not_of("0123456789") == std::string::npos;
        count = number ? std::stoul(digits) : 0;
    }
    if (role == role_names.end() || name == "hand" || count == 0 || count > most_clients) {
        refuse(fmt::format("'{}' can't come; try client, hog, idle, or 20*client", text));
    }
    return {static_cast<Role>(role - role_names.begin()), count};
}

}  // namespace

BoardOptions parse_board_options(int argc, char** argv)
{
    BoardOptions options;
    char** const end = argv + argc;
    char** const dashes =
        std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
    if (dashes != end) {
        options.stage_options.assign(dashes + 1, end);
    }
    CLI::App app;
    double seconds = 0;
    std::vector<std::string> with;
    app.allow_extras();  // to say more about them than CLI11 does
    app.add_option("stage", options.stage);
    const auto* const port = add_number<std::uint16_t>(app, "--port", options.port, 0, 65535);
    app.add_flag("--in-container", options.in_container);
    app.add_option("--record", options.record);
    app.add_option("--wrong", options.wrong);
    const auto* const duration = add_number(app, "--for", seconds, 0.1, 86'400.0);
    app.add_option("--with", with)->delimiter(',')->allow_extra_args(false);
    try {
        app.parse(static_cast<int>(dashes - argv), argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(error.what());
    }
    if (const std::vector<std::string> unknown = app.remaining(); !unknown.empty()) {
        refuse(
            unknown.front().starts_with('-')
                ? fmt::format("{} is no option of the board's; the stage's come after --, as in: "
                              "board {} -- {}",
                              unknown.front(), options.stage, fmt::join(unknown, " "))
                : fmt::format("one stage, not also '{}'", unknown.front()));
    }
    if (options.in_container && port->count() == 0) {
        options.port = 8000;
    }
    if (duration->count() > 0) {
        options.duration = std::chrono::milliseconds(std::llround(seconds * 1000));
    }
    for (const std::string& text : with) {
        options.with.push_back(guest(text));
    }
    return options;
}

}  // namespace ground::board
