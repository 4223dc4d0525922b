// explore.cpp -- in which order do threads have to run, so that a server breaks a promise?
//
// It is a scheduler. The server runs at the gate of common/observe: at each seam its threads wait
// until explore says which one goes next. Each schedule is a run of its own, with a server that is
// started for it.

#include "clients/explore/explore_options.hpp"
#include "clients/explore/puzzle_player.hpp"
#include "clients/explore/recorded.hpp"
#include "clients/explore/report.hpp"
#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

using namespace ground;
using namespace ground::explore;

namespace {

int status_of(const Run& run)
{
    return run.outcome == Outcome::kept ? 0 : run.outcome == Outcome::broken ? 1 : 2;
}

// A schedule from a file, once.
int play(const std::string& directory, const ExploreOptions& options)
{
    const ScheduleFile file = read_schedule(options.play);
    const Subject subject = find_subject(directory, file, options.play);
    const Story story = choose_stories(subject, file.story).front();
    const Run run = explore::run(subject.server, story, playing(file.actors));
    const Explored explored{subject.server, story, {}};
    const ScheduleFile played = to_schedule_file(explored, run, subject.source);
    for (std::size_t i = 0; i < std::min(file.acts.size(), played.acts.size()); ++i) {
        if (!file.acts[i].empty() && file.acts[i] != played.acts[i]) {
            throw ClientError(fmt::format(
                "{}: in step {} {} should come to '{}', but comes to '{}'. If the file was edited, "
                "take out what stands behind the colon from here on; if not, explore again",
                options.play, i + 1, file.actors[i], file.acts[i], played.acts[i]));
        }
    }
    if (run.outcome == Outcome::strange && run.steps.size() < file.actors.size()) {
        throw ClientError(fmt::format("{}: step {} can't be taken: {} can't move there",
                                      options.play, run.steps.size() + 1,
                                      file.actors[run.steps.size()]));
    }
    fmt::print("{}", to_report(run, subject.source));
    return status_of(run);
}

class Progress {
  public:
    explicit Progress(bool on) : on_(on) {}
    void show(const Story& story, const Counts& counts)
    {
        if (on_ && counts.seconds - shown_ > 0.2) {
            shown_ = counts.seconds;
            fmt::print(stderr, "\r\033[K{}: {} schedules, {:.0f} s", story.name, counts.runs(),
                       counts.seconds);
        }
    }
    void clear()
    {
        if (on_) {
            fmt::print(stderr, "\r\033[K");
        }
        shown_ = 0;
    }

  private:
    const bool on_;
    double shown_ = 0;
};

int solve_puzzle(const std::string& directory, const ExploreOptions& options)
{
    if (options.puzzles) {
        for (const Puzzle& puzzle : puzzles()) {
            fmt::print("{:<13} {} ({})\n", puzzle.name, puzzle.goal, puzzle.stage);
        }
        return 0;
    }
    const Puzzle& puzzle = find_puzzle(options.puzzle);
    Game game(puzzle, find_subject(directory, puzzle.stage, puzzle.wrong, puzzle.options));
    return play_puzzle(game) ? 0 : 1;
}

Subject subject_of(const std::string& directory, const ExploreOptions& options)
{
    if (!options.command.empty()) {
        return own_subject(directory, options.as, options.command);
    }
    const bool wrong = !options.wrong.empty();
    return find_subject(directory, wrong ? options.wrong : options.stage, wrong,
                        options.stage_options);
}

int search_all(const std::string& directory, const std::string& board,
               const ExploreOptions& options)
{
    const Subject subject = subject_of(directory, options);
    if (options.list) {
        for (const Story& story : stories_for(subject.stage, subject.counts)) {
            fmt::print("{:<8} {}\n", story.name, story.about);
        }
        return 0;
    }
    const auto stories =
        choose_stories(subject, options.story.empty() ? subject.story : options.story);
    if (!options.order.empty()) {
        const Run run =
            explore::run(subject.server, stories.front(), playing(parse_order(options.order)));
        fmt::print("{}", to_report(run, subject.source));
        return status_of(run);
    }
    Progress progress(!options.quiet && ::isatty(STDERR_FILENO) != 0);
    std::vector<Explored> all;
    bool broken = false;
    bool unknown = false;
    for (const Story& story : stories) {
        Explored explored{subject.server, story,
                          search(subject.server, story, options.limits,
                                 [&](const Counts& counts) { progress.show(story, counts); })};
        progress.clear();
        if (options.json != "-") {
            fmt::print("{}{}", all.empty() ? "" : "\n", to_report(explored, subject.source));
            std::fflush(stdout);
        }
        const auto& found = explored.result.found;
        if (found && !options.save.empty() && !broken) {
            write_file(options.save,
                       to_text(to_schedule_file(explored, found->run, subject.source)));
        }
        if (found && !options.page.empty() && !broken) {
            write_page(board, options.page, explored, subject.source);
        }
        broken = broken || (found && found->broken_again == replays);
        unknown = unknown || (found && found->broken_again < replays) ||
                  explored.result.counts.strange > 0;
        all.push_back(std::move(explored));
    }
    if (options.json == "-") {
        fmt::print("{}", to_json(all, subject.source));
    } else if (!options.json.empty()) {
        write_file(options.json, to_json(all, subject.source));
    }
    return broken ? 1 : unknown ? 2 : 0;
}

}  // namespace

int main(int argc, char** argv)
{
    const ExploreOptions options = parse_explore_options(argc, argv);
    ::signal(SIGPIPE, SIG_IGN);
    // What a server leaves behind becomes a child of this process.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    try {
        const auto here = own_folder();
        const std::string stages = here.parent_path() / "stages";
        if (options.puzzles || !options.puzzle.empty()) {
            return solve_puzzle(stages, options);
        }
        return options.play.empty() ? search_all(stages, here / "board", options)
                                    : play(stages, options);
    } catch (const std::exception& problem) {
        fmt::print(stderr, "explore: {}\n", problem.what());
        return 3;
    }
}
