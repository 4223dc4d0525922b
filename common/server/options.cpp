#include "common/server/options.hpp"

#include "common/base/command_line.hpp"
#include "common/base/limits.hpp"
#include "common/base/numbers.hpp"
#include "common/observe/seams.hpp"
#include "common/server/log.hpp"
#include "common/server/trace.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace ground {

namespace {

// Opens /dev/null as the descriptors 0, 1 and 2 if these were closed when we were started.
// Otherwise the first sockets would get these numbers, and a client would get our log.
void open_standard_descriptors() noexcept
{
    int fd = 0;
    do {
        fd = ::open("/dev/null", O_RDWR);
    } while (fd != -1 && fd <= STDERR_FILENO);
    ::close(fd);
}

// "5ms", "500us", "1s"
std::optional<std::chrono::microseconds> parse_interval(std::string_view text)
{
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto count = parse_number<std::uint32_t>(text.substr(0, digits));
    const std::string_view unit = text.substr(digits);
    const std::int64_t length = unit == "us" ? 1 : unit == "ms" ? 1'000 : 1'000'000;
    const std::chrono::microseconds interval(count.value_or(0) * length);
    if ((unit != "us" && unit != "ms" && unit != "s") || interval <= std::chrono::seconds(0) ||
        interval > std::chrono::hours(1)) {
        return std::nullopt;
    }
    return interval;
}

// An option that takes a time.
CLI::Option* add_time(CLI::App& app, const std::string& name, std::chrono::microseconds& target,
                      const std::string& help)
{
    const auto set = [&target, name](const std::string& text) {
        const auto interval = parse_interval(text);
        if (!interval) {
            throw CLI::ValidationError(
                fmt::format("{}: '{}' is not a time; try 5ms, 500us or 1s", name, text));
        }
        target = *interval;
    };
    return app.add_option_function<std::string>(name, set, help)->type_name("TIME");
}

// Overwrites the password in amqp://user:password@host, wherever it stands in the text.
template <typename Text>
void hide_password(Text&& text)
{
    const std::string_view all(text);
    const std::size_t scheme = all.find("://");
    const std::size_t at = all.find_last_of('@');
    if (scheme == all.npos || at == all.npos) {
        return;
    }
    const std::size_t colon = all.find(':', scheme + 3);
    for (std::size_t i = colon; colon != all.npos && i + 1 < at; ++i) {
        text[i + 1] = 'x';
    }
}

// Hides the password in the command line, which ps shows to all users of this machine, and in the
// environment, which children inherit.
void hide_passwords(int argc, char** argv)
{
    for (int i = 1; i < argc; ++i) {
        hide_password(argv[i]);
    }
    if (char* const variable = std::getenv("GROUND_BROKER")) {
        hide_password(variable);
    }
}

void add_broker_options(CLI::App& app, BrokerOptions& broker)
{
    app.add_option("--broker", broker.url,
                   "The broker: amqp(s)://user:password@host:port/vhost; better in the environment")
        ->envname("GROUND_BROKER")
        ->type_name("URL")
        ->default_str("amqp://127.0.0.1");
    app.add_option("--queue", broker.queue, "The queue between servers and workers")
        ->type_name("NAME")
        ->capture_default_str();
    app.add_flag("--durable", broker.durable, "Requests survive a restart of the broker");
}

void add_trace(CLI::App& app, std::string& trace)
{
    app.add_option("--trace", trace, "Write what happens to FILE, 200 MB of it, for Perfetto")
        ->type_name("FILE");
    static_assert(observe::most_trace_bytes == 200'000'000);
}

// An option that only some stages have: which stages these are, and the name of this trait in the
// table of the stages. A trait without a name is not in the table.
struct Special {
    std::string_view option;
    std::string_view stages;
    std::string_view trait;
};
constexpr std::array<Special, 14> special_options{
    {{"--pool", "stages with a pool", "pool"},
     {"--workers", "stages with a pool", "pool"},
     {"--broker", "stages with a pool", "pool"},
     {"--queue", "stages with a pool", "pool"},
     {"--durable", "stages with a pool", "pool"},
     {"--broker-timeout", "stages with a pool", "pool"},
     {"--guard", "stages whose clients share numbers", "guard"},
     {"--idle-timeout", "stages with limits", "limits"},
     {"--request-timeout", "stages with limits", "limits"},
     {"--max-waiting", "stages with limits", "limits"},
     {"--switch-interval", "the stage with an interpreter lock", ""},
     {"--inline-below", "the stage that computes small numbers on its loop", ""},
     {"--threads", "stages with a loop per core", ""},
     {"--processes", "stages with a loop per core", ""}}};

// The stages that have a trait, from the table that CMake has put beside the programs. Empty if the
// table is missing.
std::vector<std::string> stages_with(std::string_view trait)
{
    std::vector<std::string> stages;
    std::error_code unknown;
    const auto program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    std::ifstream table(program.parent_path() / "stages.tsv");
    for (std::string line; std::getline(table, line);) {
        std::array<std::string, 5> fields;  // name, group, model, since, traits
        std::istringstream row(line);
        for (std::string& field : fields) {
            std::getline(row, field, '\t');
        }
        if (fmt::format(",{},", fields[4]).find(fmt::format(",{},", trait)) != std::string::npos) {
            stages.push_back(fields[0]);
        }
    }
    return stages;
}

// Says which stages have this option, or returns nothing if it is no such option.
std::optional<std::string> explain_special(std::string_view word)
{
    const std::string_view name = word.substr(0, word.find('='));
    const auto* const found =
        std::find_if(special_options.begin(), special_options.end(),
                     [&](const Special& special) { return special.option == name; });
    if (found == special_options.end()) {
        return std::nullopt;
    }
    const auto stages =
        found->trait.empty() ? std::vector<std::string>() : stages_with(found->trait);
    return fmt::format("{} is for {}{}", name, found->stages,
                       stages.empty() ? std::string("; --help lists the options of this one")
                                      : fmt::format(": {}", fmt::join(stages, ", ")));
}

// Ends the program after --help and after a mistake.
void parse(CLI::App& app, int argc, char** argv, const About& stage)
try {
    app.parse(argc, argv);
    hide_passwords(argc, argv);
} catch (const CLI::CallForHelp&) {
    fmt::print("{}", app.help());
    if (std::fflush(stdout) != 0) {
        log("{}: can't write to stdout: {}", stage.name, std::strerror(errno));
        std::exit(EXIT_FAILURE);
    }
    std::exit(EXIT_SUCCESS);
} catch (const CLI::ParseError& error) {
    const auto special = explain_special(unknown_option(app));
    std::string mistake = special ? *special : explain_mistake(app, error);
    hide_password(mistake);  // it may repeat what was typed
    log("{}: {}", stage.name, mistake);
    std::exit(2);
}

}  // namespace

Options parse_options(int argc, char** argv, const About& stage, Has has)
{
    open_standard_descriptors();
    Options options;
    options.stage = stage.name;
    options.workers = std::max(1U, std::thread::hardware_concurrency());
    options.threads = std::max(1U, std::thread::hardware_concurrency());
    unsigned inline_below = 0;

    CLI::App app(stage.teaches, stage.name);
    last_option_wins(app);
    app.get_formatter()->column_width(34);
    app.add_option("--host", options.host, "Address to listen on")->capture_default_str();
    add_number<std::uint16_t>(app, "--port", options.port, 0, 65535,
                              "Port to listen on; 0 picks a free one");
    add_choice<Framing>(
        app, "--framing", options.rules.framing,
        {{"auto", Framing::automatic}, {"line", Framing::line}, {"chunk", Framing::chunk}},
        "How bytes become requests");
    add_number(app, "--max-n", options.rules.max_n, 0U, fib_limit,
               fmt::format("The largest number that is computed, up to {}", fib_limit));
    add_choice<FibFunction>(app, "--algorithm", options.rules.fib,
                            {{"recursive", fib}, {"fast", fib_fast}},
                            "How numbers are computed: slowly on purpose, or not");
    app.add_flag("-q,--quiet", options.quiet, "Say nothing about single connections");
    std::string trace;
    add_trace(app, trace);
    if (has.pool) {
        add_choice<PoolKind>(app, "--pool", options.pool,
                             {{"processes", PoolKind::processes},
                              {"threads", PoolKind::threads},
                              {"inline", PoolKind::inline_},
                              {"broker", PoolKind::broker}},
                             "Where numbers are computed");
        add_number(app, "--workers", options.workers, 1U, 256U,
                   "Workers in the pool (default: cores)");
        add_broker_options(app, options.broker);
        add_time(app, "--broker-timeout", options.broker.timeout,
                 "How long a request may wait for a worker's reply")
            ->default_str("10s");
    }

    if (has.guard) {
        add_choice<Guard>(
            app, "--guard", options.guard,
            {{"mutex", Guard::mutex}, {"none", Guard::none}, {"atomic", Guard::atomic}},
            "What protects the numbers that threads share");
    }
    if (has.gil) {
        add_time(app, "--switch-interval", options.switch_interval,
                 "How long a thread waits before it asks for the lock")
            ->default_str("5ms");
    }
    if (has.limits) {
        add_time(app, "--idle-timeout", options.limits.idle,
                 "How long a client may send no request (default: as long as it likes)");
        add_time(app, "--request-timeout", options.limits.request,
                 "How long a request may take (default: as long as it takes)");
        add_number(app, "--max-waiting", options.limits.waiting, std::size_t{1},
                   std::size_t{1'000'000}, "Requests that may wait for a worker");
    }
    CLI::Option* below = nullptr;
    if (has.inline_below) {
        below = add_number(app, "--inline-below", inline_below, 0U, fib_limit + 1,
                           "Smaller numbers are computed by the loop (default: it measures)")
                    ->default_str("");
    }
    if (has.loops) {
        auto* const threads =
            add_number(app, "--threads", options.threads, 1U, 256U, "Loops (default: cores)");
        add_number(app, "--processes", options.processes, 1U, 256U,
                   "Loops, each in a process of its own")
            ->default_str("")
            ->excludes(threads);
    }

    parse(app, argc, argv, stage);
    if (below != nullptr && below->count() > 0) {
        options.inline_below = inline_below;
    }
    try {
        observe::attach();  // first, because what follows may fork
    } catch (const std::runtime_error& error) {
        log("{}: the server can't be watched: {}; unset GROUND_WATCH", stage.name, error.what());
        std::exit(2);
    }
    if (!trace.empty()) {
        observe::trace_to(trace, options.stage);
    }
    if (options.quiet) {
        silence_connection_log();
    }
    raise_descriptor_limit();
    ::signal(SIGPIPE, SIG_IGN);  // a write to a client that has gone is an ordinary error
    return options;
}

Options parse_worker_options(int argc, char** argv, const About& stage)
{
    open_standard_descriptors();
    Options options;
    options.stage = stage.name;
    CLI::App app(stage.teaches, stage.name);
    last_option_wins(app);
    app.get_formatter()->column_width(34);
    add_broker_options(app, options.broker);
    std::string trace;
    add_trace(app, trace);
    parse(app, argc, argv, stage);
    if (!trace.empty()) {
        observe::trace_to(trace, options.stage);
    }
    ::signal(SIGPIPE, SIG_IGN);
    return options;
}

}  // namespace ground
