#include "clients/compare/compare_options.hpp"

#include "clients/compare/measure/scenarios.hpp"
#include "common/base/command_line.hpp"
#include "common/base/descriptor.hpp"
#include "common/base/numbers.hpp"
#include "common/server/fib.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <utility>

namespace ground {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "compare: {}\n", why);
    std::exit(2);
}

void add_duration(CLI::App& app, const std::string& name, Nanoseconds& target)
{
    app.add_option_function<std::string>(name, [&target, name](const std::string& text) {
        const auto duration = parse_duration(text);
        // perf's connections and its last replies take a tenth of a second. A shorter measurement
        // shows only that.
        if (!duration || *duration < std::chrono::milliseconds(200)) {
            throw CLI::ValidationError(
                fmt::format("{}: '{}' is not a duration of at least 200ms; try 2s",
                            name.substr(name.find(',') + 1), text));
        }
        target = *duration;
    });
}

constexpr auto help = R"(compare [OPTIONS] [STAGE...]        (without one: those of the talk)

Starts each stage on a free port, gives all of them the same work, and ends with
one table. STAGE is a name or its beginning (02, 04_generators), or a group
(talk, around, beyond, all). It can also be the path of a program that takes
--port 0 and says where it is listening, as stages do.

What is measured:
      --scenario LIST      some of these                                  [all]
         solo              one client, fib(1): the talk's perf2
         crowd             many clients, fib(1)
         hog               one client: first alone; then beside a hog, which
                           asks for one big number after another; then alone
                           again
         crowd-hog         the same with a crowd
         parallel          the time of big requests: one alone, 2 and 4 at once
         idle              one client beside very many silent connections
         pipeline          a crowd that sends many requests at once
      --external NAME=HOST:PORT
                           also a server that is running already; repeatable
                           (alone: only these; its CPU and memory are not known)
      --pool KIND          processes, threads, inline or broker, for the stages
                           with a pool
How:
  -c, --connections N      clients in a crowd                              [16]
  -d, --duration TIME      of one measurement: 2s, 500ms                   [1s]
  -r, --runs N             how often all of it is measured                  [3]
      --big N              what a big request asks for                     [40]
      --idle N             silent connections                            [1100]
      --pipeline N         requests sent at once                           [16]
      --pin WHERE          server and clients on CPUs apart, together, or off:
                           the kernel chooses                           [apart]
      --timeout TIME       time limit for the start of a stage, and for how
                           much too long a big request may take          [10s]
      --baseline FILE      compares with the --json=FILE of an earlier run
What is shown:
      --json, --csv, --markdown
                           the results in that form on stdout, not as a table
      --json=FILE, ...     also in the file
      --html FILE          a page with charts, for any browser, to keep
  -h, --help               this help

While it runs, each stage has a line with its reqs/sec over time, on a
logarithmic scale. The lines stay on the terminal when it ends.

The stages take turns in each run, so a machine that gets slower affects all of
them. The table shows the median of the runs, and after +- half the distance
from the worst to the best. Two stages are ranked only if the gap between their
runs is at least as wide as the spread of each. All loads are closed loops: a
client sends its next request when it has a reply. A client without any reply
starves.
"kept" is what the hog leaves of a client's reqs/sec, in percent. "speed-up" is
the time of four big requests one after another, over that of four at once.

Examples:
  compare                          the talk, all scenarios: seven minutes
  compare 02 04 --scenario hog     one client, and a hog that joins it
  compare --scenario hog,crowd --html stages.html
                                   the picture for the whole class
  compare talk 08 --scenario solo  the talk's stages, and one more
  compare 07 --external py=localhost:25000 --scenario crowd
                                   a stage and a server in Python

Exit status: 0 if all was measured (a stage that starves its clients is a
result, too), 1 if a stage failed, 2 after a mistake in the options, 130 after
Ctrl-C.
)";

// Checked before the minutes of measuring, not after them. A file that does not exist is created
// and removed again, because permissions alone do not tell.
bool can_be_written(const std::string& file)
{
    if (::access(file.c_str(), F_OK) == 0) {
        return !fs::is_directory(file) && ::access(file.c_str(), W_OK) == 0;
    }
    const Descriptor created(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    return created.get() >= 0 && ::unlink(file.c_str()) == 0;
}

// The stages that a text may mean: the one with this name. If there is none, those that begin with
// it as a word. If there are none of these, those that begin with it at all.
std::vector<std::string> matches(const std::vector<std::string>& names, const std::string& text)
{
    std::vector<std::string> found;
    for (const std::string& beginning : {text + "_", text}) {
        for (const std::string& name : names) {
            if (name == text) {
                return {name};
            }
            if (name.starts_with(beginning)) {
                found.push_back(name);
            }
        }
        if (!found.empty()) {
            break;
        }
    }
    return found;
}

// What a stage's page says of it, in the table that CMake has put beside the programs.
struct Place {
    std::string group;  // "the talk"
    bool serves = true;
};

std::map<std::string, Place> places_in(const std::string& directory)
{
    std::map<std::string, Place> places;
    std::ifstream table(fs::path(directory) / "stages.tsv");
    for (std::string line; std::getline(table, line);) {
        std::istringstream fields(line);
        std::string name;
        std::string group;
        std::string model;
        std::getline(fields, name, '\t');
        std::getline(fields, group, '\t');
        std::getline(fields, model, '\t');
        places[name] = {group, model != "no server"};
    }
    return places;
}

// The stages of a group, or nothing if the word names none. Without the table, all stages are the
// talk's.
std::optional<std::vector<std::string>> group_of(const std::vector<std::string>& names,
                                                 const std::map<std::string, Place>& places,
                                                 const std::string& word)
{
    static const std::map<std::string, std::string> groups{{"talk", "the talk"},
                                                           {"around", "around the talk"},
                                                           {"beyond", "beyond the talk"},
                                                           {"all", ""}};
    const auto group = groups.find(word);
    if (group == groups.end()) {
        return std::nullopt;
    }
    std::vector<std::string> members;
    for (const std::string& name : names) {
        const auto place = places.find(name);
        const bool known = place != places.end();
        if (known && !place->second.serves) {
            continue;
        }
        if (word == "all" || (known ? place->second.group == group->second : places.empty())) {
            members.push_back(name);
        }
    }
    return members;
}

std::vector<std::string> stages_in(const std::string& directory)
{
    std::vector<std::string> names;
    std::error_code problem;
    for (const auto& entry : fs::directory_iterator(directory, problem)) {
        const std::string name = entry.path().filename();
        const bool is_library = entry.path().extension() == ".so";  // executable as well
        const auto rights = entry.status().permissions();
        if (entry.is_regular_file() && !is_library &&
            std::isdigit(static_cast<unsigned char>(name[0])) != 0 &&
            (rights & fs::perms::owner_exec) != fs::perms::none) {
            names.push_back(name);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

std::optional<Contestant> parse_external(std::string_view text)
{
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string_view::npos) {
        return std::nullopt;
    }
    const auto target = parse_target(text.substr(equals + 1));
    if (!target) {
        return std::nullopt;
    }
    return Contestant{std::string(text.substr(0, equals)), "", *target};
}

CompareOptions parse_compare_options(int argc, char** argv)
{
    CompareOptions options;
    std::string json;
    std::string csv;
    std::string markdown;
    CLI::App app;
    last_option_wins(app);
    app.add_option("stages", options.stages);
    app.add_option("--scenario", options.scenarios)
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check([](const std::string& name) {
            const auto names = scenario_names();
            return std::find(names.begin(), names.end(), name) != names.end()
                       ? std::string()
                       : fmt::format("'{}' is not one of {}", name, fmt::join(names, ", "));
        });
    app.add_option_function<std::vector<std::string>>(
           "--external",
           [&options](const std::vector<std::string>& texts) {
               for (const std::string& text : texts) {
                   auto external = parse_external(text);
                   if (!external) {
                       throw CLI::ValidationError(fmt::format(
                           "--external: '{}' is not NAME=HOST:PORT; try python=localhost:25000",
                           text));
                   }
                   options.externals.push_back(std::move(*external));
               }
           })
        ->allow_extra_args(false);
    add_choice<std::string>(app, "--pool", options.pool,
                            {{"processes", "processes"},
                             {"threads", "threads"},
                             {"inline", "inline"},
                             {"broker", "broker"}});
    add_number(app, "-c,--connections", options.clients, 1U, 10'000U);
    add_duration(app, "-d,--duration", options.duration);
    add_number(app, "-r,--runs", options.runs, 1U, 1000U);
    add_number(app, "--idle", options.idle, 1U, 100'000U);
    add_number(app, "--pipeline", options.pipeline, 2U, 10'000U);
    add_number(app, "--big", options.big, 1U, 50U);  // the stages' --max-n
    add_choice<Pin>(app, "--pin", options.pin,
                    {{"apart", Pin::apart}, {"together", Pin::together}, {"off", Pin::off}});
    add_duration(app, "--timeout", options.timeout);
    app.add_option("--baseline", options.baseline);
    const auto* const json_flag = app.add_flag("--json{-}", json);
    const auto* const csv_flag = app.add_flag("--csv{-}", csv);
    const auto* const markdown_flag = app.add_flag("--markdown{-}", markdown);
    app.add_option("--html", options.html);

    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(explain_mistake(app, error));
    }
    int to_stdout = 0;
    const auto destination = [&to_stdout](const CLI::Option* flag, const std::string& value) {
        to_stdout += flag->count() > 0 && value == "-" ? 1 : 0;
        return flag->count() == 0 ? std::nullopt : std::optional(value == "-" ? "" : value);
    };
    options.json = destination(json_flag, json);
    options.csv = destination(csv_flag, csv);
    options.markdown = destination(markdown_flag, markdown);
    if (to_stdout > 1) {
        refuse("only one of --json, --csv and --markdown can have stdout; try --json=FILE");
    }
    for (const auto& file : {options.json, options.csv, options.markdown, options.html}) {
        if (file && (!file->empty() || file == options.html) && !can_be_written(*file)) {
            refuse(fmt::format("can't write '{}'; choose another file", *file));
        }
    }
    if (options.scenarios.empty()) {
        options.scenarios = scenario_names();
    }
    return options;
}

std::vector<Contestant> contestants_of(const CompareOptions& options, const std::string& directory)
{
    const std::vector<std::string> names = stages_in(directory);
    std::vector<Contestant> contestants;
    const auto add = [&contestants](const std::string& name, const std::string& program) {
        const auto same = [&](const Contestant& other) { return other.program == program; };
        if (std::none_of(contestants.begin(), contestants.end(), same)) {
            contestants.push_back({name, program, {}});
        }
    };
    const auto places = places_in(directory);
    std::vector<std::string> wanted = options.stages;
    if (wanted.empty() && options.externals.empty()) {
        wanted = {"talk"};
    }
    for (const std::string& text : wanted) {
        if (const auto group = group_of(names, places, text)) {
            for (const std::string& name : *group) {
                add(name, fs::path(directory) / name);
            }
            continue;
        }
        if (text.find('/') != std::string::npos) {
            add(fs::path(text).filename(), text);
            continue;
        }
        const auto found = matches(names, text);
        if (found.empty()) {
            throw ClientError(
                fmt::format("no stage '{}' in {}; there are: {}; groups: talk, around, beyond, all",
                            text, directory, fmt::join(names, ", ")));
        }
        if (found.size() > 1) {
            throw ClientError(fmt::format(
                "'{}' may be {}; name one of them, or a group: talk, around, beyond, all", text,
                fmt::join(found, ", ")));
        }
        add(found.front(), fs::path(directory) / found.front());
    }
    contestants.insert(contestants.end(), options.externals.begin(), options.externals.end());
    if (contestants.empty()) {
        throw ClientError(fmt::format(
            "there are no stages in {}; build them first: cmake --build build", directory));
    }
    return contestants;
}

}  // namespace ground
