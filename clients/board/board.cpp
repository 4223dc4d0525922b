// board.cpp -- the living source: a running stage, seen from inside, on a page.

#include "clients/board/board_options.hpp"
#include "clients/board/page.hpp"
#include "clients/board/questions.hpp"
#include "clients/board/recording.hpp"
#include "clients/board/room_door.hpp"
#include "clients/board/scheduled.hpp"
#include "clients/board/session.hpp"
#include "clients/board/web.hpp"
#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"
#include "clients/shared/wrong_turns.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>

using namespace ground;
using namespace ground::board;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

constexpr auto frame = 50ms;

// A crowd needs more descriptors than a program has by default.
void raise_limit_on_descriptors()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

// Checked before there is anything to write.
void check_can_be_written(const std::string& file)
{
    const bool there = fs::exists(file);
    if (!std::ofstream(file, std::ios::app)) {
        throw ClientError(fmt::format("can't write '{}'; choose another file", file));
    }
    if (!there) {
        fs::remove(file);
    }
}

// A running server, and what was seen of it.
struct Server {
    Server(Supervisor& supervisor, const std::vector<StageEntry>& stages)
        : session(supervisor, stages, film)
    {
    }
    Film film;
    Session session;
};

// Until Ctrl-C, or until the time is over.
void show(Supervisor& supervisor, std::deque<Server>& servers, Room& room,
          const BoardOptions& options)
{
    const auto begin = std::chrono::steady_clock::now();
    std::size_t come = 0;
    for (auto next = begin; !options.duration || next - begin < *options.duration; next += frame) {
        for (; come < options.with.size() && next - begin >= (come + 1) * 1s; ++come) {
            const auto& [role, count] = options.with[come];
            for (Server& server : servers) {
                server.session.obey(
                    {{"do", role_names.at(static_cast<std::size_t>(role))}, {"count", count}});
            }
        }
        std::vector<std::string> names;
        for (Server& server : servers) {
            server.session.tick();
            names.push_back(server.session.stage());
        }
        room.tick(names);
        if (!options.record.empty() && servers.front().session.over()) {
            return;
        }
        supervisor.wait([] { return false; }, next + frame);
        // A board that was stopped for a while does not catch up.
        next = std::max(next, std::chrono::steady_clock::now() - 2 * frame);
    }
}

// The servers that a user can choose from, and which of them are shown at first, with which
// options.
struct Choice {
    std::vector<StageEntry> stages;
    std::vector<std::pair<std::size_t, std::vector<std::string>>> shown;
};
Choice choose(const Catalogue& catalogue, const std::string& folder, const BoardOptions& options)
{
    Choice choice{catalogue.stages, {}};
    for (const std::string& name : options.stages) {
        const auto number = &find_stage(catalogue, name) - catalogue.stages.data();
        choice.shown.emplace_back(number, options.stage_options);
    }
    for (const std::string& name : options.wrong) {
        WrongTurn turn = find_wrong_turn(catalogue, folder, name);
        turn.options.insert(turn.options.end(), options.stage_options.begin(),
                            options.stage_options.end());
        choice.shown.emplace_back(choice.stages.size(), std::move(turn.options));
        choice.stages.push_back(std::move(turn.entry));
    }
    for (const std::string& path : options.programs) {
        choice.shown.emplace_back(choice.stages.size(), options.stage_options);
        choice.stages.push_back(own_program(catalogue, path));
    }
    return choice;
}

// "05" of "05_list_before_byte", which is a wrong turn on this stage.
std::string number_of(const std::string& name) { return name.substr(0, name.find('_')); }

std::unique_ptr<Scheduled> scheduled_of(const Catalogue& catalogue, const std::string& folder,
                                        const BoardOptions& options)
{
    if (!options.play.empty()) {
        const explore::ScheduleFile file = explore::read_schedule(options.play);
        return std::make_unique<Scheduled>(file, explore::find_subject(folder, file, options.play));
    }
    const explore::Puzzle& puzzle = explore::find_puzzle(options.puzzle);
    for (const std::string& name : options.stages) {
        if (number_of(find_stage(catalogue, name).name) != number_of(puzzle.stage)) {
            throw ClientError(fmt::format("the puzzle '{}' is one of {}; leave the stage out",
                                          puzzle.name, number_of(puzzle.stage)));
        }
    }
    return std::make_unique<Scheduled>(
        puzzle, explore::find_subject(folder, puzzle.stage, puzzle.wrong, puzzle.options));
}

void start(Server& server, StageEntry& stage, const std::vector<std::string>& options)
{
    server.session.start(stage, options);
    if (stage.file.empty()) {
        const std::string file = server.session.main_file();
        if (file.empty()) {
            throw ClientError(
                fmt::format("{} does not say where it is: it is not built on common/, so there is "
                            "nothing to show",
                            stage.program));
        }
        find_source(stage, file);
    }
}

Room::Questions questions_of(const std::vector<StageEntry>& stages)
{
    Room::Questions questions;
    for (const StageEntry& stage : stages) {
        questions.emplace(stage.name, read_questions(stage.page));
    }
    return questions;
}

// A few connections for each phone. Behind a forwarded port, all phones come from one address.
RoomDoorLimits limits_of(const BoardOptions& options)
{
    RoomDoorLimits limits;
    const std::size_t phones = options.phones_per_address;
    limits.per_address = std::min(limits.connections, 4 * phones);
    limits.requests_per_second = 10.0 * static_cast<double>(phones);
    limits.requests_at_once = 30.0 * static_cast<double>(phones);
    limits.joins_per_second = 0.25 * static_cast<double>(phones);
    limits.joins_at_once = 2.0 * static_cast<double>(phones);
    return limits;
}

// Reads both before it writes: the file may be one of them.
void write_beside(const BoardOptions& options)
{
    const Recording left = read_recording(options.beside.front());
    const Recording right = read_recording(options.beside.back());
    write_file(options.record, page_beside(left, right));
    fmt::print("board: {} has both; open it in a browser\n", options.record);
}

void run(const BoardOptions& options)
{
    if (!options.beside.empty()) {
        write_beside(options);
        return;
    }
    if (!options.record.empty()) {
        check_can_be_written(options.record);
    }
    const fs::path here = own_folder();
    const std::string folder = here.parent_path() / "stages";
    Catalogue catalogue = read_catalogue(folder);
    add_patched(catalogue, folder);
    std::unique_ptr<Scheduled> scheduled;
    Choice choice{catalogue.stages, {}};
    if (options.puzzle.empty() && options.play.empty()) {
        choice = choose(catalogue, folder, options);
    } else {
        scheduled = scheduled_of(catalogue, folder, options);
        choice.stages.push_back(scheduled->subject().stage);
    }
    std::vector<StageEntry>& stages = choice.stages;
    const std::optional<RoomPlace> place =
        options.room ? std::optional(room_place(*options.room, options.in_container))
                     : std::nullopt;
    raise_limit_on_descriptors();
    Supervisor supervisor([] {});  // before the threads, because they inherit the blocked signals
    std::vector<FramePointer> frames;
    {
        std::deque<Server> servers;
        try {
            std::vector<Shown> shown;
            std::vector<Crowd*> crowds;
            std::string names;
            if (scheduled) {
                Server& server = servers.emplace_back(supervisor, stages);
                server.session.start(std::move(scheduled));
                shown.push_back({server.session, server.film});
                crowds.push_back(&server.session.crowd());
                names = server.session.stage();
            }
            for (const auto& [number, stage_options] : choice.shown) {
                Server& server = servers.emplace_back(supervisor, stages);
                start(server, stages[number], stage_options);
                shown.push_back({server.session, server.film});
                crowds.push_back(&server.session.crowd());
                names += (names.empty() ? "" : ", ") + stages[number].name;
            }
            Room room(crowds, questions_of(stages), {.per_address = options.phones_per_address});
            std::optional<RoomDoor> door;
            if (place) {
                door.emplace(room, *place, limits_of(options));
            }
            const Web web(options.port, options.in_container, stages, shown, room);
            fmt::print("board: {} is on {}  (Ctrl-C ends it)\n", names, web.address());
            if (door) {
                fmt::print("board: phones come in at {}\n", door->address());
            }
            std::fflush(stdout);
            show(supervisor, servers, room, options);
        } catch (const Interrupted&) {
            fmt::print("\n");  // behind the ^C that the terminal has echoed
        }
        if (!servers.empty()) {
            frames = servers.front().film.all();
        }
    }
    if (!options.record.empty()) {
        write_file(options.record, recorded_page(stages, frames));
        fmt::print("board: {} is the last minute; open it in a browser\n", options.record);
    }
}

}  // namespace

int main(int argc, char** argv)
try {
    ::signal(SIGPIPE, SIG_IGN);
    run(parse_board_options(argc, argv));
    return EXIT_SUCCESS;
} catch (const std::exception& error) {
    fmt::print(stderr, "board: {}\n", error.what());
    return EXIT_FAILURE;
}
