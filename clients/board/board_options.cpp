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

constexpr auto help = R"(board [OPTIONS] [STAGE [STAGE]] [-- STAGE-OPTIONS]   (without: 05_futures)

Starts a stage and serves a page that shows where it is: its source, with a dot
for each client on the line at which it is. The page also shows what runs and
what waits over time, and a button stops time: then you say which goes next.
Two stages are shown side by side. All keys work on both, so they have the same
clients.

      --wrong NAME      a stage with a mistake in it, which
                        scripts/wrong-turn NAME --build has built
      --program PATH    a server of your own that is built on common/, or the
                        folder that it is in. Its own source is shown
      --port PORT       of the page                               [a free one]
      --in-container    listen on all addresses of this container, so that its
                        port can be published           [--port is then 8000]
      --room [ADDRESS]  let phones of this network come: each is a client with a
                        name, and votes. ADDRESS[:PORT] is where they find this
                        machine                          [its own address:8080]
      --phones-per-address N
                        more phones than that from one address are refused  [4]
      --record FILE     at the end, write the last minute as a page of its own
      --beside FILE FILE
                        write two such pages as one, with --record: both are
                        played at once. Starts no server
      --puzzle NAME     you choose each step, and make the server break its
                        promise; explore --puzzles lists them
      --play FILE       play a schedule that explore has saved, slowly; with
                        --record, end after that
      --for SECONDS     end after this time                  [end with Ctrl-C]
      --with LIST       clients at the beginning, one second after the other:
                        client, hog, idle; 20*client: a crowd
  -h, --help            this help

Open the address that it prints in a browser on this machine. The address works
for as long as the board runs. To watch from another machine, forward the port
to the same number: ssh -L PORT:127.0.0.1:PORT, with the same --port. In a
code space it prints the address at which the space forwards the port.

With --room one page and nothing else is open to the network. The board's own
page, which can start programs, stays on this machine.

Examples:
  board 02b                        two clients, one lock: you say who has it
  board 05 -- --pool threads       with an option of the stage's
  board 04 05                      the same clients for both: press w and h
  board 04 --program build/release/lab/04
                                   the stage beside what you have written
  board 04 --room                  a room of students: each phone is a client
  board 04 --with client,client,hog --for 20 --record 04.html
                                   a page to keep, without a browser
  board 02d --puzzle lost-update   make the count lie
  board --beside 04.html 05.html --record both.html
                                   two of them, and one clock

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
    if (role == role_names.end() || name == "hand" || name == "phone" || count == 0 ||
        count > most_clients) {
        refuse(fmt::format("'{}' can't come; try client, hog, idle, or 20*client", text));
    }
    return {static_cast<Role>(role - role_names.begin()), count};
}

// "192.0.2.7" or "192.0.2.7:8080", in contrast to the name of a stage.
bool is_address(std::string_view text)
{
    return std::count(text.begin(), text.end(), '.') == 3 &&
           text.find_first_not_of("0123456789.:") == std::string_view::npos;
}

// Takes --room out of the arguments, and the address behind it. The address is optional, so the
// next word may be the stage. CLI11 would read this as the address.
std::optional<std::string> take_room(std::vector<char*>& arguments)
{
    auto found = std::find_if(arguments.begin(), arguments.end(),
                              [](const char* word) { return std::string_view(word) == "--room"; });
    if (found == arguments.end()) {
        return std::nullopt;
    }
    std::string address;
    found = arguments.erase(found);
    if (found != arguments.end() && is_address(*found)) {
        address = *found;
        arguments.erase(found);
    }
    return address;
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
    app.add_option("stages", options.stages)->expected(0, 2);
    app.add_option("--program", options.programs)->allow_extra_args(false);
    const auto* const port = add_number<std::uint16_t>(app, "--port", options.port, 0, 65535);
    app.add_flag("--in-container", options.in_container);
    std::vector<char*> arguments(argv, dashes);
    options.room = take_room(arguments);
    const auto* const each =
        add_number<std::size_t>(app, "--phones-per-address", options.phones_per_address, 1, 300);
    app.add_option("--record", options.record);
    app.add_option("--beside", options.beside)->expected(2);
    app.add_option("--puzzle", options.puzzle);
    app.add_option("--play", options.play);
    app.add_option("--wrong", options.wrong)->allow_extra_args(false);
    const auto* const duration = add_number(app, "--for", seconds, 0.1, 86'400.0);
    app.add_option("--with", with)->delimiter(',')->allow_extra_args(false);
    try {
        app.parse(static_cast<int>(arguments.size()), arguments.data());
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(error.what());
    }
    if (const std::vector<std::string> unknown = app.remaining(); !unknown.empty()) {
        // The word after an option of the stage may be the option's value, and is then no stage.
        const auto first = std::find(arguments.begin(), arguments.end(), unknown.front());
        refuse(unknown.front().starts_with('-')
                   ? fmt::format("{} is no option of the board's; the stage's come after --, as "
                                 "in: board {} -- {}",
                                 unknown.front(),
                                 fmt::join(std::next(arguments.begin()), first, " "),
                                 fmt::join(first, arguments.end(), " "))
                   : fmt::format("two stages, not also '{}'", unknown.front()));
    }
    if (!options.beside.empty()) {
        if (options.record.empty()) {
            refuse("--beside writes a page: say which, with --record FILE");
        }
        if (!options.stages.empty() || !options.wrong.empty() || !options.programs.empty()) {
            refuse("--beside starts no server");
        }
        return options;
    }
    if (!options.puzzle.empty() || !options.play.empty()) {
        if (!options.wrong.empty() || !options.programs.empty() || !options.with.empty() ||
            options.room || !options.stage_options.empty() || options.stages.size() > 1 ||
            (!options.play.empty() && (!options.puzzle.empty() || !options.stages.empty()))) {
            refuse(fmt::format("{} brings its own server and clients",
                               options.play.empty() ? "a puzzle" : "a schedule"));
        }
    } else if (options.stages.empty() && options.wrong.empty() && options.programs.empty()) {
        options.stages = {"05"};
    }
    const std::size_t servers =
        options.stages.size() + options.wrong.size() + options.programs.size();
    if (servers > 2) {
        refuse(fmt::format("two servers at most, not {}", servers));
    }
    if (servers > 1 && !options.record.empty()) {
        refuse(
            "a recording has one server; record each of them alone, and join them with --beside");
    }
    if (options.in_container && port->count() == 0) {
        options.port = 8000;
    }
    if (options.in_container && each->count() == 0) {
        options.phones_per_address = 300;  // they all come from the machine that forwards the port
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
