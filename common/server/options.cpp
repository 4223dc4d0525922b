#include "common/server/options.hpp"

#include "common/base/limits.hpp"
#include "common/base/numbers.hpp"
#include "common/observe/seams.hpp"
#include "common/server/log.hpp"
#include "common/server/trace.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace ground {

namespace {

// Descriptors 0, 1 and 2, if whoever has started us had closed them, lead nowhere. Else the first
// sockets would get these numbers, and a client would get our log.
void open_standard_descriptors() noexcept
{
    int fd = 0;
    do {
        fd = ::open("/dev/null", O_RDWR);
    } while (fd != -1 && fd <= STDERR_FILENO);
    ::close(fd);
}

// An option that takes one of a few words. The first is what it is set to if it is not given.
template <typename T>
void add_choice(CLI::App& app, const std::string& name, T& target,
                const std::vector<std::pair<std::string, T>>& choices, const std::string& help)
{
    std::vector<std::string> words;
    words.reserve(choices.size());
    for (const auto& choice : choices) {
        words.push_back(choice.first);
    }
    const auto set = [&target, choices, words, name](const std::string& word) {
        const auto same = [&word](const auto& choice) { return choice.first == word; };
        const auto found = std::find_if(choices.begin(), choices.end(), same);
        if (found == choices.end()) {
            throw CLI::ValidationError(
                fmt::format("{}: '{}' is not one of {}", name, word, fmt::join(words, ", ")));
        }
        target = found->second;
    };
    app.add_option_function<std::string>(name, set, help)
        ->type_name(fmt::format("{}", fmt::join(words, "|")))
        ->default_str(words.front());
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

// From the command line, where ps would show it to everybody on this machine, and from the
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

// Ends the program if there is nothing to run.
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
    std::string mistake = error.what();  // may repeat what was typed
    hide_password(mistake);
    log("{}: {}; --help lists the options", stage.name, mistake);
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
                             "Who computes");
        add_number(app, "--workers", options.workers, 1U, 256U,
                   "Workers in the pool (default: cores)");
        add_broker_options(app, options.broker);
        add_time(app, "--broker-timeout", options.broker.timeout,
                 "How long a request may wait for a worker's answer")
            ->default_str("10s");
    }

    if (has.guard) {
        add_choice<Guard>(
            app, "--guard", options.guard,
            {{"mutex", Guard::mutex}, {"none", Guard::none}, {"atomic", Guard::atomic}},
            "What keeps the threads apart");
    }
    if (has.gil) {
        add_time(app, "--switch-interval", options.switch_interval,
                 "How long a thread waits before it asks for the lock")
            ->default_str("5ms");
    }
    if (has.limits) {
        add_time(app, "--idle-timeout", options.limits.idle,
                 "How long a client may ask nothing (default: as long as it likes)");
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
        observe::attach();  // first, for what follows may fork
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
    ::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is one error among others
    return options;
}

Options parse_worker_options(int argc, char** argv, const About& stage)
{
    open_standard_descriptors();
    Options options;
    options.stage = stage.name;
    CLI::App app(stage.teaches, stage.name);
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
