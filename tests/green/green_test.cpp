// green_test.cpp -- 06c_monkey_patch by itself: what it says and what it replaces. Programs that
// know nothing of it do the same with green threads as with kernel threads.
#include "common/base/limits.hpp"
#include "tests/suite.hpp"

#include <nlohmann/json.hpp>

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <filesystem>
#include <fstream>
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

// This many clients are there at once, each is answered, and there is one kernel thread.
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
        // A hundred at a time, because even the shortest backlog has room for them.
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
    // They leave, and most of their memory is released, as often as they come and leave.
    const std::size_t taken = server.memory() - before;
    for (int round = 0; round < 2; ++round) {
        clients.clear();
        CHECK_NOTHROW(eventually("their memory is given back", [&] {
            return server.descriptors() == own && server.memory() < before + taken / 4;
        }));
        while (clients.size() < std::min<std::size_t>(number, 1000)) {
            const std::size_t from = clients.size();
            while (clients.size() < from + 100) {
                clients.emplace_back(server.port());
            }
            ask_all(from, "10\n", "55");
        }
    }
}

}  // namespace

TEST_CASE("after a mistake it says in one line what is wrong")
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
    CHECK(help.out.find("06c_monkey_patch [--five] PROGRAM [ARGUMENT...]") != std::string::npos);
}

TEST_CASE("it works in a folder whose name contains a space or a colon")
{
    std::string folder = std::filesystem::temp_directory_path() / "green-test-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    for (const std::string_view name : {"a b", "a:b"}) {
        const std::filesystem::path here = std::filesystem::path(folder) / name;
        std::filesystem::create_directory(here);
        std::filesystem::copy(patch, here / "06c_monkey_patch");
        std::filesystem::copy(library, here / "06c_monkey_patch.so");
        const auto run_here = [&](std::vector<std::string> command) {
            command.insert(command.begin(), here / "06c_monkey_patch");
            return run({.command = std::move(command)});
        };
        CHECK(run_here({program, "threads"}).out == "1 kernel threads\n");
        // The program gets the same as always.
        const std::vector<std::string> look{"sh", "-c", "echo $LD_PRELOAD; ls /proc/$$/fd"};
        CHECK(run_here(look).out == run_green(look).out);
        std::filesystem::remove(here / "06c_monkey_patch.so");
        CHECK(run_here({program, "threads"}).err.find("is missing") != std::string::npos);
    }
    std::filesystem::remove_all(folder);
}

TEST_CASE("the program that it runs gets its arguments, and decides its exit status")
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

TEST_CASE("programs do the same with green threads as with kernel threads")
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

// Runs a case of green_program under the patch. Stops it when it has looked at all events and is
// about to wait in the kernel. Then a signal comes, and it goes on. Returns its status.
int run_interrupted_at_the_last_moment(const std::string& name)
{
    const pid_t child = ::fork();
    REQUIRE(child != -1);
    if (child == 0) {
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::execl(patch.c_str(), patch.c_str(), program.c_str(), name.c_str(), nullptr);
        ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSTOPPED(status));
    REQUIRE(::ptrace(PTRACE_SETOPTIONS, child, nullptr,
                     PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD) == 0);
    bool sent = false;
    bool skipped = false;
    int waits = 0;
    user_regs_struct before{};
    const auto go_on = [&](int signal) {
        const auto how = sent ? PTRACE_CONT : PTRACE_SYSCALL;
        ::ptrace(how, child, nullptr, signal);
        REQUIRE(::waitpid(child, &status, 0) == child);
    };
    for (go_on(0); WIFSTOPPED(status);) {
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {  // a signal, which is passed on to it; or exec
            go_on(WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
            continue;
        }
        user_regs_struct registers{};
        ::ptrace(PTRACE_GETREGS, child, nullptr, &registers);
        if (skipped) {
            // The call has not been made. It will be, when the signal has been handled.
            constexpr int length_of_syscall = 2;
            before.rip -= length_of_syscall;
            before.rax = before.orig_rax;
            before.orig_rax = static_cast<unsigned long long>(-1);
            ::ptrace(PTRACE_SETREGS, child, nullptr, &before);
            sent = true;
            skipped = false;
            go_on(SIGUSR1);
            continue;
        }
        // There is news the first time: its sockets can be written to.
        const bool is_entry = registers.rax == static_cast<unsigned long long>(-ENOSYS);
        if (is_entry && registers.orig_rax == SYS_epoll_pwait2 &&
            ::ptrace(PTRACE_PEEKDATA, child, registers.r10, nullptr) > 1000 &&  // seconds
            ++waits == 2) {
            before = registers;
            registers.orig_rax = static_cast<unsigned long long>(-1);
            ::ptrace(PTRACE_SETREGS, child, nullptr, &registers);
            skipped = true;
        }
        go_on(0);
    }
    CHECK(sent);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_CASE("a signal that comes just before all threads wait ends the wait")
{
    CHECK(run_interrupted_at_the_last_moment("interrupted_at_the_last_moment") == 0);
}

TEST_CASE(
    "the five functions of the stage carry 02_threads with 5,000 clients on one kernel thread" *
    doctest::skip(!std::filesystem::exists(MONKEY_PATCH "_five.so")))
{
    const Listening server(
        {.command = {patch, "--five", stages + "/02_threads", "--port", "0", "--quiet"}});
    check_holds(server, 5'000, true);
    // A client that asks for a big number makes the others wait.
    Client big(server.port());
    Client small(server.port());
    CHECK(small.ask("10\n") == "55");
    wait_until_computing(server, [&] { big.send("42\n"); });
    CHECK(small.ask("10\n") == "55");
    CHECK(big.readable());
    CHECK(big.read_line() == "267914296");
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

TEST_CASE("08_cancellation, whose threads wait for signals, serves and ends on one kernel thread")
{
    Listening server({.command = {patch, stages + "/08_cancellation", "--port", "0", "--quiet",
                                  "--pool", "threads"}});
    Client client(server.port());
    CHECK(client.ask("20\n") == "6765");
    CHECK(server.info().threads == 1);
    server.signal(SIGTERM);
    CHECK(server.wait() == 0);
}

TEST_CASE("02_threads writes a trace of its green threads, at the lines of its source")
{
    std::string file = std::filesystem::temp_directory_path() / "green-trace-XXXXXX";
    const ground::Descriptor made(::mkstemp(file.data()));
    REQUIRE(made.get() != -1);
    Listening server(
        {.command = {patch, stages + "/02_threads", "--port", "0", "--quiet", "--trace", file}});
    {
        Client one(server.port());
        Client other(server.port());
        CHECK(one.ask("20\n") == "6765");
        CHECK(other.ask("21\n") == "10946");
    }
    server.signal(SIGTERM);
    CHECK(server.wait() == 0);
    std::ifstream stream(file);
    const auto trace = nlohmann::json::parse(stream);
    std::filesystem::remove(file);
    std::set<int> clients;  // tracks with a slice at the line where 02 waits for a request
    std::set<int> threads;
    for (const auto& entry : trace) {
        if (entry["ph"] == "X" && entry["name"] == "receives") {
            const std::string line = entry["args"]["line"];
            CHECK(line.starts_with("stages/02_threads.cpp:"));
            (entry["pid"] == 1 ? clients : threads).insert(entry["tid"].get<int>());
        }
    }
    CHECK(clients.size() == 2);
    CHECK(threads.size() == 1);
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
