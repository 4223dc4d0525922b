#include "clients/compare/show/progress.hpp"

#include "clients/compare/show/frame.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

namespace ground {

namespace {

std::vector<double> planned_seconds(const Comparison& comparison)
{
    std::vector<double> planned;
    for (const Scenario& scenario : comparison.scenarios) {
        planned.push_back(scenario.seconds(comparison.options));
    }
    return planned;
}

// ---- not on a terminal

class LineProgress : public Progress {
  public:
    explicit LineProgress(const Comparison& comparison) : Progress(comparison)
    {
        fmt::print(stderr, "About {:.0f} s: {}\n", seconds_left(), comparison.placement);
    }
    ~LineProgress() override
    {
        if (done() < total() && ::isatty(STDERR_FILENO) == 1) {
            fmt::print(stderr, "\n");  // behind the ^C that the terminal has echoed
        }
    }
    LineProgress(const LineProgress&) = delete;
    LineProgress& operator=(const LineProgress&) = delete;

    void on_step(std::string_view /*step*/) override {}
    void on_rate(double /*requests_per_second*/) override {}
    void on_tick() override {}

  private:
    void on_begin() override {}
    void on_skip(std::size_t /*scenario*/, std::size_t /*contestant*/,
                 const Measurement& /*known*/) override
    {
        // It has been reported.
    }
    void on_end(const Measurement& measurement) override
    {
        const Scenario& scenario = comparison().scenarios[current().scenario];
        const std::string line = fmt::format("[{}/{}, {:.0f} s left] run {}, {}, {}: {}", done(),
                                             total(), seconds_left(), current().run, scenario.name,
                                             comparison().contestants[current().contestant].name,
                                             brief(scenario, measurement));
        fmt::print(stderr, "{}\n", printable(line, true));
    }
};

// ---- on a terminal

// Ctrl-Z waits until it is let through.
class HeldSuspension {
  public:
    HeldSuspension()
    {
        ::sigemptyset(&signal_);
        ::sigaddset(&signal_, SIGTSTP);
        ::sigprocmask(SIG_BLOCK, &signal_, nullptr);
    }
    // This signal only: another part of the program may have blocked others for a reason.
    ~HeldSuspension() { ::sigprocmask(SIG_UNBLOCK, &signal_, nullptr); }
    HeldSuspension(const HeldSuspension&) = delete;
    HeldSuspension& operator=(const HeldSuspension&) = delete;

    [[nodiscard]] static bool asked_for() noexcept
    {
        sigset_t pending;
        ::sigpending(&pending);
        return ::sigismember(&pending, SIGTSTP) == 1;
    }
    // Returns once the program has been continued.
    void let_through() const noexcept
    {
        ::sigprocmask(SIG_UNBLOCK, &signal_, nullptr);
        ::sigprocmask(SIG_BLOCK, &signal_, nullptr);
    }

  private:
    sigset_t signal_{};
};

// Whether the terminal is ours at the moment. In the background it is the shell's. A terminal that
// does not control us belongs to no other program.
bool in_foreground(int terminal) noexcept
{
    const pid_t group = ::tcgetpgrp(terminal);
    return group < 0 || group == ::getpgrp();
}

// At Ctrl-C and Ctrl-Z a terminal throws away output that it has not shown yet. Half a frame would
// be left, and the cursor at an unknown place. NOFLSH asks it to keep the output until this object
// is gone. If we are killed the setting stays, which does no harm.
class KeptOutput {
  public:
    explicit KeptOutput(int terminal) noexcept : terminal_(terminal) { keep(); }
    ~KeptOutput() { release(); }
    KeptOutput(const KeptOutput&) = delete;
    KeptOutput& operator=(const KeptOutput&) = delete;

    void keep() noexcept
    {
        if (!before_ && in_foreground(terminal_)) {
            termios modes{};
            if (::tcgetattr(terminal_, &modes) == 0) {
                before_ = modes;
                modes.c_lflag |= NOFLSH;
                ::tcsetattr(terminal_, TCSANOW, &modes);
            }
        }
    }
    void release() noexcept
    {
        if (before_ && in_foreground(terminal_)) {
            ::tcsetattr(terminal_, TCSANOW, &*before_);
        }
        before_.reset();
    }

  private:
    int terminal_;
    std::optional<termios> before_;
};

// A block of lines that is drawn in place on the normal screen. The cursor rests on an empty line
// above the block, so everything below the cursor is the block's. A terminal that wraps the lines
// again after a resize can't move the block elsewhere. An echoed ^C lands on the empty line, and an
// echoed Enter moves the whole block down. If we are killed, the terminal is still usable.
class Block {
  public:
    explicit Block(int terminal) : terminal_(terminal) {}
    ~Block() { erase(); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    struct Size {
        unsigned rows = 24;
        unsigned columns = 80;
    };
    [[nodiscard]] Size size() const noexcept
    {
        winsize size{};
        const bool known = ::ioctl(terminal_, TIOCGWINSZ, &size) == 0;
        return known && size.ws_row > 0 && size.ws_col > 0 ? Size{size.ws_row, size.ws_col}
                                                           : Size{};
    }

    // The size is read at the last moment, because the lines must not be wider.
    void draw(const std::vector<std::string>& lines)
    {
        std::string text = "\r\x1b[K";
        for (const std::string& line : lines) {
            text += "\r\n" + line + "\x1b[K";
        }
        text += "\x1b[J";
        text += lines.empty() ? "\r" : fmt::format("\x1b[{}A\r", lines.size());
        write(text);
        drawn_ = true;
    }

    // Lines that stay: in place of the block, if there was one.
    void leave(const std::vector<std::string>& lines)
    {
        std::string text = "\r\x1b[J";
        for (const std::string& line : lines) {
            text += line + "\r\n";
        }
        write(text);
        drawn_ = false;
    }

    void erase() noexcept
    {
        if (std::exchange(drawn_, false)) {
            write("\r\x1b[J");
        }
    }

  private:
    // In one piece, so that half a block is never seen.
    void write(std::string_view text) noexcept
    {
        if (!in_foreground(terminal_)) {
            return;
        }
        while (!text.empty() && !gone_) {
            const ssize_t written = ::write(terminal_, text.data(), text.size());
            if (written >= 0) {
                text.remove_prefix(static_cast<std::size_t>(written));
            } else {
                gone_ = errno != EINTR;  // the terminal has been hung up
            }
        }
    }

    int terminal_;
    bool drawn_ = false;
    bool gone_ = false;
};

class BlockProgress : public Progress {
  public:
    explicit BlockProgress(const Comparison& comparison)
        : Progress(comparison), block_(STDERR_FILENO), style_(Style::of(stderr))
    {
        std::vector<StageLine> waiting;
        for (const Contestant& contestant : comparison.contestants) {
            waiting.push_back({.name = contestant.name, .words = "waiting", .rates = {}});
        }
        lines_.assign(comparison.scenarios.size(), waiting);
    }
    // The pictures of all scenarios that have curves stay above the table.
    ~BlockProgress() override { leave_pictures(); }
    BlockProgress(const BlockProgress&) = delete;
    BlockProgress& operator=(const BlockProgress&) = delete;

    void on_step(std::string_view step) override
    {
        step_ = step;
        step_begin_ = std::chrono::steady_clock::now();
    }

    void on_rate(double requests_per_second) override
    {
        StageLine& line = current_line();
        line.rates.push_back(requests_per_second);
        line.best = std::max(line.best, requests_per_second);
    }

    void on_tick() override
    {
        if (HeldSuspension::asked_for()) {
            block_.erase();
            kept_output_.release();
            suspension_.let_through();
            kept_output_.keep();
        }
        if (current().run > 0) {
            draw();
        }
    }

  private:
    StageLine& current_line() { return lines_[current().scenario][current().contestant]; }

    void on_begin() override
    {
        current_line().state = StageLine::State::running;
        current_line().rates.clear();
        on_step("starting");
    }

    void on_skip(std::size_t scenario, std::size_t contestant, const Measurement& known) override
    {
        StageLine& line = lines_[scenario][contestant];
        line.state = StageLine::State::failed;
        line.words = brief(comparison().scenarios[scenario], known);
    }

    void on_end(const Measurement& measurement) override
    {
        StageLine& line = current_line();
        const bool measured = measurement.verdict.empty();
        line.state = measured ? StageLine::State::measured : StageLine::State::failed;
        line.words = brief(comparison().scenarios[current().scenario], measurement);
    }

    // Of the last run of each stage, and so without its number.
    void leave_pictures() noexcept
    try {
        style_.columns = block_.size().columns;
        std::vector<std::string> lines;
        for (std::size_t s = 0; s < lines_.size(); ++s) {
            const bool drawn =
                std::any_of(lines_[s].begin(), lines_[s].end(),
                            [](const StageLine& line) { return !line.rates.empty(); });
            if (done() > 0 && drawn) {
                const Scenario& scenario = comparison().scenarios[s];
                const auto picture = picture_of(
                    frame_of(s, fmt::format("{}, over time (logarithmic)", scenario.name)), style_);
                lines.insert(lines.end(), picture.begin(), picture.end());
                lines.emplace_back();
            }
        }
        if (!lines.empty()) {
            block_.leave(lines);
        }
    } catch (const std::exception&) {
        // The table is what counts.
    }

    [[nodiscard]] Frame frame_of(std::size_t scenario, std::string title) const
    {
        const CompareOptions& options = comparison().options;
        const auto slice = static_cast<double>(options.duration.count()) / Bench::slices / 1e9;
        Frame frame;
        frame.title = std::move(title);
        frame.stages = lines_[scenario];
        frame.slices =
            static_cast<std::size_t>(comparison().scenarios[scenario].seconds(options) / slice);
        return frame;
    }

    void draw()
    {
        const CompareOptions& options = comparison().options;
        const Scenario& scenario = comparison().scenarios[current().scenario];
        if (current_line().state == StageLine::State::running) {
            // The seconds show a stage that hangs. If all goes well they would only flicker.
            const double seconds = seconds_since(step_begin_);
            current_line().words =
                seconds < 3 ? step_ : fmt::format("{} {:.0f} s", step_, std::floor(seconds));
        }
        const double gone = seconds_gone();
        const double left = seconds_left();
        Frame frame = frame_of(current().scenario,
                               fmt::format("run {} of {}, {}: {}", current().run, options.runs,
                                           scenario.name, scenario.title(options)));
        frame.running = current().contestant;
        frame.done = done();
        frame.total = total();
        frame.share = gone / (gone + left);
        frame.seconds_left = left;
        const Block::Size size = block_.size();
        style_.columns = size.columns;
        block_.draw(lines_of(frame, style_, size.rows - 1));
    }

    HeldSuspension suspension_;  // before the block, which Ctrl-Z has to erase first
    KeptOutput kept_output_{STDERR_FILENO};
    Block block_;
    Style style_;
    std::vector<std::vector<StageLine>> lines_;  // of each scenario
    std::string step_;
    Time step_begin_;
};

}  // namespace

// ---- Progress

Progress::Progress(const Comparison& comparison)
    : comparison_(comparison),
      forecast_(planned_seconds(comparison), comparison.contestants.size(), comparison.options.runs)
{
}

std::unique_ptr<Progress> Progress::of(const Comparison& comparison)
{
    const char* const term = std::getenv("TERM");
    const bool dumb = term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
    if (dumb || ::isatty(STDERR_FILENO) == 0) {
        return std::make_unique<LineProgress>(comparison);
    }
    return std::make_unique<BlockProgress>(comparison);
}

void Progress::begin(unsigned run, std::size_t scenario, std::size_t contestant)
{
    current_ = {run, scenario, contestant};
    current_begin_ = std::chrono::steady_clock::now();
    measuring_ = true;
    on_begin();
}

void Progress::end(const Measurement& measurement)
{
    measuring_ = false;
    forecast_.add(current_.scenario, current_.contestant, seconds_since(current_begin_),
                  !measurement.verdict.empty());
    if (measurement.verdict == failed_to_start) {
        forecast_.give_up(current_.contestant);
    }
    ++done_;
    on_end(measurement);
}

void Progress::skip(std::size_t scenario, std::size_t contestant, const Measurement& known)
{
    forecast_.add(scenario, contestant, 0, true);
    ++done_;
    on_skip(scenario, contestant, known);
}

std::size_t Progress::total() const noexcept
{
    return comparison_.scenarios.size() * comparison_.contestants.size() * comparison_.options.runs;
}

double Progress::seconds_left() const
{
    // A measurement that takes longer than foreseen keeps the estimate where it is.
    const double of_current = measuring_
                                  ? std::min(seconds_since(current_begin_),
                                             forecast_.of(current_.scenario, current_.contestant))
                                  : 0;
    return std::max(forecast_.left() - of_current, 0.0);
}

double Progress::seconds_since(Time time)
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - time).count();
}

}  // namespace ground
