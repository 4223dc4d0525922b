#include "support.hpp"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace ground::test {

using std::chrono::milliseconds;

void check_serves(const Server& server)
{
    Client client(server);
    CHECK(client.ask("10\n") == "55");
}

// For a server with a process for each client: only the listening socket is left.
static bool holds_no_client(const Server& server)
{
    return server.descendants().empty() && socket_inodes(server.pid()).size() == 1;
}

// Whether no thread of it runs, nor of what it has started.
static bool is_at_rest(const Server& server)
{
    const auto sleeps = [](const ProcessInfo& process) {
        const auto threads = threads_of(process.pid);
        return std::all_of(threads.begin(), threads.end(),
                           [](const ProcessInfo& thread) { return thread.state == 'S'; });
    };
    const auto others = server.descendants();
    return sleeps({.pid = server.pid()}) && std::all_of(others.begin(), others.end(), sleeps);
}

// A server that is not ours may reply while its workers still start. They have copies of its
// descriptors then, which they close. (If it is never at rest, it is counted as it is.)
static void wait_until_started(const Server& server)
{
    for (const Deadline enough(milliseconds(5000));
         !is_at_rest(server) && enough.milliseconds() > 0;) {
        std::this_thread::sleep_for(milliseconds(5));
    }
}

std::size_t own_descriptors(const Server& server)
{
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    if (stage().foreign() != nullptr) {
        wait_until_started(server);
    }
    if (stage().has_process_per_client()) {
        client.close();
        eventually("the client is forgotten", [&] { return holds_no_client(server); });
        return server.descriptors();
    }
    const std::size_t own = server.descriptors() - 1;
    client.close();
    eventually("the client is forgotten", [&] { return server.descriptors() == own; });
    return own;
}

void check_descriptors_return_to(std::size_t before, const Server& server)
{
    if (stage().has_process_per_client()) {
        CHECK_NOTHROW(eventually("no client is left", [&] { return holds_no_client(server); }));
    }
    CHECK_NOTHROW(
        eventually("all descriptors are closed", [&] { return server.descriptors() == before; }));
    CHECK(server.descriptors() == before);
}

void check_nothing_is_left(const Server& server)
{
    CHECK_NOTHROW(eventually("no process is left", [&] { return server.descendants().empty(); }));
}

void check_nothing_was_left(const Server& server) { CHECK(server.descendants().empty()); }

std::deque<Client>::iterator next_served(std::deque<Client>& clients)
{
    auto client = clients.begin();
    if (stage().has_event_loops()) {
        eventually("a client is served", [&] {
            client = std::find_if(clients.begin(), clients.end(),
                                  [](const Client& each) { return each.readable(); });
            return client != clients.end();
        });
    }
    return client;
}

void check_port_is_free(const Server& server)
{
    const std::vector<std::string> port{"--port", std::to_string(server.port())};
    const Server next(port);
    CHECK(next.port() == server.port());
    check_serves(next);
}

void Others::check_now()
{
    if (stage().serves_others()) {
        REQUIRE(client_.ask("10\n") == "55");
        return;
    }
    if (!waiting_) {
        client_.send("10\n");
        waiting_ = true;
    }
    REQUIRE_FALSE(client_.readable());
}

void Others::check_when_it_has_left()
{
    CHECK((waiting_ ? client_.read_line() : client_.ask("10\n")) == "55");
    client_.close();
}

void Others::report(const std::string& reason_if_held) const
{
    if (stage().serves_others()) {
        held(reason_if_held);
    } else {
        by_design("others wait until it leaves");
    }
}

std::size_t count(std::string_view text, std::string_view word)
{
    std::size_t found = 0;
    for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
        ++found;
    }
    return found;
}

void burn(milliseconds cpu_time)
{
    const auto end = thread_cpu_time() + cpu_time;
    while (thread_cpu_time() < end) {
    }
}

void allow_descriptors(rlim_t number)
{
    rlimit limit{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
    REQUIRE_MESSAGE(limit.rlim_max >= number, "this test needs ulimit -Hn of " << number);
    limit.rlim_cur = std::max(limit.rlim_cur, number);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

void set_limit(pid_t pid, __rlimit_resource resource, rlim_t limit, std::optional<uid_t> user)
{
    rlimit limits{};
    const auto change = [&] {
        if (::prlimit(pid, resource, nullptr, &limits) != 0) {
            return false;
        }
        limits.rlim_cur = std::min(limit, limits.rlim_max);
        return ::prlimit(pid, resource, &limits, nullptr) == 0;
    };
    if (!user) {
        REQUIRE(change());
        return;
    }
    // Even root may not always change the limits of others (a container's root can't). Then the
    // process itself does it.
    const pid_t changer = check(::fork(), "fork");
    if (changer == 0) {
        const bool good = ::syscall(SYS_setresgid, *user, *user, *user) == 0 &&
                          ::syscall(SYS_setresuid, *user, *user, *user) == 0 && change();
        ::_exit(good ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(changer, &status, 0) == changer);
    REQUIRE(status == 0);
}

}  // namespace ground::test
