// workers.cpp -- what may happen to the processes of a pool.
#include "support.hpp"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>

using namespace ground::test;
using std::chrono::milliseconds;

namespace {

// Holds a process with SIGSTOP.
class Stopped {
  public:
    explicit Stopped(pid_t pid) : pid_(pid)
    {
        REQUIRE(::kill(pid, SIGSTOP) == 0);
        eventually("it stands still", [&] { return process_info(pid)->state == 'T'; });
    }
    ~Stopped() { ::kill(pid_, SIGCONT); }
    Stopped(const Stopped&) = delete;
    Stopped& operator=(const Stopped&) = delete;

  private:
    pid_t pid_;
};

// Holds a process as a debugger does. Unlike SIGSTOP, its parent is not notified.
class Debugger {
  public:
    explicit Debugger(pid_t pid) : pid_(pid)
    {
        REQUIRE(::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr) == 0);
        REQUIRE(::ptrace(PTRACE_INTERRUPT, pid, nullptr, nullptr) == 0);
        int status = 0;
        REQUIRE(::waitpid(pid, &status, __WALL) == pid);
        REQUIRE(WIFSTOPPED(status));
    }
    ~Debugger() { ::ptrace(PTRACE_DETACH, pid_, nullptr, nullptr); }
    Debugger(const Debugger&) = delete;
    Debugger& operator=(const Debugger&) = delete;

  private:
    pid_t pid_;
};

// The client asks for a number, and the worker that computes it is held while the rest happens.
// Returns the reply that is still to come. If a request was done before its worker was held, one
// that takes twice as long follows.
template <typename Hold>
std::string ask_and_hold(const Server& server, Client& client,
                         const std::function<void()>& meanwhile)
{
    for (milliseconds at_least(150);; at_least *= 2) {
        REQUIRE(at_least < milliseconds(5000));
        const LongRequest request(at_least);
        const auto busy =
            wait_until_descendants_compute(server, 1, [&] { client.send(request.text()); });
        REQUIRE(busy.size() == 1);
        const Hold hold(busy[0]);
        meanwhile();
        if (!client.readable()) {
            return request.reply();
        }
        CHECK(client.read_line() == request.reply());
    }
}

}  // namespace

TEST_SUITE_BEGIN("worker killed");

TEST_CASE("a worker killed while it computes fails that request only, and is replaced" *
          only_if(stage().has_processes()) * because("no worker processes"))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    Client one(server);
    Client two(server);
    for (int round = 0; round < 3; ++round) {
        one.send(endless_request);
        REQUIRE(wait_until_descendants_compute(server, 1).size() == 1);
        two.send(endless_request);
        const auto busy = wait_until_descendants_compute(server, 2);
        REQUIRE(busy.size() == 2);

        for (const pid_t worker : busy) {
            REQUIRE(::kill(worker, SIGKILL) == 0);
        }
        CHECK(one.read_line() == "[Error] worker died");
        CHECK(two.read_line() == "[Error] worker died");
        CHECK(one.ask("10\n") == "55");
        CHECK(two.ask("10\n") == "55");
        CHECK_NOTHROW(wait_for_workers(server, 2));
    }
    held("its request fails: worker died");
}

TEST_CASE("a worker killed while another computes does not disturb that one" *
          only_if(stage().has_processes()) * because("no worker processes"))
{
    const Server server({"--workers", "2"});
    Client one(server);
    one.send(endless_request);
    const auto first = wait_until_descendants_compute(server, 1);
    REQUIRE(first.size() == 1);
    Client two(server);
    two.send(endless_request);
    auto both = wait_until_descendants_compute(server, 2);
    REQUIRE(both.size() == 2);
    const pid_t second = both[0] == first[0] ? both[1] : both[0];

    REQUIRE(::kill(second, SIGKILL) == 0);
    CHECK(two.read_line() == "[Error] worker died");
    CHECK(two.ask("10\n") == "55");
    CHECK_FALSE(one.readable());
    CHECK(wait_until_descendants_compute(server, 1) == first);
    held();
}

TEST_CASE("a helper process that is killed while idle costs no request" *
          only_if(stage().has_processes()) * because("no worker processes"))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    for (std::size_t i = 0; i < 2 * processes_of_pool(2); ++i) {
        // Each process in its turn: first the original ones, and then their replacements.
        const auto now = server.descendants();
        REQUIRE(now.size() == processes_of_pool(2));
        const ProcessInfo& victim = now[i % now.size()];
        REQUIRE(::kill(victim.pid, SIGKILL) == 0);
        for (int k = 0; k < 10; ++k) {
            REQUIRE(client.ask("10\n") == "55");
        }
        // When the forker, the server's child, ends, its workers end.
        const bool all = victim.parent == server.pid();
        eventually("the dead are gone", [&] {
            return std::none_of(now.begin(), now.end(), [&](const ProcessInfo& process) {
                const auto info = process_info(process.pid);
                return (all || process.pid == victim.pid) && info && info->state != 'Z' &&
                       info->started == process.started;
            });
        });
        CHECK_NOTHROW(wait_for_workers(server, 2));
        REQUIRE(client.ask("20\n") == "6765");
    }
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("worker stopped");

TEST_CASE("a stopped worker delays only what it computes" * only_if(stage().has_processes()) *
          because("no worker processes"))
{
    const Server server({"--workers", "2"});
    Client one(server);
    Client two(server);
    const std::string reply = ask_and_hold<Stopped>(server, one, [&] {
        for (int i = 0; i < 20; ++i) {
            REQUIRE(two.ask("10\n") == "55");
        }
    });
    CHECK(one.read_line() == reply);
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("worker under a debugger");

TEST_CASE("a worker that a debugger stops delays only what it computes" *
          only_if(stage().has_processes()) * because("no worker processes"))
{
    const Server server({"--workers", "2"});
    Client one(server);
    Client two(server);
    const std::string reply = ask_and_hold<Debugger>(server, one, [&] {
        for (int i = 0; i < 20; ++i) {
            REQUIRE(two.ask("10\n") == "55");
        }
    });
    CHECK(one.read_line() == reply);
    held();
}

TEST_CASE("if a debugger stops a waiting worker, the others serve" *
          only_if(stage().has_processes()) * because("no worker processes"))
{
    const Server server({"--workers", "2"});
    wait_for_workers(server, 2);
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    for (const ProcessInfo& process : server.descendants()) {
        if (process.parent != server.pid()) {
            const Debugger debugger(process.pid);
            for (int i = 0; i < 20; ++i) {
                REQUIRE(client.ask("10\n") == "55");
            }
        }
        REQUIRE(client.ask("10\n") == "55");
    }
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("no process for a worker");

TEST_CASE("workers that can't be replaced are reported, and start as soon as they can" *
          only_if(stage().has_processes() && user_of_our_own().has_value()) *
          because("no worker processes, or the test is not run by root"))
{
    std::vector<std::string> arguments{"--workers", "2"};
    if (stage().is("07b_cheap_inline")) {
        arguments.insert(arguments.end(), {"--inline-below", "1"});  // the pool computes everything
    }
    const Server server(arguments, {.command = {}, .user = user_of_our_own()});
    wait_for_workers(server, 2);
    Client client(server);
    Client other(server);
    CHECK(client.ask("10\n") == "55");
    const auto pool = server.descendants();
    const auto forker = std::find_if(pool.begin(), pool.end(), [&](const ProcessInfo& process) {
        return process.parent == server.pid();
    });
    REQUIRE(forker != pool.end());

    set_limit(forker->pid, RLIMIT_NPROC, 1, user_of_our_own());
    for (const ProcessInfo& process : pool) {
        if (process.pid != forker->pid) {
            REQUIRE(::kill(process.pid, SIGKILL) == 0);
        }
    }
    server.err().wait_for("No process left for a worker");
    eventually("the workers are gone", [&] { return server.descendants().size() == 1; });
    client.send("10\n");
    CHECK(other.ask("x\n").starts_with("[Error] not a number"));
    CHECK_FALSE(client.readable());
    set_limit(forker->pid, RLIMIT_NPROC, RLIM_INFINITY, user_of_our_own());
    CHECK(client.read_line() == "55");
    CHECK_NOTHROW(wait_for_workers(server, 2));
    CHECK(count(server.err().text(), "No process left") == 1);

    // The same with the forker itself.
    set_limit(server.pid(), RLIMIT_NPROC, 1, user_of_our_own());
    REQUIRE(::kill(forker->pid, SIGKILL) == 0);
    eventually("all are gone", [&] { return server.descendants().empty(); });
    client.send("20\n");
    CHECK(other.ask("x\n").starts_with("[Error] not a number"));
    CHECK_FALSE(client.readable());
    set_limit(server.pid(), RLIMIT_NPROC, RLIM_INFINITY, user_of_our_own());
    CHECK(client.read_line() == "6765");
    CHECK_NOTHROW(wait_for_workers(server, 2));
    held("requests wait until there is one");
}

TEST_SUITE_END();
