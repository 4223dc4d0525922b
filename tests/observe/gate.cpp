// The gate: a watcher of a server can stop it, and be its scheduler.
#include "watched.hpp"

#include <csignal>
#include <cstdint>
#include <utility>
#include <vector>

namespace ground::test {

using observe::Kind;
using observe::State;

namespace {

bool is_held(const observe::Seen& seen) { return seen.where.state == State::held; }

void wait_until_held(Watched& watched)
{
    eventually("one is held", [&] { return watched.find(is_held).has_value(); });
}

// A lease takes seconds, and does not depend on the stage: threads, one thread and processes will
// do.
bool shows_leases()
{
    return stage().is("02_threads") || stage().is("02c_fork") || stage().is("04_generators");
}

// Its processes and threads use no time for a while. Here a sleep is right: it is what is measured.
bool stands_still(const Program& program)
{
    const auto before = cpu_time_with_descendants(program);
    ::usleep(300'000);
    return cpu_time_with_descendants(program) - before <= std::chrono::milliseconds(20);
}

}  // namespace

TEST_CASE("observe: a paused server does nothing, and then goes on where it was")
{
    Watched watched;
    Client client(watched.server());
    CHECK(client.ask("10\n") == "55");

    watched.watcher().pause();
    client.send("20\n");
    wait_until_held(watched);
    CHECK(stands_still(watched.server()));
    CHECK_FALSE(client.readable());
    CHECK(watched.find(is_held));

    watched.watcher().go();
    CHECK(client.read_line() == "6765");
}

TEST_CASE("observe: the kernel still takes connections and bytes while the server is paused")
{
    Watched watched;
    watched.watcher().pause();
    Client first(watched.server());
    Client second(watched.server());
    first.send("10\n");
    second.send("20\n");
    wait_until_held(watched);
    eventually("the kernel has taken both requests", [&] {
        const auto one = server_end(watched.server(), first);
        const auto other = server_end(watched.server(), second);
        return one && one->unread == 3 && other && other->unread == 3;
    });
    watched.watcher().go();
    CHECK(first.read_line() == "55");
    first.close();
    CHECK(second.read_line() == "6765");
}

TEST_CASE("observe: if its lease is not renewed it goes on after 2 s, even without a watcher" *
          only_if(shows_leases()))
{
    Watched watched;
    Client client(watched.server());
    watched.wait_for(client, State::receives);
    const auto before = std::chrono::steady_clock::now();
    watched.watcher().pause();
    client.send("10\n");
    CHECK(client.read_line() == "55");  // the lease is not renewed
    CHECK(std::chrono::steady_clock::now() - before >= std::chrono::milliseconds(1'500));
}

TEST_CASE("observe: it is paused for as long as its lease is renewed" * only_if(shows_leases()))
{
    Watched watched;
    Client client(watched.server());
    watched.wait_for(client, State::receives);
    watched.watcher().pause();
    client.send("10\n");
    const Deadline longer(std::chrono::milliseconds(3'000));
    while (longer.milliseconds() > 0) {
        watched.watcher().renew();
        ::usleep(100'000);
    }
    CHECK_FALSE(client.readable());
    watched.watcher().go();
    CHECK(client.read_line() == "55");
}

TEST_CASE("observe: SIGTERM ends a pause, and the server as promptly as ever")
{
    Watched watched;
    Client client(watched.server());
    CHECK(client.ask("10\n") == "55");
    watched.watcher().pause();
    client.send("20\n");
    wait_until_held(watched);
    watched.server().signal(SIGTERM);
    if (stage().finishes_when_stopped()) {
        CHECK(client.read_line() == "6765");  // it had it already
    }
    CHECK(watched.server().wait(Deadline(time_to_end)) == 0);
    CHECK(watched.server().descendants().empty());
}

TEST_CASE("observe: in slow motion each step takes its time, and the request is still answered")
{
    Watched watched;
    Client client(watched.server());
    watched.wait_for(client, State::receives);
    watched.watcher().slow(50'000);
    client.send("10\n");
    eventually("it is held for a while", [&] {
        const auto seen = watched.find(is_held);
        return seen && seen->kind == Kind::conversation;
    });
    eventually("it has answered", [&] {
        watched.watcher().renew();
        return client.readable();
    });
    CHECK(client.read_line() == "55");
    watched.watcher().go();
    CHECK(client.ask("20\n") == "6765");
}

TEST_CASE("observe: a step for any thread is taken by exactly one")
{
    Watched watched;
    Client client(watched.server());
    watched.wait_for(client, State::receives);
    watched.watcher().pause();
    client.send("10\n");
    int steps = 0;
    eventually("it has answered", [&] {
        if (const auto seen = watched.find(is_held)) {
            watched.watcher().step();
            ++steps;
        }
        return client.readable();
    });
    CHECK(steps >= 2);
    CHECK(client.read_line() == "55");
}

TEST_CASE("observe: a step for a conversation that does not exist is refused")
{
    Watched watched;
    CHECK_FALSE(watched.watcher().step(0));
    CHECK_FALSE(watched.watcher().step(4'711));
}

// The watcher decides which one wins: twice, once for each.
TEST_CASE("observe: if two threads want to go on, the watcher chooses which one does" *
          only_if((stage().has_thread_per_client() || stage().has_process_per_client()) &&
                  !stage().has_pool()))
{
    for (const bool first_wins : {true, false}) {
        Watched watched;
        Client first(watched.server());
        Client second(watched.server());
        watched.wait_for(first, State::receives);
        watched.wait_for(second, State::receives);
        watched.watcher().pause();
        first.send("10\n");
        second.send("20\n");
        watched.wait_for(first, State::held);
        watched.wait_for(second, State::held);

        Client& winner = first_wins ? first : second;
        Client& loser = first_wins ? second : first;
        const auto loser_at = watched.conversation(loser)->where;
        eventually("the winner has its reply", [&] {
            const auto seen = watched.conversation(winner);
            if (seen && is_held(*seen) && !winner.readable()) {
                watched.watcher().step(seen->id);
            }
            return winner.readable();
        });
        CHECK_FALSE(loser.readable());
        CHECK(watched.conversation(loser)->where.since == loser_at.since);  // it has not moved
        watched.watcher().go();
        CHECK(first.read_line() == "55");
        CHECK(second.read_line() == "6765");
    }
}

TEST_CASE("observe: if all conversations share one thread, only one can move" *
          only_if(stage().scheduler_is_ours()))
{
    Watched watched;
    Client first(watched.server());
    Client second(watched.server());
    const auto one = watched.wait_for(first, State::receives);
    const auto other = watched.wait_for(second, State::receives);
    watched.watcher().pause();
    first.send("10\n");
    second.send("20\n");
    // Steps until one of them has its turn. A step for the other one is then in vain. (The next
    // step is given when the one before has been taken, so that none is left over.)
    std::optional<observe::Seen> running;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> stepped;
    eventually("one of them is held", [&] {
        std::vector<std::pair<std::uint32_t, std::uint64_t>> held;
        for (const observe::Seen& seen : watched.watcher().look()) {
            if (!is_held(seen)) {
                continue;
            }
            if (seen.kind == Kind::conversation) {
                running = seen;
                return true;
            }
            held.emplace_back(seen.id, seen.where.since);
        }
        if (!held.empty() && held != stepped) {
            watched.watcher().step();
            stepped = held;
        }
        return false;
    });
    const std::uint32_t waiting = running->id == one.id ? other.id : one.id;
    const auto before = watched.find([&](const auto& seen) { return seen.id == waiting; });
    CHECK(before->where.state != State::held);
    CHECK(watched.watcher().step(waiting));
    CHECK(stands_still(watched.server()));
    const auto after = watched.find([&](const auto& seen) { return seen.id == waiting; });
    CHECK(after->where.packed() == before->where.packed());
    CHECK(watched.find([&](const auto& seen) { return seen.id == running->id; })->where.since ==
          running->where.since);
    watched.watcher().go();
    CHECK(first.read_line() == "55");
    CHECK(second.read_line() == "6765");
}

}  // namespace ground::test
