// surroundings.cpp -- what a terminal, an operator or the system may do to a server.
#include "support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace ground::test;
using std::chrono::milliseconds;

namespace {

// A request for a server that is told to end. A server that finishes what it computes needs a
// request that has an end. Otherwise the server would compute until it is cut off.
std::string last_request()
{
    return stage().finishes_when_stopped() ? LongRequest(milliseconds(200)).text()
                                           : std::string(endless_request);
}

// Stops and continues the server and its workers, one after the other and again and again, until
// this object is destroyed.
class Storm {
  public:
    explicit Storm(const Server& server)
        : server_(server), pool_(server.descendants()), thread_([this] { blow(); })
    {
    }
    ~Storm()
    {
        ending_ = true;
        thread_.join();
    }
    Storm(const Storm&) = delete;
    Storm& operator=(const Storm&) = delete;

    // How many times the server has been stopped and continued.
    [[nodiscard]] int rounds() const { return rounds_; }

  private:
    void blow()
    {
        while (!ending_) {
            // Signals that have no effect are delivered together with the one that interrupts every
            // system call.
            for (const int number : {SIGCHLD, SIGWINCH, SIGURG, SIGCONT}) {
                server_.signal(number);
            }
            server_.stop();
            server_.resume();
            if (!pool_.empty()) {
                const pid_t pid = pool_[static_cast<std::size_t>(rounds_) % pool_.size()].pid;
                ::kill(pid, SIGSTOP);
                eventually("it stands still", [&] {
                    const auto info = process_info(pid);
                    return !info || info->state == 'T';
                });
                ::kill(pid, SIGCONT);
            }
            ++rounds_;
        }
    }

    const Server& server_;
    const std::vector<ProcessInfo> pool_;
    std::atomic<bool> ending_{false};
    std::atomic<int> rounds_{0};
    std::thread thread_;
};

// Whether a server that was told to end has waited this long without finishing. Throws if it has
// finished.
bool waits_until_it_is_cut_off(const Server& server)
{
    const auto threads = threads_of(server.pid());
    const auto process = process_info(server.pid());
    if (!process || process->state == 'Z') {
        throw std::runtime_error("it has ended");
    }
    return std::any_of(threads.begin(), threads.end(), [&](const ProcessInfo& thread) {
        std::ifstream file(fmt::format("/proc/{}/task/{}/syscall", server.pid(), thread.pid));
        std::string number;  // "running" if it is not in a system call
        std::string set;
        std::string info;
        std::string timeout;
        file >> number >> set >> info >> timeout;
        return number == std::to_string(SYS_rt_sigtimedwait) && timeout != "0x0";
    });
}

// Whatever happens to a server that is told to end while it computes, the reply comes first. Only
// on a machine that is too busy the server is cut off, but not before its time. Returns whether the
// reply came.
bool finishes(const std::function<void(const Server&)>& happens)
{
    const LongRequest long_request(milliseconds(100));
    Server server;
    Client client(server);
    wait_until_computing(server, [&] { client.send(long_request.text()); });
    const auto start = std::chrono::steady_clock::now();
    server.signal(SIGTERM);
    happens(server);
    const std::string reply = client.read_until_gone();
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    const bool cut_off = std::chrono::steady_clock::now() - start >= time_until_cut_off;
    CHECK((reply == long_request.reply() + "\n" || (cut_off && reply.empty())));
    return !reply.empty();
}

void check_finishes(const std::function<void(const Server&)>& happens)
{
    eventually("a server ends in time", [&] { return finishes(happens); });
}

}  // namespace

TEST_SUITE_BEGIN("SIGTERM and SIGINT");

TEST_CASE("SIGTERM and SIGINT end it with clients connected, and leave nothing behind")
{
    for (const int number : {SIGTERM, SIGINT}) {
        CAPTURE(number);
        Server server;
        Client served(server);
        CHECK(served.ask("10\n") == "55");
        const Client silent(server);
        server.signal(number);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        CHECK(served.read_until_gone().empty());
        check_nothing_was_left(server);
        check_port_is_free(server);
    }
    held();
}

TEST_CASE("SIGTERM and SIGINT end it while it computes, and leave nothing behind")
{
    for (const int number : {SIGTERM, SIGINT}) {
        CAPTURE(number);
        Server server;
        Client client(server);
        // Once with an endless request: a server that finishes is then cut off.
        const std::string request =
            number == SIGTERM ? std::string(endless_request) : last_request();
        wait_until_computing(server, [&] { client.send(request); });
        server.signal(number);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        check_nothing_was_left(server);
        check_port_is_free(server);
    }
    held();
}

TEST_CASE("Ctrl-C reaches the whole process group and ends it in silence")
{
    Server server({"--quiet"});
    Client client(server);
    const std::string request = last_request();
    wait_until_computing(server, [&] { client.send(request); });
    server.signal_group(SIGINT);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    check_nothing_was_left(server);
    CHECK(server.err().read_all().empty());
    held();
}

TEST_CASE("SIGTERM lets it finish what it is computing" * only_if(stage().finishes_when_stopped()) *
          because("ends at once"))
{
    check_finishes([](const Server&) {});
    held("finishes what it is computing");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("SIGTERM while a client never stops sending");

TEST_CASE("a client that never stops sending does not keep it from ending")
{
    // On a busy machine a server may still be cut off, but not always.
    eventually("a server ends before it is cut off", [&] {
        Server server({"--quiet"});
        Client client(server);
        CHECK(client.ask("10\n") == "55");
        std::string requests;
        for (int i = 0; i < 1000; ++i) {
            requests += "1\n";
        }
        std::jthread sender([&](const std::stop_token& stop) {
            try {
                while (!stop.stop_requested()) {
                    pollfd room{client.native_handle(), POLLOUT, 0};
                    ::poll(&room, 1, 10);
                    client.send_some(requests);
                }
            } catch (const std::exception&) {
                // The server has ended.
            }
        });
        for (int i = 0; i < 1000; ++i) {
            static_cast<void>(client.read_line());
        }
        const auto start = std::chrono::steady_clock::now();
        server.signal(SIGTERM);
        std::jthread reader([&] { static_cast<void>(client.read_until_gone()); });
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        check_nothing_was_left(server);
        return std::chrono::steady_clock::now() - start < time_until_cut_off;
    });
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("SIGKILL");

TEST_CASE("SIGKILL leaves nothing behind")
{
    for (const bool computing : {false, true}) {
        CAPTURE(computing);
        Server server;
        Client client(server);
        CHECK(client.ask("10\n") == "55");
        if (computing) {
            client.send(endless_request);
            wait_until_computing(server);
        }
        CHECK(server.descendants().empty() ==
              !(stage().has_processes() || stage().has_process_per_client()));
        server.signal(SIGKILL);
        CHECK(server.wait() == -SIGKILL);
        CHECK(client.read_until_gone().empty());
        check_nothing_is_left(server);
        if (stage().is("07c_io_uring")) {
            // The kernel ends its work for a killed process a moment after the process.
            eventually("the port is free", [&] {
                try {
                    return Server({"--port", std::to_string(server.port())}).port() != 0;
                } catch (const std::exception&) {
                    return false;
                }
            });
        }
        check_port_is_free(server);
    }
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("disk full, output closed");

TEST_CASE("it serves although stdout or stderr can't be written, and says why if it can")
{
    using enum Stream;
    for (const auto& streams :
         {std::pair(full, pipe), std::pair(closed, pipe), std::pair(deaf, pipe),
          std::pair(full, full), std::pair(closed, closed)}) {
        const Stream out = streams.first;
        const Stream err = streams.second;
        CAPTURE(static_cast<int>(out));
        CAPTURE(static_cast<int>(err));
        Server server({}, {.command = {}, .limits = {}, .out = out, .err = err});
        Client client(server);
        // Its output about the connection must not come here instead.
        CHECK(client.ask("10\n") == "55");
        client.shutdown_send();
        CHECK(client.read_all().empty());
        check_serves(server);
        if (err == pipe && out != closed) {
            server.err().wait_for("can't write to stdout: ");
            CHECK(server.err().text().find("listening on 127.0.0.1:") != std::string::npos);
        }
        server.signal(SIGTERM);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
    }
    held("keeps serving");
}

TEST_CASE("help that can't be written is a failure, in one line")
{
    std::vector<std::string> command = stage().command();
    command.emplace_back("--help");
    Program help({.command = command, .limits = {}, .out = Stream::full});
    CHECK(help.wait() == 1);
    const std::string text = help.err().read_all();
    CHECK(count(text, "\n") == 1);
    CHECK(text.find("can't write to stdout: No space left on device") != std::string::npos);
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("stderr is not read");

TEST_CASE("it serves newcomers when the pipe of its log is full")
{
    constexpr int room = 64 << 10;  // Linux gives a pipe this much; a line has more than 32 bytes
    Server server({}, {.command = {}, .limits = {}, .err = Stream::unread});
    // Two lines for each client: when it comes, and when it goes.
    for (int i = 0; i < room / 64 + 500; ++i) {
        Client client(server);
        REQUIRE(client.ask("10\n") == "55");
    }
    server.start_reading_err();
    const std::string_view expected = stage().has_process_per_client()
                                          ? "Closed"  // a client whose line was lost has gone
                                          : " lines lost: stderr was not read\n";
    eventually("it is heard again", [&] {
        check_serves(server);
        return server.err().text().find(expected) != std::string::npos;
    });
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    held("what is not read is lost, and counted");
}

TEST_CASE("a child that crashes while the log is not read stops nothing, and newcomers are served" *
          only_if(stage().has_process_per_client()) *
          because("has no processes that talk to clients"))
{
    Server server({}, {.command = {}, .limits = {}, .err = Stream::unread});
    Client victim(server);
    CHECK(victim.ask("10\n") == "55");
    {
        const ground::Descriptor pipe(
            ::open(fmt::format("/proc/{}/fd/2", server.pid()).c_str(), O_WRONLY | O_NONBLOCK));
        REQUIRE(pipe.get() != -1);
        while (::write(pipe.get(), "x", 1) == 1) {
        }
    }
    REQUIRE(::kill(server.descendants().front().pid, SIGKILL) == 0);
    CHECK(victim.read_until_gone().empty());
    check_serves(server);
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    held("what is not read is lost");
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("EINTR storm");

TEST_CASE("signals that interrupt system calls disturb no reply")
{
    const Server server({"--framing", "line"});
    const std::size_t before = own_descriptors(server);
    {
        const Storm storm(server);
        const int end = 50 / slowdown;
        while (storm.rounds() < end) {
            Client client(server);
            Client other(server);
            for (int i = 0; i < 5; ++i) {
                REQUIRE(client.ask("20\n") == "6765");
                REQUIRE(client.ask("x\n").starts_with("[Error] not a number"));
                if (stage().serves_others()) {
                    REQUIRE(other.ask("10\n") == "55");
                }
            }
        }
    }
    check_serves(server);
    check_descriptors_return_to(before, server);
    held();
}

TEST_CASE("a poke that is received before its sender goes on loses no result" *
          only_if(stage().scheduler_is_ours() && stage().serves_while_computing() && !sanitized) *
          because("no scheduler of ours that is poked; not with sanitizers"))
{
    const Server server(
        {}, {.command = {}, .environment = {std::string("LD_PRELOAD=") + RARE_MOMENTS}});
    Client client(server);
    for (int i = 0; i < 3; ++i) {
        client.send("34\n");  // not done before it is waited for
        REQUIRE_NOTHROW(eventually(
            "a reply", [&] { return client.readable(); }, Deadline(std::chrono::seconds(5))));
        REQUIRE(client.read_line() == "5702887");
    }
    held();
}

TEST_CASE("being stopped and continued does not cut short what it finishes" *
          only_if(stage().finishes_when_stopped()) * because("ends at once"))
{
    check_finishes([](const Server& server) {
        try {
            for (int i = 0; i < 3; ++i) {
                eventually("it waits", [&] { return waits_until_it_is_cut_off(server); });
                server.stop();
                server.resume();
            }
        } catch (const std::runtime_error&) {
            // The server was faster, and has ended.
        }
    });
    held();
}

TEST_SUITE_END();

TEST_SUITE_BEGIN("clock jumps");

// Sanitizers and a library that replaces the same functions do not go together.
TEST_CASE("a clock that jumps back and forth by years changes nothing" * only_if(!sanitized) *
          because("not with sanitizers"))
{
    constexpr rlimit few{32, 32};
    Server server({}, {.command = {},
                       .limits = {{RLIMIT_NOFILE, few}},
                       .environment = {std::string("LD_PRELOAD=") + WILD_CLOCK}});
    std::ifstream maps(fmt::format("/proc/{}/maps", server.pid()));
    const std::string loaded(std::istreambuf_iterator<char>(maps), {});
    REQUIRE(loaded.find("wild_clock") != std::string::npos);
    // The lock of 02b changes hands in time. A thread that computes goes on when its client has
    // left.
    const int computing = stage().serves_while_computing() && !stage().has_pool() ? 1 : 0;
    if (computing > 0) {
        Client big(server);
        big.send(endless_request);
        wait_until_computing(server);
        check_serves(server);
    }
    // The pause of a server without free descriptors ends.
    if (stage().serves_others() && !stage().has_process_per_client()) {
        std::deque<Client> clients;
        for (int i = 0; i < 40; ++i) {
            clients.emplace_back(server);
            clients.back().send("10\n");
        }
        server.err().wait_for("descriptors");
        while (!clients.empty()) {
            const auto client = next_served(clients);
            REQUIRE(client->read_line() == "55");
            clients.erase(client);
        }
    }
    // The server is told to end while a client reads no replies. A server that finishes what it has
    // begun must be cut off by a clock.
    Client client(server.port(), 4096);
    CHECK(client.ask("10\n") == "55");
    std::string requests;
    for (int i = 0; i < 10'000; ++i) {
        requests += "x\n";
    }
    eventually("it sleeps, although there is something to read", [&] {
        while (client.send_some(requests) > 0) {
        }
        const auto threads = threads_of(server.pid());
        const auto end = server_end(server, client);
        return end && end->unread > 0 &&
               std::count_if(threads.begin(), threads.end(), [](const ProcessInfo& thread) {
                   return thread.state == 'R';
               }) <= computing;
    });
    const auto start = std::chrono::steady_clock::now();
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    if (stage().finishes_when_stopped()) {
        CHECK(std::chrono::steady_clock::now() - start >= time_until_cut_off);
    }
    check_nothing_was_left(server);
    held();
}

TEST_SUITE_END();
