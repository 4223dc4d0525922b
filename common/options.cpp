#include "common/options.hpp"

#include "common/log.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>
#include <utility>
#include <vector>

namespace ground {

namespace {

// As many descriptors as the system allows: the usual soft limit of 1024 is there for programs
// that use select without looking. Ours look.
void raise_descriptor_limit() noexcept
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &limit);
    }
}

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
    const auto set = [&target, choices](const std::string& word) {
        const auto same = [&word](const auto& choice) { return choice.first == word; };
        target = std::find_if(choices.begin(), choices.end(), same)->second;
    };
    app.add_option_function<std::string>(name, set, help)
        ->check(CLI::IsMember(words))
        ->type_name(fmt::format("{}", fmt::join(words, "|")))
        ->default_str(words.front());
}

}  // namespace

Options parse_options(int argc, char** argv, const About& about)
{
    open_standard_descriptors();
    Options options;
    options.stage = about.stage;
    options.workers = std::max(1U, std::thread::hardware_concurrency());

    CLI::App app(about.teaches, about.stage);
    app.get_formatter()->column_width(34);
    app.add_option("--host", options.host, "Address to listen on")->capture_default_str();
    app.add_option("--port", options.port, "Port to listen on; 0 picks a free one")
        ->capture_default_str();
    add_choice<Framing>(
        app, "--framing", options.rules.framing,
        {{"auto", Framing::automatic}, {"line", Framing::line}, {"chunk", Framing::chunk}},
        "How bytes become requests");
    app.add_option("--max-n", options.rules.max_n, "The largest number that is computed")
        ->check(CLI::Range(0U, fib_limit))
        ->type_name("N")
        ->capture_default_str();
    add_choice<FibFunction>(app, "--algorithm", options.rules.fib,
                            {{"recursive", fib}, {"fast", fib_fast}},
                            "How numbers are computed: slowly on purpose, or not");
    app.add_flag("-q,--quiet", options.quiet, "Say nothing about single connections");
    if (about.has_pool) {
        add_choice<PoolKind>(app, "--pool", options.pool,
                             {{"processes", PoolKind::processes},
                              {"threads", PoolKind::threads},
                              {"inline", PoolKind::inline_}},
                             "Who computes");
        app.add_option("--workers", options.workers, "Workers in the pool (default: cores)")
            ->check(CLI::Range(1U, 256U))
            ->type_name("N")
            ->capture_default_str();
    }

    if (about.has_gil) {
        const auto set = [&options](unsigned microseconds) {
            options.switch_interval = std::chrono::microseconds(microseconds);
        };
        const std::map<std::string, unsigned> units{{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}};
        app.add_option_function<unsigned>("--switch-interval", set,
                                          "How long a thread waits before it asks for the lock")
            ->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::UNIT_REQUIRED))
            ->type_name("TIME")
            ->default_str("5ms");
    }

    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", app.help());
        if (std::fflush(stdout) != 0) {
            log("{}: can't write to stdout: {}", about.stage, std::strerror(errno));
            std::exit(EXIT_FAILURE);
        }
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        log("{}: {}; --help lists the options", about.stage, error.what());
        std::exit(2);
    }
    if (options.quiet) {
        silence_connection_log();
    }
    raise_descriptor_limit();
    ::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is one error among others
    return options;
}

}  // namespace ground
