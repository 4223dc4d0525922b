// compare.cpp -- the stages side by side: the same work for each, and one table.

#include "clients/compare/show/page.hpp"
#include "clients/compare/show/progress.hpp"
#include "clients/perf/report.hpp"
#include "clients/shared/files.hpp"

#include <fmt/format.h>

#include <langinfo.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <map>

using namespace ground;

namespace {

// Which of the stages know the --pool that was asked for. Throws ClientError if none does.
void ask_for_pools(Comparison& comparison, Supervisor& supervisor)
{
    const CompareOptions& options = comparison.options;
    bool any = options.pool.empty();
    for (Contestant& contestant : comparison.contestants) {
        contestant.has_pool =
            !options.pool.empty() && has_pool(supervisor, contestant, options.timeout);
        any = any || contestant.has_pool;
    }
    if (!any) {
        throw ClientError(
            "none of these has a pool; leave out --pool, or choose stages with one, for "
            "example 03 05 07");
    }
}

// The stages take turns, and every other run goes through them backwards. So a machine that gets
// slower or faster affects all of them. Ends early if no stage starts.
void measure_all(Comparison& comparison, const Bench& bench, Progress& progress)
{
    // A stage that did not start is not tried again, because that would take as long again.
    std::map<std::size_t, Measurement> unstartable;
    const std::size_t count = comparison.contestants.size();
    for (unsigned run = 1; run <= comparison.options.runs; ++run) {
        comparison.others_busy = std::max(comparison.others_busy, percent_busy(bench.supervisor));
        for (std::size_t s = 0; s < comparison.scenarios.size(); ++s) {
            for (std::size_t turn = 0; turn < count; ++turn) {
                const std::size_t c = run % 2 == 1 ? turn : count - 1 - turn;
                auto& runs = comparison.runs[{s, c}];
                if (const auto known = unstartable.find(c); known != unstartable.end()) {
                    progress.skip(s, c, known->second);
                    runs.push_back(known->second);
                    continue;
                }
                progress.begin(run, s, c);
                runs.push_back(measure(comparison.scenarios[s], bench, comparison.contestants[c]));
                if (runs.back().verdict == failed_to_start) {
                    unstartable.emplace(c, runs.back());
                }
                progress.end(runs.back());
            }
            if (unstartable.size() == count) {
                return;
            }
        }
    }
    comparison.complete = true;
}

void write(const std::string& file, const std::string& text)
{
    std::FILE* const out = file.empty() ? stdout : std::fopen(file.c_str(), "we");
    bool written = out != nullptr && std::fputs(text.c_str(), out) >= 0;
    if (out != nullptr) {
        written = (out == stdout ? std::fflush(out) : std::fclose(out)) == 0 && written;
    }
    if (!written) {
        throw ClientError(fmt::format("can't write {}; choose another file",
                                      file.empty() ? "to standard output" : file));
    }
}

void write_report(const Comparison& comparison)
{
    const CompareOptions& options = comparison.options;
    bool stdout_taken = false;
    const auto write_form = [&](const std::optional<std::string>& file, const std::string& text) {
        if (file) {
            stdout_taken = stdout_taken || file->empty();
            write(*file, text);
        }
    };
    write_form(options.json, format_json(comparison));
    write_form(options.csv, format_csv(comparison));
    write_form(options.markdown, format_table(comparison, TableForm::markdown));
    if (!stdout_taken) {
        const bool utf8 = std::string_view(::nl_langinfo(CODESET)) == "UTF-8";
        const bool terminal = ::isatty(STDOUT_FILENO) == 1;
        write("", format_table(comparison, utf8 ? TableForm::plain_utf8 : TableForm::plain,
                               terminal ? Style::of(stdout).columns : any_width));
    }
    if (options.html) {
        write(*options.html, format_page(comparison));
    }
}

int run(const CompareOptions& options, const std::string& command)
{
    const auto here = own_folder();
    const std::string perf = here / "perf";
    if (::access(perf.c_str(), X_OK) != 0) {
        throw ClientError(fmt::format("{} is missing; build it: cmake --build build", perf));
    }
    const Placement placement = place(options.pin, usable_cpus());
    Comparison comparison;
    comparison.options = options;
    comparison.command = command;
    comparison.date = date_and_time();
    comparison.machine = this_machine();
    comparison.placement = placement.words;
    comparison.contestants = contestants_of(options, (here.parent_path() / "stages").string());
    if (!options.externals.empty() && !placement.server.empty()) {
        comparison.placement += " (external servers: on the CPUs that they use)";
    }
    for (const Scenario& scenario : all_scenarios()) {
        const auto& names = options.scenarios;
        if (std::find(names.begin(), names.end(), scenario.name) != names.end()) {
            comparison.scenarios.push_back(scenario);
            comparison.placement += scenario.server_has_all_cpus && !placement.server.empty()
                                        ? fmt::format(" ({}: server on all CPUs)", scenario.name)
                                        : "";
        }
    }

    if (!options.baseline.empty()) {
        comparison.baseline = load_baseline(options.baseline, comparison);
    }

    // Said once and now, not by perf in each measurement.
    unsigned connections = options.clients;
    for (const Scenario& scenario : comparison.scenarios) {
        connections = std::max(connections, scenario.name == "idle" ? options.idle : 0);
    }
    check_room_for(connections + 1);  // the perf beside them

    bool interrupted = false;
    try {
        {
            Supervisor supervisor([] {});
            ask_for_pools(comparison, supervisor);
        }
        const std::unique_ptr<Progress> progress = Progress::of(comparison);
        Supervisor supervisor([&] { progress->on_tick(); });
        measure_all(comparison, Bench{supervisor, options, placement, perf, *progress}, *progress);
    } catch (const Interrupted&) {
        interrupted = true;
    }
    leave_out_unmeasured(comparison);
    if (!comparison.scenarios.empty()) {
        write_report(comparison);
    } else if (interrupted) {
        fmt::print(stderr, "compare: stopped before anything was measured\n");
    }
    if (interrupted) {
        return 130;
    }
    return any_failed(comparison) ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv)
try {
    std::setlocale(LC_CTYPE, "");
    ::signal(SIGPIPE, SIG_IGN);  // a reader that leaves must not keep us from ending the children
    return run(parse_compare_options(argc, argv), command_line(argc, argv));
} catch (const std::exception& error) {
    fmt::print(stderr, "compare: {}\n", error.what());
    return EXIT_FAILURE;
}
