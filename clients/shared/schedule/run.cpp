#include "clients/shared/schedule/run.hpp"

#include "clients/shared/schedule/sleepers.hpp"
#include "clients/shared/target.hpp"
#include "common/base/descriptor.hpp"
#include "common/base/pipe.hpp"
#include "common/observe/watcher.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <linux/sockios.h>
#include <map>
#include <optional>
#include <set>

namespace ground::explore {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using observe::Deed;
using observe::Kind;
using observe::Seen;
using observe::State;

// Much longer than anything that a story asks for, also on a busy machine.
constexpr auto patience = 60s;
// A thread that has used so much CPU time in one step does not stop by itself (nanoseconds).
constexpr std::uint64_t restless = 3'000'000'000;
// explore may have to wait for a CPU for long. If it dies, the server ends in any case.
constexpr std::uint64_t lease = 120'000'000;  // microseconds
constexpr std::size_t most_steps = 2'000;
constexpr std::size_t places = 64;  // of the watcher's table, enough for a story

// --- The server's process

class Process {
  public:
    Process(const Server& server, int watch);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    [[nodiscard]] pid_t pid() const noexcept { return pid_; }
    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    // "signal 11 (Segmentation fault)"; empty: it runs.
    [[nodiscard]] std::string ending();
    [[nodiscard]] std::string last_line() const;

  private:
    std::string first_line(const Descriptor& out);

    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
    Descriptor errors_;  // a memfd
    std::string ending_;
};

std::vector<std::string> command_of(const Server& server)
{
    if (server.command.empty()) {
        std::vector<std::string> words{server.program, "--host", "127.0.0.1",
                                       "--port",       "0",      "--quiet"};
        words.insert(words.end(), server.options.begin(), server.options.end());
        return words;
    }
    std::vector<std::string> words = server.command;
    const std::string any_port = "0";
    constexpr std::string_view place = "{port}";
    bool placed = false;
    for (std::string& word : words) {
        for (auto at = word.find(place); at != std::string::npos; at = word.find(place, at)) {
            word.replace(at, place.size(), any_port);
            placed = true;
        }
    }
    if (!placed) {
        words.insert(words.end(), {"--port", any_port});
    }
    return words;
}

Process::Process(const Server& server, int watch)
    : errors_(check(::memfd_create("stderr", MFD_CLOEXEC), "memfd_create"))
{
    std::vector<std::string> words = command_of(server);
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    // Not setenv(): another thread may start a server, too.
    std::string watched = fmt::format("GROUND_WATCH={}", watch);
    std::string any_port = "PORT=0";
    std::vector<char*> environment{watched.data(), any_port.data()};
    for (char** variable = environ; *variable != nullptr; ++variable) {
        if (!std::string_view(*variable).starts_with("GROUND_WATCH=")) {
            environment.push_back(*variable);
        }
    }
    environment.push_back(nullptr);
    Pipe out;
    const pid_t parent = ::getpid();
    pid_ = check(::fork(), "fork");
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
        ::setpgid(0, 0);
        if (::getppid() == parent && ::dup2(nothing, 0) == 0 &&
            ::dup2(out.write_end.get(), 1) == 1 && ::dup2(errors_.get(), 2) == 2) {
            sigset_t none;
            ::sigemptyset(&none);
            ::sigprocmask(SIG_SETMASK, &none, nullptr);
            ::signal(SIGPIPE, SIG_DFL);
            constexpr rlimit log{100U << 20U, 100U << 20U};  // it may write without end
            ::setrlimit(RLIMIT_FSIZE, &log);
            ::execvpe(arguments[0], arguments.data(), environment.data());
        }
        ::_exit(127);
    }
    out.write_end.reset();
    const std::string line = first_line(out.read_end);
    const std::size_t address = line.find("127.0.0.1:");
    const auto digits = line.find_first_not_of("0123456789", address + 10);
    const auto port = address == std::string::npos
                          ? std::nullopt
                          : parse_port(line.substr(address + 10, digits - address - 10));
    if (!port) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        throw ClientError(
            fmt::format("{} does not start: {}", server.name, line.empty() ? last_line() : line));
    }
    port_ = *port;
}

// Its own children become ours, if we have asked for that; they are in its group.
Process::~Process()
{
    ::kill(-pid_, SIGKILL);
    ::kill(pid_, SIGKILL);
    if (ending_.empty()) {
        ::waitpid(pid_, nullptr, 0);
    }
    while (::waitpid(-pid_, nullptr, 0) > 0) {
    }
}

std::string Process::first_line(const Descriptor& out)
{
    std::string line;
    const auto end = Clock::now() + patience;
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
        pollfd readable{out.get(), POLLIN, 0};
        if (left.count() <= 0 || ::poll(&readable, 1, static_cast<int>(left.count())) <= 0) {
            return line;
        }
        std::array<char, 256> text;
        const ssize_t size = ::read(out.get(), text.data(), text.size());
        if (size <= 0) {
            return line;
        }
        line.append(text.data(), static_cast<std::size_t>(size));
        if (const std::size_t stop = line.find('\n'); stop != std::string::npos) {
            return line.substr(0, stop);
        }
    }
}

std::string Process::ending()
{
    int status = 0;
    if (ending_.empty() && ::waitpid(pid_, &status, WNOHANG) == pid_) {
        ending_ = WIFSIGNALED(status) ? fmt::format("signal {} ({})", WTERMSIG(status),
                                                    ::strsignal(WTERMSIG(status)))
                                      : fmt::format("exit status {}", WEXITSTATUS(status));
    }
    return ending_;
}

std::string Process::last_line() const
{
    std::array<char, 2'000> text;
    const auto size = ::lseek(errors_.get(), 0, SEEK_END);
    const auto begin = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
    const ssize_t got = ::pread(errors_.get(), text.data(), text.size(), begin);
    std::string all(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    while (all.ends_with('\n')) {
        all.pop_back();
    }
    return all.substr(all.rfind('\n') + 1);
}

// --- The clients

class Client {
  public:
    void connect(std::uint16_t port)
    {
        socket_ = Descriptor(check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        check(::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              "connect");
        const int yes = 1;
        ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        socklen_t size = sizeof address;
        ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
    }

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] bool has_come() const noexcept { return port_ != 0; }
    [[nodiscard]] bool has_left() const noexcept { return has_come() && socket_.get() == -1; }
    [[nodiscard]] bool was_closed() const noexcept { return closed_; }
    void leave() noexcept { socket_.reset(); }
    // For poll(), which skips -1: nothing more can come.
    [[nodiscard]] int descriptor() const noexcept { return closed_ ? -1 : socket_.get(); }

    // Returns when the server's end has all of it.
    void send(std::string text)
    {
        text += '\n';
        static_cast<void>(::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL));
        const auto end = Clock::now() + 100ms;
        for (int left = 1; left > 0 && Clock::now() < end;) {
            ::ioctl(socket_.get(), SIOCOUTQ, &left);
        }
    }

    // The lines that have come so far.
    const std::vector<std::string>& replies()
    {
        std::array<char, 512> text;
        while (socket_.get() != -1 && !closed_) {
            const ssize_t size = ::recv(socket_.get(), text.data(), text.size(), MSG_DONTWAIT);
            if (size <= 0) {
                closed_ = size == 0 || (errno != EAGAIN && errno != EINTR);
                break;
            }
            rest_.append(text.data(), static_cast<std::size_t>(size));
        }
        for (std::size_t end = 0; (end = rest_.find('\n')) != std::string::npos;) {
            lines_.push_back(rest_.substr(0, end));
            rest_.erase(0, end + 1);
        }
        return lines_;
    }

  private:
    Descriptor socket_;
    std::uint16_t port_ = 0;
    std::string rest_;
    std::vector<std::string> lines_;
    bool closed_ = false;
};

// --- A run

class Stage {
  public:
    Stage(const Server& server, const Story& story)
        : story_(story),
          server_name_(server.name),
          process_(server, watcher_.descriptor()),
          sleepers_(process_.pid())
    {
        begin();
        come_to_a_choice();
    }

    [[nodiscard]] bool over() const noexcept { return over_; }
    [[nodiscard]] const Run& run() const noexcept { return run_; }
    [[nodiscard]] const std::vector<Act>& enabled() const noexcept { return enabled_; }
    [[nodiscard]] std::size_t last() const;
    void choose(std::size_t chosen);
    [[nodiscard]] observe::Watcher& watcher() noexcept { return watcher_; }
    [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
    [[nodiscard]] std::uint16_t port() const noexcept { return process_.port(); }
    [[nodiscard]] std::vector<std::uint16_t> client_ports() const;
    [[nodiscard]] bool goes_on(std::chrono::milliseconds time);

  private:
    void come_to_a_choice();
    [[nodiscard]] bool reaches_a_choice();
    void begin();
    void come(std::size_t client);
    [[nodiscard]] bool comes_to_rest();
    [[nodiscard]] std::vector<Act> find_enabled();
    void name_threads();
    [[nodiscard]] Act act_of(const Seen& seen);
    [[nodiscard]] std::string client_of(const Seen& seen) const;
    [[nodiscard]] std::uint32_t numbered(std::uint32_t object);
    void take(const Act& act);
    void complete(Step& step);
    [[nodiscard]] bool judge(Run& run);
    [[nodiscard]] bool has_finished();
    [[nodiscard]] bool has_finished(std::size_t i);
    void explain_stuck(Run& run);
    [[nodiscard]] std::string why(const Seen& seen) const;

    const Story story_;
    const std::string server_name_;
    Run run_;
    std::vector<Act> enabled_;
    std::string last_;  // the actor of the step before
    bool over_ = false;
    observe::Watcher watcher_;
    Process process_;
    pid_t main_ = -1;
    Sleepers sleepers_;
    std::vector<Client> clients_;
    std::vector<std::size_t> done_;  // how many of its doings each client has done
    std::vector<Seen> seen_;
    std::map<std::uint32_t, std::string> names_;  // of threads, by tid
    std::map<std::string, unsigned> counts_;
    std::map<std::uint32_t, std::uint32_t> objects_;
    std::map<std::uint16_t, std::size_t> ports_;
};

void Stage::begin()
{
    clients_.resize(story_.guests.size());
    done_.resize(clients_.size());
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (!story_.guests[i].is_last()) {
            come(i);
        }
    }
    if (!comes_to_rest()) {
        throw ClientError("the server does not come to rest after its start");
    }
    if (watcher_.server() == 0) {
        throw ClientError(
            fmt::format("{} is not built on common/, so it can't be explored", server_name_));
    }
    // If a script has started the server, it is not the process that was started here.
    main_ = static_cast<pid_t>(watcher_.server());
    watcher_.set_lease(lease);
    watcher_.pause();
    seen_ = watcher_.look(places);
    name_threads();
}

void Stage::come(std::size_t i)
{
    clients_[i].connect(process_.port());
    ports_[clients_[i].port()] = i;
}

// Waits until all threads sleep. Returns false if one of them computes and computes. The clock does
// not say that: on a busy machine a thread may wait for a CPU for seconds.
bool Stage::comes_to_rest()
{
    pid_t busy = 0;
    std::uint64_t since = 0;
    while (!sleepers_.all_asleep()) {
        const std::uint64_t used = sleepers_.cpu_time_of_awake();
        if (busy != sleepers_.awake()) {
            busy = sleepers_.awake();
            since = used;
        }
        if (used - since > restless) {
            return false;
        }
        ::sched_yield();
    }
    return true;
}

std::string Stage::client_of(const Seen& seen) const
{
    if (seen.kind == Kind::conversation) {
        const auto found = ports_.find(seen.peer);
        return found == ports_.end() ? "" : fmt::format("client {}", found->second + 1);
    }
    const auto of = std::find_if(seen_.begin(), seen_.end(), [&](const Seen& other) {
        return other.id == seen.for_id && other.kind == Kind::conversation;
    });
    return seen.for_id == 0 || of == seen_.end() ? "" : client_of(*of);
}

// A thread that serves one client has the number of that client. The others are counted as they
// come.
void Stage::name_threads()
{
    std::vector<const Seen*> unnamed;
    for (const Seen& seen : seen_) {
        if (!names_.contains(seen.tid)) {
            unnamed.push_back(&seen);
        }
    }
    std::stable_sort(unnamed.begin(), unnamed.end(), [this](const Seen* a, const Seen* b) {
        return client_of(*a) < client_of(*b);
    });
    for (const Seen* const seen : unnamed) {
        if (names_.contains(seen->tid)) {
            continue;
        }
        const std::string client = client_of(*seen);
        const bool other_process = static_cast<pid_t>(seen->pid) != main_;
        std::string name;
        if (static_cast<pid_t>(seen->tid) == main_) {
            name = "main";
        } else if (seen->kind == Kind::worker) {
            if (seen->where.state != State::held) {
                continue;  // the first that does something is the first
            }
            name = fmt::format("worker {}", ++counts_["worker"]);
        } else if (seen->kind == Kind::conversation && !client.empty()) {
            name = fmt::format("{} {}", other_process ? "process" : "thread", client.substr(7));
        } else if (seen->kind == Kind::thread && seen->where.state == State::held) {
            name = fmt::format("helper {}", ++counts_["helper"]);
        } else {
            continue;
        }
        names_[seen->tid] = name;
    }
}

std::uint32_t Stage::numbered(std::uint32_t object)
{
    return objects_.emplace(object, static_cast<std::uint32_t>(objects_.size()) + 1).first->second;
}

Act Stage::act_of(const Seen& seen)
{
    Act act{.actor = names_[seen.tid],
            .on_behalf_of = client_of(seen),
            .outside = false,
            .text = "",
            .deed = seen.next,
            .file = watcher_.file(seen.where.file),
            .line = seen.where.line};
    if (act.actor.ends_with(
            act.on_behalf_of.substr(std::min<std::size_t>(act.on_behalf_of.size(), 6))) &&
        act.actor.find("worker") == std::string::npos) {
        act.on_behalf_of.clear();  // its name says so
    }
    act.entry = seen.id;
    if (seen.next >= Deed::reads) {
        act.object = numbered(seen.object);
        act.value = seen.value;
    }
    return act;
}

std::vector<Act> Stage::find_enabled()
{
    std::vector<Act> acts;
    bool others_have_finished = true;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        const auto& doings = story_.guests[i].doings;
        const bool may_come = !story_.guests[i].is_last() || others_have_finished;
        others_have_finished = others_have_finished && has_finished(i);
        if (!may_come || done_[i] == doings.size() || clients_[i].was_closed() ||
            clients_[i].replies().size() < doings[done_[i]].after_replies) {
            continue;
        }
        const Doing& doing = doings[done_[i]];
        std::string text = doing.kind == Doing::Kind::leaves ? "leaves" : "sends " + doing.text;
        text = clients_[i].has_come() ? text : "comes, " + text;
        std::replace(text.begin(), text.end(), '\n', ' ');
        acts.push_back({.actor = fmt::format("client {}", i + 1),
                        .on_behalf_of = "",
                        .outside = true,
                        .text = text,
                        .file = ""});
    }
    seen_ = watcher_.look(places);
    name_threads();
    std::vector<Act> inside;
    for (const Seen& seen : seen_) {
        if (seen.where.state == State::held) {
            inside.push_back(act_of(seen));
        }
    }
    std::stable_sort(inside.begin(), inside.end(),
                     [](const Act& a, const Act& b) { return a.actor < b.actor; });
    acts.insert(acts.end(), inside.begin(), inside.end());
    return acts;
}

void Stage::take(const Act& act)
{
    if (act.outside) {
        const auto i = static_cast<std::size_t>(std::atoi(act.actor.c_str() + 7) - 1);
        const Doing& doing = story_.guests[i].doings[done_[i]++];
        if (!clients_[i].has_come()) {
            come(i);
        }
        if (doing.kind == Doing::Kind::leaves) {
            clients_[i].leave();
        } else {
            clients_[i].send(doing.text);
        }
        return;
    }
    const auto found = std::find_if(seen_.begin(), seen_.end(), [&](const Seen& seen) {
        return seen.where.state == State::held && names_[seen.tid] == act.actor;
    });
    static_cast<void>(found != seen_.end() && watcher_.step(*found));
}

std::string Stage::why(const Seen& seen) const
{
    switch (seen.where.state) {
        case State::locked: {
            const auto holder = std::find_if(seen_.begin(), seen_.end(), [&](const Seen& other) {
                return other.id == seen.for_id;
            });
            if (seen.for_id == 0 || holder == seen_.end()) {
                return "waits for a lock";
            }
            const auto name = names_.find(holder->tid);
            return holder->tid == seen.tid
                       ? "waits for a lock that it holds itself"
                       : fmt::format("waits for a lock that {} holds",
                                     name == names_.end() ? "another thread" : name->second);
        }
        case State::accepts:
            return "waits for a newcomer";
        case State::receives:
            return "waits for bytes";
        case State::sends:
            return "waits for room to send";
        case State::awaits:
            return "waits for a result";
        case State::selects:
            return "waits for any of its sockets";
        case State::idles:
            return "waits for work";
        case State::sleeps:
            return "waits for time to pass";
        case State::ready:
            return "is ready, and waits for its turn";
        default:
            return "waits";
    }
}

// What has become of the actor, and the value that it has read.
void Stage::complete(Step& step)
{
    Act& act = step.enabled[step.chosen];
    if (act.outside) {
        return;
    }
    seen_ = watcher_.look(places);
    const auto is_actor = [&](const Seen& seen) {
        const auto name = names_.find(seen.tid);
        return name != names_.end() && name->second == act.actor;
    };
    // A thread that runs several conversations has an entry of its own.
    const bool has_own = std::any_of(seen_.begin(), seen_.end(), [&](const Seen& seen) {
        return seen.kind != Kind::conversation && is_actor(seen);
    });
    bool held = false;
    for (const Seen& seen : seen_) {
        if (!is_actor(seen)) {
            continue;
        }
        held = held || seen.where.state == State::held;
        if ((!has_own || seen.kind != Kind::conversation) && seen.where.state != State::runs) {
            step.waits = why(seen);
        }
        if (seen.id == act.entry && (act.deed == Deed::reads || act.deed == Deed::changes)) {
            act.value = seen.found;
        }
    }
    if (held) {
        step.waits.clear();
    }
}

// The client has done all that it does, and has all of its replies.
bool Stage::has_finished(std::size_t i)
{
    const Guest& guest = story_.guests[i];
    return done_[i] == guest.doings.size() &&
           (clients_[i].has_left() || clients_[i].replies().size() >= guest.replies.size());
}

bool Stage::has_finished()
{
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        if (!has_finished(i)) {
            return false;
        }
    }
    return true;
}

// Returns false if a promise is broken already.
bool Stage::judge(Run& run)
{
    const auto broken = [&run](std::string promise, std::string seen) {
        run.outcome = Outcome::broken;
        run.promise = std::move(promise);
        run.seen = std::move(seen);
        return false;
    };
    if (const std::string ending = process_.ending(); !ending.empty()) {
        const std::string said = process_.last_line();
        return broken(
            "the server does not end",
            fmt::format("it ended: {}{}{}", ending, said.empty() ? "" : "; it said: ", said));
    }
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        const auto& promised = story_.guests[i].replies;
        const auto& got = clients_[i].replies();
        for (std::size_t k = 0; k < got.size(); ++k) {
            if (clients_[i].has_left()) {
                break;
            }
            if (k >= promised.size() || got[k] != promised[k]) {
                const auto& doings = story_.guests[i].doings;
                const std::string& text = doings[std::min(k, doings.size() - 1)].text;
                const bool several = text.empty() || text.find('\n') != std::string::npos;
                const std::string asked = several ? "" : fmt::format("asked {} and ", text);
                return broken(
                    story_.guests[i].is_last() ? story_.guests[i].promise : "every reply is right",
                    fmt::format("client {} {}got {} in place of {}", i + 1, asked, got[k],
                                k < promised.size() ? promised[k] : "nothing"));
            }
        }
        if (clients_[i].was_closed() && got.size() < promised.size()) {
            return broken("every request is answered",
                          fmt::format("the server closed the connection of client {} after {} of "
                                      "its {} replies",
                                      i + 1, got.size(), promised.size()));
        }
    }
    return true;
}

void Stage::explain_stuck(Run& run)
{
    run.outcome = Outcome::broken;
    run.promise = "every request is answered";
    run.silent = true;
    std::vector<std::string> who;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
        const std::size_t promised = story_.guests[i].replies.size();
        if (clients_[i].has_come() && !clients_[i].has_left() &&
            clients_[i].replies().size() < promised) {
            who.push_back(fmt::format("client {}", i + 1));
            run.stuck.push_back({who.back(),
                                 fmt::format("waits for reply {} of {}",
                                             clients_[i].replies().size() + 1, promised),
                                 "", 0});
        }
    }
    run.seen =
        fmt::format("{} got no reply, and nothing in the server can move", fmt::join(who, " and "));
    seen_ = watcher_.look(places);
    for (const Seen& seen : seen_) {
        const std::string client = client_of(seen);
        const auto name = names_.find(seen.tid);
        std::string actor =
            name == names_.end() ? seen.kind == Kind::worker ? "a worker" : "a thread"
            : seen.kind == Kind::conversation && !name->second.ends_with(client.substr(6))
                ? "the conversation of " + client
                : name->second;
        run.stuck.push_back({actor, why(seen), watcher_.file(seen.where.file), seen.where.line});
    }
}

void Stage::come_to_a_choice()
{
    over_ = !reaches_a_choice();
    if (over_) {
        enabled_.clear();
    }
}

// What the step before has led to. Returns false if the run is over.
bool Stage::reaches_a_choice()
{
    if (!comes_to_rest()) {
        run_.outcome = Outcome::broken;
        run_.promise = "every request is answered";
        run_.silent = true;
        run_.seen = "a thread of the server runs and does not stop";
        return false;
    }
    if (!run_.steps.empty()) {
        complete(run_.steps.back());
    }
    if (!judge(run_) || has_finished()) {
        return false;
    }
    if (run_.steps.size() == most_steps) {
        run_.outcome = Outcome::strange;
        run_.seen = fmt::format("after {} steps the story had not ended", most_steps);
        return false;
    }
    enabled_ = find_enabled();
    if (enabled_.empty()) {
        explain_stuck(run_);
        return false;
    }
    return true;
}

std::size_t Stage::last() const
{
    return static_cast<std::size_t>(
        std::find_if(enabled_.begin(), enabled_.end(),
                     [&](const Act& act) { return act.actor == last_; }) -
        enabled_.begin());
}

void Stage::choose(std::size_t chosen)
{
    if (chosen >= enabled_.size()) {
        run_.outcome = Outcome::strange;
        run_.seen = fmt::format("step {} can't be taken", run_.steps.size() + 1);
        over_ = true;
        enabled_.clear();
        return;
    }
    const std::size_t at = last();
    Step step;
    step.enabled = enabled_;
    step.chosen = chosen;
    step.preempts = at < step.enabled.size() && at != chosen;
    last_ = step.act().actor;
    take(step.act());
    run_.steps.push_back(std::move(step));
    come_to_a_choice();
}

bool Stage::goes_on(std::chrono::milliseconds time)
{
    const auto replies = [this] {
        std::size_t all = 0;
        for (Client& client : clients_) {
            all += client.replies().size() + (client.was_closed() ? 1 : 0);
        }
        return all;
    };
    const std::size_t before = replies();
    std::vector<pollfd> sockets;
    for (const Client& client : clients_) {
        sockets.push_back({client.descriptor(), POLLIN, 0});
    }
    watcher_.go();
    const auto end = Clock::now() + time;
    while (replies() == before && Clock::now() < end) {
        ::poll(sockets.data(), sockets.size(), static_cast<int>((end - Clock::now()) / 1ms) + 1);
    }
    // On a busy machine it may not have had a CPU yet.
    static_cast<void>(comes_to_rest());
    return replies() != before;
}

std::vector<std::uint16_t> Stage::client_ports() const
{
    std::vector<std::uint16_t> ports;
    for (const Client& client : clients_) {
        ports.push_back(client.has_come() && !client.has_left() ? client.port() : 0);
    }
    return ports;
}

}  // namespace

std::size_t choose_by_default(const std::vector<Act>& enabled, std::size_t last)
{
    return last < enabled.size() ? last : 0;
}

class Play::Impl : public Stage {
  public:
    using Stage::Stage;
};

Play::Play(const Server& server, const Story& story) : impl_(std::make_unique<Impl>(server, story))
{
}
Play::~Play() = default;
bool Play::over() const noexcept { return impl_->over(); }
const Run& Play::run() const noexcept { return impl_->run(); }
const std::vector<Act>& Play::enabled() const noexcept { return impl_->enabled(); }
std::size_t Play::last() const { return impl_->last(); }
void Play::choose(std::size_t chosen) { impl_->choose(chosen); }
observe::Watcher& Play::watcher() noexcept { return impl_->watcher(); }
pid_t Play::pid() const noexcept { return impl_->pid(); }
std::uint16_t Play::port() const noexcept { return impl_->port(); }
bool Play::goes_on(std::chrono::milliseconds time) { return impl_->goes_on(time); }
std::vector<std::uint16_t> Play::client_ports() const { return impl_->client_ports(); }

Run run(const Server& server, const Story& story, const Choose& choose)
{
    Play play(server, story);
    while (!play.over()) {
        play.choose(choose(play.enabled(), play.last()));
    }
    return play.run();
}

}  // namespace ground::explore
