// The watcher sees the truth: a known story, and where each client is meanwhile.
#include "watched.hpp"

#include <csignal>
#include <fstream>
#include <iterator>

namespace ground::test {

using observe::Kind;
using observe::State;

namespace {

// So that the pool also computes small numbers.
Server::Arguments arguments()
{
    return stage().is("07b_cheap_inline") ? Server::Arguments{"--inline-below", "2"}
                                          : Server::Arguments{};
}

}  // namespace

TEST_CASE("observe: it shows where a conversation is, from its beginning to its end")
{
    Watched watched(arguments());
    const Lines at = lines();
    const std::string first = at.begins.value_or(at.receives);
    const LongRequest request;

    watched.wait_for(Kind::thread, stage().scheduler_is_ours() ? State::selects : State::accepts,
                     at.accepts);
    CHECK(watched.watcher().server() == static_cast<std::uint32_t>(watched.server().pid()));

    Client client(watched.server());
    const auto begun = watched.wait_for(client, State::receives, first);
    CHECK(begun.requests == 0);
    CHECK(begun.n == 0);

    client.send("1\n");
    CHECK(client.read_line() == "1");
    client.send("2");  // half a request: it waits for more
    wait_until_read(watched.server(), client);
    watched.wait_for(client, State::receives, at.receives);
    client.send("\n");
    CHECK(client.read_line() == "1");
    CHECK(watched.wait_for(client, State::receives, at.receives).requests == 2);

    client.send(request.text());
    const auto asked = watched.wait_for(client, computing_state(), at.computes);
    CHECK(fmt::format("{}\n", asked.n) == request.text());
    CHECK(asked.id == begun.id);
    if (!stage().computes_by_itself()) {
        const auto worker = watched.wait_for(Kind::worker, State::computes);
        CHECK(worker.n == asked.n);
        CHECK(worker.for_id == asked.id);
        CHECK(watched.conversation(client)->for_id == worker.id);
    }

    // Meanwhile a second one. A thread that can take it does.
    Client second(watched.server());
    if (stage().serves_others() && stage().serves_while_computing()) {
        watched.wait_for(second, State::receives, first);
    } else if (stage().blocks_while_computing()) {
        CHECK_FALSE(watched.conversation(second));
        CHECK(watched.conversation(client)->where.state == computing_state());
    }

    CHECK(client.read_line() == request.reply());
    const auto answered = watched.wait_for(client, State::receives, at.receives);
    CHECK(answered.requests == 3);
    CHECK(answered.for_id == 0);
    if (stage().has_pool() && !stage().computes_by_itself()) {
        watched.wait_for(Kind::worker, State::idles);
    }

    client.close();
    eventually("it has gone", [&] { return !watched.conversation(client); });
    CHECK(watched.wait_for(second, State::receives, first).id != begun.id);
}

TEST_CASE("observe: step by step, a request passes these lines of the source, and no others")
{
    Watched watched(arguments());
    const Lines at = lines();
    Client client(watched.server());
    CHECK(client.ask("1\n") == "1");
    watched.wait_for(client, State::receives, at.receives);

    watched.watcher().pause();
    client.send("5\n");
    const auto seen = watched.step_until(client, [&] {
        const auto now = watched.conversation(client);
        return client.readable() && now && now->where.state == State::receives;
    });
    CHECK(client.read_line() == "5");
    CHECK(seen.size() == at.steps.size());
    for (std::size_t i = 0; i < std::min(seen.size(), at.steps.size()); ++i) {
        CHECK_MESSAGE(seen[i].starts_with(at.steps[i]), seen[i], " instead of ", at.steps[i]);
    }
}

TEST_CASE("observe: a conversation has an entry from its beginning to its end")
{
    Watched watched;
    const auto count = [&](Kind kind) {
        const auto all = watched.watcher().look();
        return std::count_if(all.begin(), all.end(),
                             [kind](const auto& seen) { return seen.kind == kind; });
    };
    {  // the threads that exist as long as the server
        Client client(watched.server());
        CHECK(client.ask("10\n") == "55");
    }
    eventually("it has gone", [&] { return count(Kind::conversation) == 0; });
    const auto threads = count(Kind::thread);
    for (int i = 0; i < 20; ++i) {
        Client client(watched.server());
        CHECK(client.ask("10\n") == "55");
    }
    eventually("all have gone, and their threads",
               [&] { return count(Kind::conversation) == 0 && count(Kind::thread) <= threads; });
}

TEST_CASE("observe: a worker that was killed is no longer shown, and its replacement is" *
          only_if(stage().has_processes() && !stage().option("--processes")))
{
    Watched watched({"--workers", "1"});
    Client client(watched.server());
    client.send(endless_request);
    const auto worker = watched.wait_for(Kind::worker, State::computes);
    ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
    CHECK(client.read_line() == "[Error] worker died");
    const auto next = watched.wait_for(Kind::worker, State::idles);
    CHECK(next.id != worker.id);
    CHECK_FALSE(watched.find([&](const auto& seen) { return seen.id == worker.id; }));
}

TEST_CASE("observe: if all workers are killed at once, only their replacements are shown" *
          only_if(stage().has_processes() && !stage().option("--processes")))
{
    Watched watched({"--workers", "1"});
    const auto before = watched.wait_for(Kind::worker, State::idles);
    ::kill(process_info(static_cast<pid_t>(before.pid))->parent, SIGKILL);  // the forker
    eventually("only the new one is there", [&] {
        std::vector<std::uint32_t> ids;
        for (const auto& seen : watched.watcher().look()) {
            if (seen.kind == Kind::worker) {
                ids.push_back(seen.id);
            }
        }
        return ids.size() == 1 && ids.front() != before.id;
    });
    Client client(watched.server());
    CHECK(client.ask("10\n") == "55");
}

TEST_CASE("observe: a child that was killed is no longer shown" *
          only_if(stage().has_process_per_client() && !handlers_are_held_back))
{
    Watched watched;
    Client client(watched.server());
    const auto child = watched.wait_for(client, State::receives);
    CHECK(child.pid != watched.watcher().server());
    ::kill(static_cast<pid_t>(child.pid), SIGKILL);
    const Client next(watched.server());  // ThreadSanitizer delays handlers until accept() returns
    eventually("it has gone", [&] { return !watched.conversation(client); });
}

TEST_CASE("observe: a slow reader loses events, which are counted, and delays no reply")
{
    Watched watched;
    std::string requests;
    std::string replies;
    // More events than there is room for: two for each request, and four with a pool.
    const int number = stage().computes_by_itself() ? 40'000 : 20'000;
    for (int i = 0; i < number; ++i) {
        requests += "1\n";
        replies += "1\n";
    }
    Client client(watched.server());
    CHECK(client.converse(requests) == replies);

    std::uint64_t read = 0;
    std::uint64_t next = 0;
    bool in_order = true;
    for (auto events = watched.watcher().events(1'000); !events.empty();
         events = watched.watcher().events(1'000)) {
        for (const auto& event : events) {
            in_order = in_order && event.number >= next;
            next = event.number + 1;
        }
        read += events.size();
    }
    CHECK(in_order);
    CHECK(watched.watcher().lost() > 0);
    CHECK(read + watched.watcher().lost() == next);
}

TEST_CASE("observe: without a watcher there is no shared memory")
{
    const Server server;
    std::ifstream maps(fmt::format("/proc/{}/maps", server.pid()));
    const std::string text((std::istreambuf_iterator<char>(maps)), {});
    CHECK(text.find("memfd:ground") == std::string::npos);

    Watched watched;
    std::ifstream its(fmt::format("/proc/{}/maps", watched.server().pid()));
    const std::string there((std::istreambuf_iterator<char>(its)), {});
    CHECK(there.find("memfd:ground") != std::string::npos);
    eventually("it has as many descriptors as the other",
               [&] { return watched.server().descriptors() == server.descriptors(); });
}

TEST_CASE("observe: a program that can't be watched says so in a line")
{
    const auto says = [](const std::string& number, std::string_view what) {
        const Outcome outcome =
            run({.command = stage().command(), .environment = {"GROUND_WATCH=" + number}});
        CHECK(outcome.status == 2);
        CHECK(outcome.err ==
              fmt::format("{}: the server can't be watched: {}; unset GROUND_WATCH\n",
                          stage().name(), what));
    };
    says("2", "it is no watcher's memory");
    says("77", "it is no watcher's memory");
    says("two", "it is no descriptor");
}

}  // namespace ground::test
