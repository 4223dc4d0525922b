#include "clients/judge/judge_options.hpp"

#include "common/base/command_line.hpp"
#include "common/base/numbers.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

namespace ground::judge {

namespace {

constexpr auto help = R"(judge [OPTIONS] -- COMMAND...       or: judge [OPTIONS] --connect HOST:PORT

Starts any server that speaks our protocol, in any language, and says which
promises it keeps. In the command, {port} is the port to listen on. Without
{port}, --port N is appended; the environment has PORT=N, too.

      --as STAGE          also judge what this stage promises: 02, 04_generators
      --connect HOST:PORT judge a server that runs already
      --framing auto      also judge whether it answers numbers without line ends
      --only LIST         only these: protocol/half-close, or a group: protocol
      --until-fail N      run each up to N times, until it is broken
      --list              say which promises there are
      --json FILE         all results; - is stdout
      --junit FILE        the same for a build server
      --gradescope FILE   the same for Gradescope
      --baseline FILE     what is known to fail: ids, a line each, or a --json file
      --start SECONDS     how long it may take to listen
                                                       [10; 2 if it does nothing]
      --time-limit SECONDS  of all of it                                    [60]
  -v, --verbose           also say what is not applicable, and what each run said
  -h, --help              this help

Examples:
  judge -- python3 server.py {port}
  judge --as 02 --json result.json -- ./my_threads
  judge --only protocol/half-close -- ./my_threads

The server may do whatever your shell may do. To judge what you do not trust,
run the judge in a container.

Exit status: 0 all promises kept, 1 some broken, 2 unknown or nothing judged,
3 a mistake in the options or an error of the judge's.
)";

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "judge: {}\n", why);
    std::exit(3);
}

}  // namespace

JudgeOptions parse_judge_options(int argc, char** argv)
{
    JudgeOptions options;
    char** const end = argv + argc;
    char** const dashes =
        std::find_if(argv, end, [](const char* word) { return std::string_view(word) == "--"; });
    if (dashes != end) {
        options.command.assign(dashes + 1, end);
    }
    CLI::App app;
    last_option_wins(app);
    double start = 10;
    double time_limit = 60;
    app.add_option("--as", options.as);
    app.add_option("--connect", options.connect);
    add_choice<bool>(app, "--framing", options.guesses, {{"line", false}, {"auto", true}});
    app.add_option("--only", options.only)
        ->delimiter(',')
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
    add_number<unsigned>(app, "--until-fail", options.until_fail, 1, 1'000'000);
    app.add_flag("--list", options.list);
    app.add_flag("-v,--verbose", options.verbose);
    app.add_option("--json", options.json);
    app.add_option("--junit", options.junit);
    app.add_option("--gradescope", options.gradescope);
    app.add_option("--baseline", options.baseline);
    const auto* const start_given = add_number(app, "--start", start, 0.1, 600.0);
    auto* const limit = add_number(app, "--time-limit", time_limit, 1.0, 86'400.0);
    try {
        app.parse(static_cast<int>(dashes - argv), argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        const std::string option = unknown_option(app);
        refuse(option.empty() && !app.remaining().empty()
                   ? fmt::format("the command comes after --, as in: judge -- {}",
                                 app.remaining().front())
                   : explain_mistake(app, error));
    }
    if (!options.list && options.command.empty() == options.connect.empty()) {
        refuse(options.command.empty()
                   ? "which server? judge -- COMMAND... or judge --connect HOST:PORT"
                   : "--connect judges a server that runs already; leave out the command");
    }
    if (options.until_fail > 0 && limit->count() == 0) {
        time_limit = 86'400;
    }
    options.start = std::chrono::milliseconds(std::llround(start * 1000));
    options.asleep = start_given->count() > 0 ? options.start : options.asleep;
    options.time_limit = std::chrono::milliseconds(std::llround(time_limit * 1000));
    return options;
}

}  // namespace ground::judge
