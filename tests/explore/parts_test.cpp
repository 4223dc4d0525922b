// The parts of explore that need no server.
#include "clients/explore/report.hpp"
#include "clients/shared/schedule/schedule_file.hpp"
#include "clients/shared/schedule/search.hpp"
#include "clients/shared/schedule/sleepers.hpp"
#include "clients/shared/target.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

using namespace ground;
using namespace ground::explore;

namespace {

using observe::Deed;

const Source source("stages/05_futures.cpp", R"(struct Shared {
    void count() { answered_.store(answered_.load() + 1); }
    bool same(unsigned n) { return n == last_.load() && ready_.load(); }
    Atomic<std::uint64_t> answered_ = 0;
    Atomic<unsigned> last_ = 1;
    Atomic<bool> ready_ = false;
    Mutex mutex_;
};
)");

Act access(const char* actor, Deed deed, unsigned line, std::uint32_t object)
{
    Act act;
    act.actor = actor;
    act.deed = deed;
    act.file = "stages/05_futures.cpp";
    act.line = line;
    act.object = object;
    return act;
}

Run run_of(const std::vector<Act>& acts)
{
    Run run;
    for (const Act& act : acts) {
        Step step;
        step.enabled = {act};
        run.steps.push_back(step);
    }
    return run;
}

std::string why_not(const std::string& text)
{
    try {
        static_cast<void>(parse_schedule(text));
    } catch (const ClientError& problem) {
        return problem.what();
    }
    return "";
}

}  // namespace

TEST_CASE("explore: a schedule is a text, and is read as it was written")
{
    ScheduleFile file;
    file.stage = "02d_shared_state";
    file.options = {"--guard", "none"};
    file.story = "two";
    file.source = "stages/02d_shared_state.cpp 12345678";
    file.actors = {"client 1", "thread 1", "main"};
    file.acts = {"sends 7", "reads answered_: 0, 02d_shared_state:33", ""};
    const ScheduleFile again = parse_schedule(to_text(file));
    CHECK(again.stage == file.stage);
    CHECK(again.options == file.options);
    CHECK(again.story == file.story);
    CHECK(again.source == file.source);
    CHECK(again.actors == file.actors);
    CHECK(again.acts == file.acts);
}

TEST_CASE("explore: a schedule that was edited may lack what stands behind the colon")
{
    const auto file = parse_schedule(
        "explore schedule 1\nstage: 05\nstory: two\n\n# a comment\nclient 1\nmain:\nworker 1: x\n");
    CHECK(file.actors == Schedule{"client 1", "main", "worker 1"});
    CHECK(file.acts == std::vector<std::string>{"", "", "x"});
}

TEST_CASE("explore: what is no schedule is refused with the line")
{
    CHECK(why_not("") == "it is empty");
    CHECK(why_not("schedule 7\n") == "line 1 is not 'explore schedule 1'");
    CHECK(why_not("explore schedule 1\nstage: 05\nstory: two\nBen: sends 7\n") ==
          "line 4: 'Ben' is no actor; try client 1, thread 1, main");
    CHECK(why_not("explore schedule 1\nclient 1: sends 7\n") == "it names no stage, or no story");
}

TEST_CASE("explore: a schedule can be written in one line")
{
    const Schedule schedule{"client 2", "thread 2", "thread 2", "client 1", "main"};
    CHECK(to_order(schedule) == "client 2, thread 2 x 2, client 1, main");
    CHECK(parse_order(to_order(schedule)) == schedule);
    CHECK(parse_order(" main x 2 ,client 1") == Schedule{"main", "main", "client 1"});
    for (const char* const text : {"client 1,, main", "main x 0", "main x 2 x", " "}) {
        CHECK_THROWS_AS(static_cast<void>(parse_order(text)), ClientError);
    }
}

TEST_CASE("explore: choices at the end that the default makes are left out")
{
    const Act first = access("thread 1", Deed::reads, 2, 1);
    const Act second = access("thread 2", Deed::reads, 2, 1);
    Run run;
    for (const std::size_t chosen : {0U, 1U, 1U}) {
        Step step;
        step.enabled = {first, second};
        step.chosen = chosen;
        run.steps.push_back(step);
    }
    CHECK(shortest_schedule_of(run) == Schedule{"thread 1", "thread 2"});
    run.steps.resize(1);
    CHECK(shortest_schedule_of(run).empty());
}

TEST_CASE("explore: the default goes on with the same actor, and else takes the first")
{
    const std::vector<Act> enabled{access("thread 1", Deed::reads, 2, 1),
                                   access("thread 2", Deed::reads, 2, 1)};
    CHECK(choose_by_default(enabled, 1) == 1);
    CHECK(choose_by_default(enabled, 2) == 0);
    const Choose play = playing({"thread 2", "thread 3"});
    CHECK(play(enabled, 0) == 1);
    CHECK(play(enabled, 1) == 2);  // there is no thread 3: it can't be taken
    CHECK(play(enabled, 1) == 1);  // after its end: the default
}

TEST_CASE("explore: a shared thing has the name that stands in all lines that touch it")
{
    const Run run =
        run_of({access("thread 1", Deed::reads, 2, 1), access("thread 1", Deed::reads, 3, 2),
                access("thread 2", Deed::reads, 3, 3)});
    const auto names = source.names(run);
    CHECK(names.at(1) == "answered_");
    CHECK_FALSE(names.contains(2));  // last_ or ready_: the line has both
    CHECK(describe(access("thread 1", Deed::writes, 2, 1), source, names) == "writes answered_: 0");
    CHECK(describe(access("thread 1", Deed::reads, 3, 2), source, names) == "reads value 2: 0");
}

TEST_CASE("explore: what was not found has a probability, which grows with the runs")
{
    Counts counts;
    counts.most_actors = 4;
    counts.most_steps = 20;
    CHECK(counts.certainty(2) == 0);
    counts.priorities_2 = 1;
    CHECK(counts.certainty(2) == doctest::Approx(1.0 / 80));
    counts.priorities_2 = 1'000;
    CHECK(counts.certainty(2) > 0.9999);
    counts.priorities_3 = 1'000;
    CHECK(counts.certainty(3) == doctest::Approx(0.465).epsilon(0.01));
}

TEST_CASE("explore: a process that waits sleeps, and one that computes does not")
{
    const auto child_that = [](auto does) {
        const pid_t child = ::fork();
        if (child == 0) {
            does();
            ::_exit(0);
        }
        return child;
    };
    const auto becomes = [](Sleepers& sleepers, bool asleep) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (sleepers.all_asleep() != asleep) {
            if (std::chrono::steady_clock::now() > end) {
                return false;
            }
        }
        return true;
    };
    const pid_t waits = child_that([] { ::pause(); });
    const pid_t computes = child_that([] {
        for (volatile bool on = true; on;) {
        }
    });
    Sleepers first(waits);
    CHECK(becomes(first, true));
    Sleepers second(computes);
    CHECK(becomes(second, false));
    CHECK_FALSE(second.all_asleep());
    CHECK(second.awake() == computes);
    for (const pid_t child : {waits, computes}) {
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
}

TEST_CASE("explore: the fingerprint of a source changes with it")
{
    CHECK(fingerprint("a") != fingerprint("b"));
    CHECK(fingerprint("") == "811c9dc5");
}
