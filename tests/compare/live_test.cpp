// The live view, as the user of a terminal sees it.
#include "tests/clients/process.hpp"
#include "tests/compare/screen.hpp"

#include <doctest/doctest.h>

#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <array>
#include <cstring>

using namespace ground;
using ground::test::Screen;

namespace {

using Arguments = std::vector<std::string>;

std::vector<std::string> compare(const Arguments& arguments)
{
    std::vector<std::string> command{COMPARE_PATH, "--connections", "4", "--big", "20"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
}

std::string fake(const std::string& flaw) { return FAKES_PATH "/fake_" + flaw; }

// compare on a terminal of 24 rows and 80 columns, as its user sees it.
class Session {
  public:
    explicit Session(const Arguments& arguments, const std::vector<std::string>& variables = {})
        : process_(compare(arguments), Process::Stdio::terminal, variables)
    {
        check(::tcgetattr(process_.terminal(), &modes_), "tcgetattr");
        modes_.c_lflag &= ~tcflag_t{NOFLSH};  // compare may have set it by now
    }

    Process& process() { return process_; }
    const Screen& screen() const { return screen_; }

    // Looks until the condition holds and the picture is complete.
    void until(const std::function<bool(const Screen&)>& condition)
    {
        REQUIRE(process_.until([&] {
            look();
            return screen_.whole() && condition(screen_);
        }));
    }
    void until(std::string_view text)
    {
        CAPTURE(text);
        until([&](const Screen& screen) { return screen.contains(text); });
    }

    // At a moment when no output is on its way to the terminal.
    void resize(unsigned short rows, unsigned short columns, Screen::Narrowing narrowing)
    {
        process_.stop();
        look();
        const winsize size{rows, columns, 0, 0};
        check(::ioctl(process_.terminal(), TIOCSWINSZ, &size), "TIOCSWINSZ");
        screen_.resize(rows, columns, narrowing);
        process_.signal(SIGCONT);
    }

    // Also at such a moment, because an echo in the middle of a frame would be part of it.
    void type(std::string_view text)
    {
        process_.stop();
        look();
        process_.type(text);
        process_.signal(SIGCONT);
    }

    int wait()
    {
        // The terminal's side that we hold outlives the program's.
        termios modes{};
        check(::tcgetattr(process_.terminal(), &modes), "tcgetattr");
        const int status = process_.wait();
        look();
        check(::tcgetattr(process_.terminal(), &modes), "tcgetattr");
        CHECK(modes.c_lflag == modes_.c_lflag);
        CHECK(modes.c_iflag == modes_.c_iflag);
        CHECK(modes.c_oflag == modes_.c_oflag);
        return status;
    }

  private:
    void look()
    {
        screen_.write(std::string_view(process_.out()).substr(seen_));
        seen_ = process_.out().size();
    }

    Process process_;
    Screen screen_{24, 80};
    std::size_t seen_ = 0;
    termios modes_{};
};

std::size_t count(const std::vector<std::string>& lines, std::string_view begin)
{
    return static_cast<std::size_t>(
        std::count_if(lines.begin(), lines.end(),
                      [&](const std::string& line) { return line.starts_with(begin); }));
}

// Below the cursor there is exactly the whole block.
bool has_block(const Screen& screen, const Arguments& stages)
{
    const auto lines = screen.lines_below();
    if (lines.size() != stages.size() + 3 || !lines[0].empty() || !lines[1].starts_with("run ") ||
        !lines.back().ends_with(" left")) {
        return false;
    }
    for (std::size_t i = 0; i < stages.size(); ++i) {
        if (!lines[i + 2].starts_with(stages[i])) {
            return false;
        }
    }
    return true;
}

// That is its last line: what was scrolled out of a small window stays there.
bool has_no_block(const Screen& screen)
{
    const auto lines = screen.lines();
    return std::none_of(lines.begin(), lines.end(),
                        [](const std::string& line) { return line.ends_with(" left"); });
}

}  // namespace

TEST_CASE("live: each stage has a line, the running one shows its rate, and the table comes last")
{
    Session session({"02", "04", "--scenario", "crowd", "--runs", "1", "--duration", "2s"});
    session.until([](const Screen& screen) {
        return has_block(screen, {"02_threads", "04_generators"}) &&
               screen.line("02_threads").ends_with("reqs/sec, measuring");
    });
    CHECK(session.screen().line("run 1 of 1, crowd: 4 clients, fib(1)") != "");
    CHECK(session.screen().line("04_generators").ends_with("waiting"));
    CHECK(session.screen().contains("]  0 of 2   0:0"));
    session.until([](const Screen& screen) {
        return has_block(screen, {"02_threads", "04_generators"}) &&
               screen.line("04_generators").ends_with("reqs/sec, measuring");
    });
    CHECK(session.screen().line("02_threads").find(" reqs/sec ") != std::string::npos);
    CHECK(session.screen().contains("]  1 of 2   0:0"));

    CHECK(session.wait() == 0);
    // The picture stays above the table.
    const auto lines = session.screen().lines();
    CHECK(lines.at(0) == "crowd, over time (logarithmic)");
    CHECK(lines.at(1).starts_with("02_threads "));
    CHECK(lines.at(2).starts_with("04_generators "));
    CHECK(lines.at(1).find('#') != std::string::npos);
    CHECK(lines.at(3).empty());
    CHECK(lines.at(4) == "crowd: 4 clients, fib(1)");
    CHECK(count(lines, "stage ") == 1);
    CHECK(count(lines, "02_threads ") == 2);
    CHECK(has_no_block(session.screen()));
}

TEST_CASE("live: Ctrl-C leaves the table and the picture of what was measured")
{
    Session session({"02", "04", "--scenario", "solo", "--runs", "1000", "--duration", "200ms"});
    session.until("  2 of 2000 ");
    session.type("\x03");
    CHECK(session.wait() == 130);
    const auto lines = session.screen().lines();
    CHECK(lines.at(0) == "solo, over time (logarithmic)");
    CHECK(count(lines, "solo: one client, fib(1)") == 1);
    CHECK(count(lines, "02_threads ") == 2);
    CHECK(lines.back().starts_with("Stopped before the end, after "));
    CHECK_FALSE(session.screen().contains("^C"));
    CHECK(has_no_block(session.screen()));
}

TEST_CASE("live: another signal that ends it does the same as Ctrl-C")
{
    for (const int number : {SIGTERM, SIGHUP}) {
        Session session({fake("silent"), "--timeout", "1000s"});
        session.until("starting");
        session.process().signal(number);
        CHECK(session.wait() == 130);
        CHECK(session.screen().lines() ==
              Arguments{"compare: stopped before anything was measured"});
    }
}

TEST_CASE("live: the clock goes on while a stage hangs")
{
    Session session({fake("hangs"), "--scenario", "solo", "--duration", "1000s"});
    session.until("measuring");
    session.until("measuring 3 s");
    session.until("measuring 4 s");
    session.type("\x03");
    CHECK(session.wait() == 130);
    CHECK(session.screen().lines() == Arguments{"compare: stopped before anything was measured"});
}

TEST_CASE("live: a stage that does not start is said to have failed while others run")
{
    Session session({fake("refuses"), "02", "--scenario", "solo", "--runs", "1"});
    session.until([](const Screen& screen) {
        return screen.line("fake_refuses").ends_with("failed to start (fake: today is my day off)");
    });
    CHECK(session.wait() == 1);
}

TEST_CASE("live: after a resize the lines fit, however the terminal wraps long ones")
{
    const Arguments stages{"01_blocking", "02_threads", "04_generators"};
    for (const auto narrowing : {Screen::Narrowing::wraps, Screen::Narrowing::crops}) {
        Session session({"01", "02", "04", "--scenario", "solo", "--duration", "1000s"});
        session.until([&](const Screen& screen) {
            return has_block(screen, stages) && screen.contains("measuring");
        });
        session.resize(24, 40, narrowing);
        session.until([&](const Screen& screen) {
            const auto lines = screen.lines_below();
            return has_block(screen, stages) &&
                   std::all_of(lines.begin(), lines.end(),
                               [](const std::string& line) { return line.size() < 40; });
        });
        CHECK(count(session.screen().lines(), "run 1") == 1);
        session.resize(4, 100, narrowing);
        session.until([](const Screen& screen) {
            const auto lines = screen.lines_below();
            return lines.size() == 4 && lines[1].starts_with("run 1") &&
                   lines[2].starts_with("01_blocking") && lines[3].size() > 40;
        });
        session.type("\x03");
        CHECK(session.wait() == 130);
        CHECK(has_no_block(session.screen()));
    }
}

TEST_CASE("live: typing meanwhile moves the block down and spoils nothing")
{
    Session session({"02", "--scenario", "solo", "--runs", "1000", "--duration", "200ms"});
    session.until("  1 of 1000 ");
    for (const char* const done : {"  3 of 1000 ", "  5 of 1000 "}) {
        session.type("next\n");
        session.until([&](const Screen& screen) {
            return has_block(screen, {"02_threads"}) && screen.contains(done);
        });
    }
    CHECK(count(session.screen().lines(), "run ") == 1);
    session.type("\x03");
    CHECK(session.wait() == 130);
    CHECK(has_no_block(session.screen()));
}

TEST_CASE("live: colours only if they are wanted, blocks only if the terminal can show them")
{
    const Arguments arguments{"02", "--scenario", "solo", "--runs", "1", "--duration", "1s"};
    Session plain(arguments, {"NO_COLOR=1"});
    CHECK(plain.wait() == 0);
    CHECK(plain.process().out().find("\x1b[J") != std::string::npos);
    CHECK(plain.process().out().find("\x1b[32m") == std::string::npos);
    CHECK(plain.process().out().find("\x1b[1m") == std::string::npos);
    CHECK(plain.process().out().find("█") == std::string::npos);
    Session colourful(arguments, {"LC_ALL=C.UTF-8"});
    CHECK(colourful.wait() == 0);
    CHECK(colourful.process().out().find("\x1b[32m") != std::string::npos);
    CHECK(colourful.process().out().find("█") != std::string::npos);
}

TEST_CASE("live: without a capable terminal it prints whole lines and no escapes")
{
    const auto command =
        compare({"02", "--scenario", "solo", "--runs", "2", "--duration", "200ms"});
    const Outcome outcome = run(command);
    CHECK(outcome.status == 0);
    const auto written = lines(outcome.err);
    CHECK(written.size() == 3);
    CHECK(written.at(2).starts_with("[2/2, 0 s left] run 2, solo, 02_threads: reqs/sec "));
    CHECK(outcome.err.ends_with('\n'));
    Process dumb(command, Process::Stdio::terminal, {"TERM=dumb"});
    CHECK(dumb.wait() == 0);
    CHECK(dumb.out().find("[2/2, 0 s left] run 2") != std::string::npos);
    for (const std::string& text : {outcome.err, outcome.out, dumb.out()}) {
        CHECK(text.find('\x1b') == std::string::npos);
    }
}
