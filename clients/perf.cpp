// perf.cpp -- the load client: how many requests per second, and how long does each take?

#include "clients/load.hpp"
#include "clients/perf_options.hpp"
#include "clients/report.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>

using namespace ground;

namespace {

// What the signal handler writes to. There is one such handler in a process.
volatile sig_atomic_t stop_fd = -1;

// SIGINT and SIGTERM end the run, not the process: they make the returned descriptor readable. A
// second one ends the process, should it hang where it can't look.
Descriptor stop_on_signals()
{
    Descriptor stop(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
    stop_fd = stop.get();
    struct sigaction action = {};
    action.sa_handler = [](int) {
        const int saved = errno;
        const std::uint64_t one = 1;
        [[maybe_unused]] const auto written = ::write(stop_fd, &one, sizeof one);
        errno = saved;
    };
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    return stop;
}

// As many descriptors as the system allows. Throws ClientError if that is too few.
void provide_descriptors(unsigned connections)
{
    constexpr rlim_t others = 16;  // standard streams, epoll, a timer, and some to spare
    rlimit limit{};
    check(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    if (limit.rlim_cur < connections + others) {
        throw ClientError(
            fmt::format("{} connections need {} descriptors and the limit is {}; choose fewer, or "
                        "raise the limit: ulimit -Hn (as root)",
                        connections, connections + others, limit.rlim_cur));
    }
}

void write_json(const PerfOptions& options, const LoadResult& result)
{
    const bool to_stdout = options.json->empty();
    std::FILE* const file = to_stdout ? stdout : std::fopen(options.json->c_str(), "we");
    bool written = file != nullptr && std::fputs(format_json(options, result).c_str(), file) >= 0;
    if (file != nullptr) {
        written = (to_stdout ? std::fflush(file) : std::fclose(file)) == 0 && written;
    }
    if (!written) {
        throw ClientError(fmt::format("can't write {}; choose another --json=FILE",
                                      to_stdout ? "to standard output" : *options.json));
    }
}

int run(const PerfOptions& options)
{
    provide_descriptors(options.connections);
    Connected first = connect(options.target, std::chrono::seconds(3));
    const Descriptor stop = stop_on_signals();

    // With JSON on standard output nothing else may be there: people can read on standard error.
    const bool json_only = options.json && options.json->empty();
    std::FILE* const out = json_only ? stderr : stdout;
    const bool talkative = !json_only || !options.quiet;
    if (talkative) {
        fmt::print(out, "{}", format_header(options));
        std::fflush(out);
    }
    LiveView view(options, out, Style::of(out));
    const LoadResult result = run_load(options, std::move(first), stop.get(), view);
    if (talkative) {
        fmt::print(out, "{}", format_report(options, result));
        std::fflush(out);
    }
    if (options.json) {
        write_json(options, result);
    }
    return failures(options, result).empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv)
try {
    std::setlocale(LC_CTYPE, "");
    return run(parse_perf_options(argc, argv));
} catch (const std::exception& error) {
    fmt::print(stderr, "perf: {}\n", error.what());
    return EXIT_FAILURE;
}
