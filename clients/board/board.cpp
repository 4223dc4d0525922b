// board.cpp -- the living source: a running stage, seen from inside, on a page.

#include "clients/board/board_options.hpp"
#include "clients/board/page.hpp"
#include "clients/board/questions.hpp"
#include "clients/board/room_door.hpp"
#include "clients/board/session.hpp"
#include "clients/board/web.hpp"
#include "clients/shared/target.hpp"
#include "clients/shared/wrong_turns.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
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

void write(const std::string& file, const std::string& text)
{
    std::ofstream out(file, std::ios::binary);
    out << text;
    if (!out.flush()) {
        throw ClientError(fmt::format("can't write '{}'; choose another file", file));
    }
    fmt::print("board: {} is the last minute; open it in a browser\n", file);
}

// Until Ctrl-C, or until the time is over.
void show(Supervisor& supervisor, Session& session, Room& room, const BoardOptions& options)
{
    const auto begin = std::chrono::steady_clock::now();
    std::size_t come = 0;
    for (auto next = begin; !options.duration || next - begin < *options.duration; next += frame) {
        for (; come < options.with.size() && next - begin >= (come + 1) * 1s; ++come) {
            const auto& [role, count] = options.with[come];
            session.obey({{"do", role_names.at(static_cast<std::size_t>(role))}, {"count", count}});
        }
        session.tick();
        room.tick({session.stage()});
        supervisor.wait([] { return false; }, next + frame);
        // A board that was stopped for a while does not catch up.
        next = std::max(next, std::chrono::steady_clock::now() - 2 * frame);
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

// A few connections for each phone. Behind a port that is forwarded, all come from one address.
RoomDoorLimits limits_of(const BoardOptions& options)
{
    RoomDoorLimits limits;
    const std::size_t phones = options.phones_per_address;
    limits.per_address = std::min(limits.connections, 4 * phones);
    limits.requests_per_second = 10.0 * static_cast<double>(phones);
    limits.requests_at_once = 30.0 * static_cast<double>(phones);
    return limits;
}

void run(const BoardOptions& options)
{
    if (!options.record.empty()) {
        check_can_be_written(options.record);
    }
    const fs::path here = fs::read_symlink("/proc/self/exe").parent_path();
    const std::string folder = here.parent_path() / "stages";
    Catalogue catalogue = read_catalogue(folder);
    std::vector<std::string> stage_options = options.stage_options;
    if (!options.wrong.empty()) {
        const WrongTurn turn = find_wrong_turn(catalogue, folder, options.wrong);
        catalogue.stages.push_back(turn.entry);
        stage_options.insert(stage_options.begin(), turn.options.begin(), turn.options.end());
    }
    const std::vector<StageEntry>& stages = catalogue.stages;
    const StageEntry& first =
        options.wrong.empty() ? find_stage(catalogue, options.stage) : stages.back();
    const std::optional<RoomPlace> place =
        options.room ? std::optional(room_place(*options.room, options.in_container))
                     : std::nullopt;
    raise_limit_on_descriptors();
    Supervisor supervisor([] {});  // before the threads, because they inherit the blocked signals
    Film film;
    {
        Session session(supervisor, stages, film);
        try {
            session.start(first, stage_options);
            Room room({&session.crowd()}, questions_of(stages),
                      {.per_address = options.phones_per_address});
            std::optional<RoomDoor> door;
            if (place) {
                door.emplace(room, *place, limits_of(options));
            }
            const Web web(options.port, options.in_container, stages, session, film, room);
            fmt::print("board: {} is on {}  (Ctrl-C ends it)\n", first.name, web.address());
            if (door) {
                fmt::print("board: phones come in at {}\n", door->address());
            }
            std::fflush(stdout);
            show(supervisor, session, room, options);
        } catch (const Interrupted&) {
            fmt::print("\n");  // behind the ^C that the terminal has echoed
        }
    }
    if (!options.record.empty()) {
        write(options.record, recorded_page(stages, film.all()));
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
