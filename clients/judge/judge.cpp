// judge.cpp -- which of our promises does a server keep? Any server, in any language.
//
// The test cases are those of our own stages. They are in another program, because each runs in a
// process of its own (suite.hpp). This file makes verdicts of the results and writes them.

#include "clients/compare/measure/machine.hpp"
#include "clients/judge/explorer.hpp"
#include "clients/judge/forms.hpp"
#include "clients/judge/suite.hpp"
#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>

using namespace ground;
using namespace ground::judge;

namespace {

using Clock = std::chrono::steady_clock;

// How much longer than its CPU time a short computation takes: 1 on a machine that is idle.
double measure_slowdown()
{
    const auto cpu_time = [] {
        timespec time{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
    };
    constexpr std::chrono::milliseconds enough{40};
    const auto start = Clock::now();
    const auto cpu_start = cpu_time();
    while (cpu_time() - cpu_start < enough) {
    }
    const std::chrono::duration<double> wall = Clock::now() - start;
    const std::chrono::duration<double> cpu = cpu_time() - cpu_start;
    return std::max(1.0, wall / cpu);
}

// A line on a terminal that says what is going on. Nothing if stdout is no terminal.
class Progress {
  public:
    void show(std::string text)
    {
        text_ = std::move(text);
        tick();
    }
    void tick() const
    {
        if (on_ && !text_.empty()) {
            fmt::print(
                "\r\033[K{} ({} s)", text_,
                std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start_).count());
            std::fflush(stdout);
        }
    }
    void clear() const
    {
        if (on_) {
            fmt::print("\r\033[K");
        }
    }

  private:
    const bool on_ = ::isatty(STDOUT_FILENO) != 0;
    const Clock::time_point start_ = Clock::now();
    std::string text_;
};

// "-" is stdout. Nothing is written if there is no name.
void write(const std::string& name, const std::string& text)
{
    if (name == "-") {
        fmt::print("{}", text);
    } else if (!name.empty()) {
        write_file(name, text);
    }
}

// The promises with one of these ids or groups. Throws ClientError if a word is neither.
std::vector<Promise> choose(const std::vector<Promise>& all, const std::vector<std::string>& only)
{
    const auto means = [](const std::string& word, const Promise& promise) {
        return promise.id == word ||
               promise.id.starts_with(word.ends_with('/') ? word : word + '/');
    };
    for (const std::string& word : only) {
        if (std::none_of(all.begin(), all.end(),
                         [&](const Promise& promise) { return means(word, promise); })) {
            throw ClientError(
                fmt::format("there is no promise '{}'; judge --list names them", word));
        }
    }
    if (only.empty()) {
        return all;
    }
    std::vector<Promise> chosen;
    std::copy_if(all.begin(), all.end(), std::back_inserter(chosen), [&](const Promise& promise) {
        return std::any_of(only.begin(), only.end(),
                           [&](const std::string& word) { return means(word, promise); });
    });
    return chosen;
}

void print_list(const std::vector<Promise>& promises)
{
    for (const Promise& promise : promises) {
        fmt::print("{:<35} {}\n{:<35} {}{}\n", promise.id, promise.text, "", promise.page,
                   promise.why_not.empty() ? "" : fmt::format("; {}", promise.why_not));
    }
}

// Judges one promise after the other.
class Judge {
  public:
    Judge(Suite& suite, Explorer& explorer, const Case& the_case, Progress& progress,
          const std::set<std::string>& baseline)
        : suite_(suite),
          explorer_(explorer),
          case_(the_case),
          progress_(progress),
          baseline_(baseline)
    {
    }

    // Throws Interrupted. What has been judged by then is in judgements().
    void all(const std::vector<Promise>& promises)
    {
        for (const Promise& promise : promises) {
            progress_.show(
                fmt::format("{} of {}: {}", judgements_.size() + 1, promises.size(), promise.text));
            add(judged(promise));
        }
    }

    [[nodiscard]] const std::vector<Judgement>& judgements() const noexcept { return judgements_; }

  private:
    [[nodiscard]] bool is_broken(std::string_view id) const
    {
        return std::any_of(judgements_.begin(), judgements_.end(), [&](const Judgement& earlier) {
            return earlier.promise.id == id && earlier.verdict == Verdict::fail;
        });
    }

    Judgement judged(const Promise& promise)
    {
        if (!promise.why_not.empty()) {
            return not_run(promise, Verdict::not_applicable, promise.why_not);
        }
        // If one of the first two is broken, hardly any other promise can be kept.
        constexpr std::string_view replies = "start/replies";
        constexpr std::string_view one_reply = "protocol/reply-per-line";
        for (const std::string_view before :
             {replies, one_reply, std::string_view(promise.after)}) {
            if (before != promise.id && is_broken(before)) {
                return not_run(promise, Verdict::unknown,
                               fmt::format("not judged, because {} is broken", before));
            }
        }
        if (Clock::now() >= end_) {
            return not_run(promise, Verdict::unknown,
                           "the time was over (--time-limit) before this was judged");
        }
        std::vector<Run> runs;
        if (case_.options.until_fail > 0) {
            do {
                runs.push_back(suite_.run(promise, 1, end_).front());
            } while (runs.back().outcome == Outcome::kept &&
                     runs.size() < case_.options.until_fail && Clock::now() < end_);
            return decide_until_fail(promise, runs);
        }
        runs = suite_.run(promise, 1, end_);
        said_ = suite_.said();
        const bool broken =
            runs.front().outcome == Outcome::broken || runs.front().outcome == Outcome::hung;
        // A server that runs already is asked one thing at a time.
        const unsigned at_once = case_.options.connect.empty() ? runs_to_fail - 1 : 1;
        while (broken && runs.size() < 2 * runs_to_fail && Clock::now() < end_) {
            const auto more = suite_.run(promise, at_once, end_);
            runs.insert(runs.end(), more.begin(), more.end());
            if (std::count_if(runs.begin(), runs.end(), tells_something) >=
                std::ptrdiff_t{runs_to_fail}) {
                break;
            }
        }
        Judgement judgement = decide(promise, runs);
        if (!promise.stories.empty() && judgement.verdict != Verdict::error &&
            Clock::now() < end_) {
            if (const auto explored = explorer_.run(promise, end_)) {
                return decide_explored(std::move(judgement), *explored);
            }
        }
        return judgement;
    }

    void add(Judgement judgement)
    {
        const bool failed = judgement.verdict == Verdict::fail;
        judgement.known = failed && baseline_.contains(judgement.promise.id);
        if (failed && judgement.promise.id == "process/sigterm") {
            suite_.kill_at_once();
        }
        progress_.clear();
        const bool quiet = case_.options.json == "-" || case_.options.junit == "-" ||
                           case_.options.gradescope == "-";
        const bool told = judgement.verdict != Verdict::not_applicable || case_.options.verbose;
        if (told && !quiet) {
            fmt::print("{}", to_line(judgement));
            if (failed && !judgement.known) {
                fmt::print("{}", to_details(judgement, case_));
            }
            if (case_.options.verbose && !said_.empty()) {
                fmt::print("    the suite\n      {}\n", said_);
            }
            std::fflush(stdout);
        }
        said_.clear();
        judgements_.push_back(std::move(judgement));
    }

    Suite& suite_;
    Explorer& explorer_;
    const Case& case_;
    Progress& progress_;
    const std::set<std::string>& baseline_;
    const Clock::time_point end_ = Clock::now() + case_.options.time_limit;
    std::vector<Judgement> judgements_;
    std::string said_;
};

int run(JudgeOptions options)
{
    if (!options.connect.empty()) {
        const auto target = parse_target(options.connect);
        if (!target) {
            throw ClientError(fmt::format("--connect: '{}' is not HOST:PORT", options.connect));
        }
        options.connect = to_string(*target);
    }
    // What a server leaves behind becomes a child of this process, and is found.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    Progress progress;
    Supervisor supervisor([&progress] { progress.tick(); });
    Suite suite(supervisor, options);
    const std::vector<Promise> known_promises = suite.list();
    const std::vector<Promise> promises = choose(known_promises, options.only);
    if (options.list) {
        print_list(promises);
        return 0;
    }
    std::set<std::string> baseline;
    if (!options.baseline.empty()) {
        baseline = parse_baseline(read_file(options.baseline));
        static_cast<void>(choose(known_promises, {baseline.begin(), baseline.end()}));
    }
    const Case the_case{options, to_string(this_machine()), measure_slowdown(), date_and_time()};
    Explorer explorer(supervisor, options, the_case.slowdown);
    Judge judge(suite, explorer, the_case, progress, baseline);
    bool interrupted = false;
    try {
        judge.all(promises);
    } catch (const Interrupted&) {
        interrupted = true;
    }
    end_all_children();
    progress.clear();
    const auto& judgements = judge.judgements();
    write(options.json, to_json(judgements, the_case));
    write(options.junit, to_junit(judgements));
    write(options.gradescope, to_gradescope(judgements, the_case));
    const Summary summary = summarize(judgements);
    std::FILE* const where =
        options.json == "-" || options.junit == "-" || options.gradescope == "-" ? stderr : stdout;
    for (const Judgement& judgement : judgements) {
        if (judgement.verdict == Verdict::pass && baseline.contains(judgement.promise.id)) {
            fmt::print(where, "{} is kept: take it out of the baseline\n", judgement.promise.id);
        }
    }
    fmt::print(where, "{}{}\n", interrupted ? "Interrupted: " : "", to_sentence(summary));
    return interrupted ? 130 : exit_status(summary);
}

}  // namespace

int main(int argc, char** argv)
{
    const JudgeOptions options = parse_judge_options(argc, argv);
    ::signal(SIGPIPE, SIG_IGN);
    try {
        return run(options);
    } catch (const Interrupted&) {
        end_all_children();
        return 130;
    } catch (const std::exception& problem) {
        end_all_children();
        fmt::print(stderr, "judge: {}\n", problem.what());
        return 3;
    }
}
