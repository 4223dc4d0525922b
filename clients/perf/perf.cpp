// perf.cpp -- the load client: how many requests per second, and how long does each take?

#include "clients/perf/load.hpp"
#include "clients/perf/perf_options.hpp"
#include "clients/perf/report.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace ground;

namespace {

// What the signal handler writes to. A process has one such handler.
volatile sig_atomic_t stop_fd = -1;

// SIGINT and SIGTERM end the run, not the process: they make the returned descriptor readable. A
// second signal ends the process, in case it hangs where it can't look.
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

// Where data goes: a file of its own, or standard output.
class Output {
  public:
    // Throws ClientError if the file can't be written. An empty name means standard output.
    Output(std::string name, std::string_view option)
        : name_(std::move(name)), option_(option), file_(name_.empty() ? stdout : open(name_))
    {
        if (file_ == nullptr) {
            fail();
        }
    }
    ~Output()
    {
        if (file_ != nullptr && file_ != stdout) {
            std::fclose(file_);
        }
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    [[nodiscard]] std::FILE* get() const noexcept { return file_; }

    // Throws ClientError if something could not be written.
    void finish()
    {
        std::FILE* const file = std::exchange(file_, nullptr);
        const bool failed = std::ferror(file) != 0;
        if ((file == stdout ? std::fflush(file) : std::fclose(file)) != 0 || failed) {
            fail();
        }
    }

  private:
    static std::FILE* open(const std::string& name) { return std::fopen(name.c_str(), "we"); }

    [[noreturn]] void fail() const
    {
        throw ClientError(fmt::format("can't write {}; choose another {}=FILE",
                                      name_.empty() ? "to standard output" : name_, option_));
    }

    std::string name_;
    std::string_view option_;
    std::FILE* file_;
};

// Passes everything on to several observers.
class Observers : public LoadObserver {
  public:
    void add(LoadObserver& observer) { observers_.push_back(&observer); }

    void on_interval(const Interval& interval) override
    {
        for (LoadObserver* const observer : observers_) {
            observer->on_interval(interval);
        }
    }
    void on_reply(unsigned n, Number fib, Nanoseconds latency) override
    {
        for (LoadObserver* const observer : observers_) {
            observer->on_reply(n, fib, latency);
        }
    }

  private:
    std::vector<LoadObserver*> observers_;
};

int run(const PerfOptions& options)
{
    check_room_for(options.connections + options.idle);
    std::optional<Output> json;
    std::optional<Output> csv;
    Connected first = connect(options.target, std::chrono::seconds(3));
    if (options.json) {
        json.emplace(*options.json, "--json");
    }
    if (options.csv) {
        csv.emplace(*options.csv, "--csv");
    }
    const Descriptor stop = stop_on_signals();

    // With data on standard output, nothing else may be there. Text for people goes to standard
    // error.
    const bool only_data = options.json == "" || options.csv == "";
    std::FILE* const out = only_data ? stderr : stdout;
    const bool talkative = !only_data || !options.quiet;
    if (talkative) {
        fmt::print(out, "{}", format_header(options));
        std::fflush(out);
    }
    LiveView view(options, out, Style::of(out));
    Observers observers;
    observers.add(view);
    std::optional<CsvView> csv_view;
    if (csv) {
        observers.add(csv_view.emplace(csv->get()));
    }
    const LoadResult result = run_load(options, std::move(first), stop.get(), observers);
    if (talkative) {
        if (result.stopped && ::isatty(::fileno(out)) != 0) {
            fmt::print(out, "\n");  // the terminal has echoed ^C
        }
        fmt::print(out, "{}", format_report(options, result));
        std::fflush(out);
    }
    if (json) {
        std::fputs(format_json(options, result).c_str(), json->get());
        json->finish();
    }
    if (csv) {
        csv->finish();
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
