// green_test.cpp -- 06c_monkey_patch by itself: what it says, what it replaces, and that programs
// that know nothing of it do with green threads what they do with kernel threads.
#include "common/base/limits.hpp"
#include "tests/suite.hpp"

#include <signal.h>

#include <algorithm>
#include <deque>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace ground::test;

namespace {

const std::string patch = MONKEY_PATCH;
const std::string library = MONKEY_PATCH ".so";
const std::string program = GREEN_PROGRAM;
const std::string stages = STAGES;

Outcome run_green(std::vector<std::string> command)
{
    command.insert(command.begin(), patch);
    return run({.command = std::move(command)});
}

std::vector<std::string> lines(const std::string& text)
{
    std::istringstream stream(text);
    std::vector<std::string> found;
    for (std::string line; std::getline(stream, line);) {
        found.push_back(line);
    }
    return found;
}

// A program that says "... listening on 127.0.0.1:PORT".
class Listening : public Program {
  public:
    explicit Listening(const Start& start) : Program(start)
    {
        out().wait_for("\n");
        const std::string line = out().text();
        REQUIRE(line.find("listening on 127.0.0.1:") != std::string::npos);
        port_ = static_cast<std::uint16_t>(std::stoul(line.substr(line.rfind(':') + 1)));
    }
    [[nodiscard]] std::uint16_t port() const { return port_; }

  private:
    std::uint16_t port_ = 0;
};

// So many clients are there at once, each is answered, and there is one kernel thread.
void check_holds(const Listening& server, std::size_t number, bool memory)
{
    REQUIRE(ground::raise_descriptor_limit() > number + 64);
    std::deque<Client> clients;
    Client first(server.port());
    REQUIRE(first.ask("10\n") == "55");
    const std::size_t own = server.descriptors();
    const std::size_t before = server.memory();
    const auto ask_all = [&](std::size_t from, std::string_view n, std::string_view reply) {
        for (std::size_t i = from; i < clients.size(); ++i) {
            clients[i].send(n);
        }
        for (std::size_t i = from; i < clients.size(); ++i) {
            CAPTURE(i);
            REQUIRE(clients[i].read_line() == reply);
        }
    };
    while (clients.size() < number) {
        // A hundred at a time: the shortest backlog that there is has room for them.
        const std::size_t from = clients.size();
        while (clients.size() < std::min(from + 100, number)) {
            clients.emplace_back(server.port());
        }
        ask_all(from, "10\n", "55");
    }
    ask_all(0, "15\n", "610");
    CHECK(server.info().threads == 1);
    const std::size_t each = (server.memory() - before) / number;
    MESSAGE(each << " bytes for each of " << number << " clients, without the kernel's");
    if (memory) {
        CHECK(each <= 12'288);
    }
    // All are forgotten, and their stacks serve the next ones.
    clients.clear();
    CHECK_NOTHROW(eventually("all are forgotten", [&] { return server.descriptors() == own; }));
    const std::size_t with_stacks = server.memory();
    while (clients.size() < 100) {
        clients.emplace_back(server.port());
    }
    ask_all(0, "10\n", "55");
    CHECK(server.memory() < with_stacks + (1 << 20));
}

}  // namespace

TEST_CASE("it says in one line what is wrong")
{
    const auto check = [](const Outcome& outcome, int status, std::string_view word) {
        CAPTURE(outcome.err);
        CHECK(outcome.status == status);
        CHECK(outcome.out.empty());
        CHECK(lines(outcome.err).size() == 1);
        CHECK(outcome.err.starts_with("06c_monkey_patch: "));
        CHECK(outcome.err.find(word) != std::string::npos);
    };
    check(run_green({}), 2, "name a program");
    check(run_green({"--lost"}), 2, "no option --lost");
    check(run_green({"no/such/program"}), 1, "No such file");
    check(run_green({"no-such-program"}), 1, "No such file");
    check(run_green({STATIC_PROGRAM}), 1, "statically linked");
    const Outcome help = run_green({"--help"});
    CHECK(help.status == 0);
    CHECK(help.out.find("06c_monkey_patch PROGRAM [ARGUMENT...]") != std::string::npos);
}

TEST_CASE("a program that it runs gets its arguments, and its status is that of the program")
{
    CHECK(run_green({"sh", "-c", "echo \"$1\"; exit 7", "sh", "a  b"}).out == "a  b\n");
    CHECK(run_green({"sh", "-c", "exit 7"}).status == 7);
    CHECK(run_green({"sh", "-c", "test -z \"$LD_PRELOAD\""}).status == 0);
}

TEST_CASE("--list names exactly what the library replaces")
{
    const Outcome list = run_green({"--list"});
    REQUIRE(list.status == 0);
    std::set<std::string> listed;
    for (const std::string& line : lines(list.out)) {
        std::istringstream words(line.substr(line.find(':') + 1));
        for (std::string word; words >> word;) {
            CHECK(listed.insert(word).second);
        }
    }
    const Outcome symbols = run({.command = {"nm", "-D", "--defined-only", library}});
    REQUIRE(symbols.status == 0);
    std::set<std::string> replaced;
    for (const std::string& line : lines(symbols.out)) {
        replaced.insert(line.substr(line.rfind(' ') + 1));
    }
    std::erase_if(replaced, [](const std::string& name) { return name.ends_with("_patched"); });
    const auto without = [](const std::set<std::string>& all, const std::set<std::string>& some) {
        std::string rest;
        for (const std::string& name : all) {
            rest += some.contains(name) ? "" : name + ' ';
        }
        return rest;
    };
    CHECK(without(replaced, listed) == "");
    CHECK(without(listed, replaced) == "");
}

TEST_CASE("programs do with green threads what they do with kernel threads")
{
    const Outcome names = run({.command = {program}});
    REQUIRE(names.status == 0);
    for (const std::string& name : lines(names.out)) {
        CAPTURE(name);
        const Outcome native = run({.command = {program, name}});
        const Outcome green = run_green({program, name});
        CHECK(green.status == native.status);
        CHECK(green.err == native.err);
        if (name == "threads") {
            CHECK(native.out == "11 kernel threads\n");
            CHECK(green.out == "1 kernel threads\n");
            continue;
        }
        CHECK(green.out == native.out);
        if (name == "stack_overflow") {
            CHECK(green.status == -SIGSEGV);
        } else if (name == "uncaught_exception") {
            CHECK(green.status == -SIGABRT);
        } else {
            CHECK(green.status == 0);
        }
    }
}

TEST_CASE("02_threads holds 10,000 clients on one kernel thread")
{
    const Listening server({.command = {patch, stages + "/02_threads", "--port", "0", "--quiet"}});
    check_holds(server, 10'000, true);
}

TEST_CASE("03_process_pool with threads holds 10,000 clients on one kernel thread")
{
    const Listening server({.command = {patch, stages + "/03_process_pool", "--port", "0",
                                        "--quiet", "--pool", "threads"}});
    check_holds(server, 10'000, true);
}

TEST_CASE("Debian's CPython serves 5,000 clients at once on one kernel thread" *
          doctest::skip(std::string_view(SYSTEM_PYTHON).empty()))
{
    const Listening server({.command = {patch, SYSTEM_PYTHON, THREADS_PY}});
    check_holds(server, 5'000, false);
}

TEST_CASE("CPython's own tools for threads work with green ones" *
          doctest::skip(std::string_view(SYSTEM_PYTHON).empty()))
{
    const Outcome outcome = run_green({SYSTEM_PYTHON, TOOLS_PY});
    CAPTURE(outcome.err);
    CHECK(outcome.status == 0);
    CHECK(outcome.out == "all is well, with 1 kernel thread\n");
}
