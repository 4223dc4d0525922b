// The seams and their watcher, without a server: this program is both.
#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"
#include "common/observe/watcher.hpp"
#include "common/server/trace.hpp"
#include "tests/harness.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace ground;
using namespace ground::observe;
using ground::test::eventually;
using namespace std::chrono_literals;

namespace {

// The machine seems to have run for this many seconds longer: 50.9 days and some.
constexpr std::int64_t later = 4'400'000;

}  // namespace

// In place of libc's, for the whole program.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept
{
    const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
    if (clock == CLOCK_MONOTONIC) {
        time->tv_sec += later;
    }
    return result;
}

namespace {

Watcher& watcher()
{
    static Watcher& one = [&]() -> Watcher& {
        static Watcher made;
        attach(made.descriptor());
        return made;
    }();
    return one;
}

// Events from before do not matter.
void forget_events()
{
    eventually("all have been read", [] {
        static_cast<void>(watcher().events());
        return watcher().next() == watcher().happened();
    });
}

std::size_t count(Kind kind)
{
    const auto all = watcher().look();
    return static_cast<std::size_t>(std::count_if(
        all.begin(), all.end(), [kind](const Seen& seen) { return seen.kind == kind; }));
}

// Runs it on a thread of its own, which has an entry of its own.
void on_a_thread(const std::function<void()>& run) { std::thread(run).join(); }

std::optional<Seen> find_this_thread()
{
    const auto all = watcher().look();
    const auto found = std::find_if(all.begin(), all.end(), [](const Seen& seen) {
        return seen.tid == static_cast<std::uint32_t>(::gettid());
    });
    return found == all.end() ? std::nullopt : std::optional(*found);
}

}  // namespace

TEST_CASE("seams: lines and times are right on a machine that has run for more than 50.9 days")
{
    watcher();
    on_a_thread([] {
        const std::uint64_t before = now();
        const Seam seam(receives, this_thread, {__FILE__, 1'000});
        const auto seen = find_this_thread();
        REQUIRE(seen);
        CHECK(seen->where.line == 1'000);
        CHECK(watcher().file(seen->where.file) == "tests/unit/observe_test.cpp");
        CHECK(seen->where.state == receives);
        CHECK(seen->where.since >= before - 1'000);
        CHECK(seen->where.since <= now());
    });
    forget_events();
}

TEST_CASE("seams: a packed time from before the counter wrapped is unpacked correctly")
{
    constexpr std::uint64_t around = std::uint64_t{1} << 42U;
    for (const std::uint64_t since : {around - 5, around, around + 5, 3 * around - 5}) {
        for (const std::uint64_t about : {since - 3, since, since + 7, since + 1'000'000'000}) {
            const Where where = Where::unpacked(Where{held, 3, 4'000, since}.packed(), about);
            CHECK(where.since == since);
            CHECK(where.state == held);
            CHECK(where.file == 3);
            CHECK(where.line == 4'000);
        }
    }
}

// In every part, the events of each writer differ from the other's, and from older ones.
TEST_CASE("seams: an event is complete before it can be read, also where the ring wraps")
{
    forget_events();
    std::atomic<bool> ending{false};
    std::atomic<bool> hurrying{false};
    std::vector<std::thread> writers;
    for (unsigned writer = 0; writer < 2; ++writer) {
        writers.emplace_back([&, writer] {
            for (unsigned n = 2 + writer; !ending; n += 2) {
                const Seam seam(computes, this_thread, {__FILE__, n % 4'000}, n);
                for (int i = 0; i < 100 && !hurrying; ++i) {  // time for the reader
                }
            }
        });
    }
    std::map<std::uint32_t, std::uint32_t> threads;  // by id
    std::map<std::uint32_t, std::uint32_t> last;     // n
    std::uint64_t wrong = 0;
    std::uint64_t read = 0;
    constexpr std::uint64_t enough = test::sanitized ? 200'000 : 1'000'000;
    while (read < enough) {
        // In turns at the newest event, and at the oldest, which are about to be overwritten.
        if (hurrying.exchange(!hurrying)) {
            const std::uint64_t lap = watcher().next() + most_events + 1'000;
            eventually("the writers go on", [&] { return watcher().happened() > lap; });
        }
        for (int i = 0; i < 500; ++i) {
            for (const Happened& event : watcher().events(1'000)) {
                ++read;
                const bool is_its_thread =
                    threads.emplace(event.id, event.tid).first->second == event.tid;
                bool whole = event.where.state == runs && event.n == 0;
                if (event.where.state == computes) {
                    std::uint32_t& before = last[event.id];
                    whole = event.where.line == event.n % 4'000 && event.n > before &&
                            (before == 0 || before % 2 == event.n % 2);
                    before = event.n;
                }
                wrong += whole && is_its_thread ? 0 : 1;
            }
        }
    }
    ending = true;
    for (std::thread& writer : writers) {
        writer.join();
    }
    CHECK(wrong == 0);
    CHECK(threads.size() == 2);
    forget_events();
}

// The ring wraps while a writer is in the middle of an event.
TEST_CASE("seams: a late event spoils none that came after it")
{
    forget_events();
    Event& place = observe::memory.load()->ring[watcher().next() % most_events];
    const std::uint64_t stopped = watcher().next();
    on_a_thread([] { may_stop(); });
    forget_events();
    place.sequence = (stopped + 1) | Event::unfinished;  // as if it were still being written
    const auto go_round = [] {
        const std::uint64_t end = watcher().happened() + most_events;
        on_a_thread([end] {
            while (watcher().happened() < end) {
                const Seam seam(computes, this_thread, Here::at(), 1);
            }
        });
        forget_events();
    };
    go_round();
    CHECK(place.sequence == ((stopped + 1) | Event::unfinished));
    // Its writer was killed. The slot is not lost for good.
    for (int round = 0; round < 20 && (place.sequence & Event::unfinished) != 0; ++round) {
        go_round();
    }
    CHECK((place.sequence & Event::unfinished) == 0);
    // Newer events stay.
    place.sequence = watcher().happened() + 10 * most_events;
    const std::uint64_t newer = place.sequence;
    go_round();
    CHECK(place.sequence == newer);
    place.sequence = 0;
}

TEST_CASE("seams: what the ring could not keep until it was read is counted")
{
    watcher();
    on_a_thread([] {
        may_stop();  // it has an entry
        forget_events();
        const std::uint64_t lost = watcher().lost();
        const std::uint64_t before = watcher().happened();
        for (std::size_t i = 0; i < most_events; ++i) {
            const Seam seam(computes, this_thread, Here::at(), 1);
        }
        const std::uint64_t all = watcher().happened() - before;
        REQUIRE(all > most_events);
        CHECK(watcher().events().size() == most_events);
        CHECK(watcher().lost() - lost == all - most_events);
    });
    forget_events();
}

TEST_CASE("seams: an event whose writer was killed is skipped, and counted")
{
    forget_events();
    const std::uint64_t lost = watcher().lost();
    on_a_thread([] { may_stop(); });
    observe::memory.load()->written.fetch_add(1);
    on_a_thread([] { may_stop(); });
    std::set<std::uint32_t> ids;
    eventually("all have been read", [&] {
        for (const Happened& event : watcher().events()) {
            ids.insert(event.id);
        }
        return ids.size() == 2;
    });
    CHECK(watcher().lost() == lost + 1);
    forget_events();
}

TEST_CASE("seams: a thread is in the table from its first event to its end, whatever it does first")
{
    watcher();
    const std::size_t before = count(Kind::thread);
    for (int i = 0; i < 2'000; ++i) {  // more than there is room for
        on_a_thread([] { may_stop(); });
    }
    CHECK(count(Kind::thread) == before);
    on_a_thread([] {
        becomes_worker(::getpid());
        CHECK(count(Kind::worker) == 1);
    });
    CHECK(count(Kind::worker) == 0);
    on_a_thread([] {
        may_stop();
        CHECK(find_this_thread());
    });
    forget_events();
}

TEST_CASE("seams: the entry of a closed conversation is not touched again")
{
    watcher();
    on_a_thread([] {
        const Descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        opens(file.get(), Here::at());
        passes(client(file.get()), Here::at());
        const Place& place = observe::memory.load()->places[static_cast<std::size_t>(file.get())];
        REQUIRE(place.id.load() != 0);
        const std::uint64_t last = place.now.load();
        const std::uint64_t events = watcher().happened();
        closes(file.get());
        CHECK(place.id.load() == 0);
        CHECK(place.now.load() == last);
        CHECK(watcher().happened() == events + 1);  // that it has gone
        CHECK(whose().key == whoever_runs.key);
    });
    forget_events();
}

TEST_CASE("seams: a new conversation at the same descriptor inherits nothing")
{
    watcher();
    on_a_thread([] {
        const Descriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        const Place& place = observe::memory.load()->places[static_cast<std::size_t>(file.get())];
        const auto find = [&] {
            const auto all = watcher().look();
            return *std::find_if(all.begin(), all.end(),
                                 [](const Seen& seen) { return seen.kind == Kind::conversation; });
        };
        opens(file.get(), Here::at());
        runs_now(client(file.get()));
        const Calls calls({__FILE__, 100});  // does not return
        {
            const Seam seam(computes, client(file.get()), {__FILE__, 200}, 30);
        }
        answers(client(file.get()), "1\n2\n");
        const Seen first = find();
        CHECK(first.where.line == 100);
        CHECK(first.requests == 2);
        CHECK(first.n == 30);
        CHECK(watcher().step(first.id));
        const Who before = whose();
        closes(file.get());
        passes(client(file.get()), {__FILE__, 300});  // there is no such conversation
        CHECK(whose().key == whoever_runs.key);

        opens(file.get(), Here::at());
        CHECK(place.granted == place.taken);
        passes(client(file.get()), {__FILE__, 400});
        waits(receives, client(file.get()), {__FILE__, 400});
        is_ready(before);  // meant for the one that has gone
        const Seen second = find();
        CHECK(second.id != first.id);
        CHECK(second.where.line == 400);
        CHECK(second.where.state == receives);
        CHECK(second.requests == 0);
        CHECK(second.n == 0);
        on_a_thread([&] {
            runs_now(client(file.get()));
            CHECK(find().tid == static_cast<std::uint32_t>(::gettid()));
        });
        closes(file.get());
    });
    forget_events();
}

TEST_CASE("gate: a step that was granted and not taken does not count in the next pause")
{
    for (const bool somebody : {true, false}) {
        CAPTURE(somebody);
        std::atomic<std::uint32_t> id{0};
        std::atomic<bool> may_come{false};
        std::atomic<bool> has_passed{false};
        watcher();
        std::thread thread([&] {
            may_stop();
            id = find_this_thread()->id;
            while (!may_come) {
                std::this_thread::sleep_for(1ms);
            }
            may_stop();
            has_passed = true;
        });
        eventually("it is there", [&] { return id != 0; });
        watcher().pause();
        if (somebody) {
            CHECK(watcher().step(id));
        } else {
            watcher().step();
        }
        watcher().go();
        watcher().pause();
        may_come = true;
        const auto is_held = [&] {
            watcher().renew();
            const auto all = watcher().look();
            return std::any_of(all.begin(), all.end(), [&](const Seen& seen) {
                return seen.id == id && seen.where.state == held;
            });
        };
        eventually("it has come", [&] { return is_held() || has_passed; });
        std::this_thread::sleep_for(100ms);  // a thread with a step does not need that long
        CHECK(is_held());
        CHECK_FALSE(has_passed);
        watcher().step(id);
        eventually("it has taken its step", [&] { return has_passed.load(); });
        watcher().go();
        thread.join();
    }
    forget_events();
}

TEST_CASE("gate: pauses that come while steps are taken grant no step")
{
    watcher();
    std::atomic<bool> ending{false};
    std::atomic<std::uint64_t> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
        threads.emplace_back([&] {
            while (!ending) {
                may_stop();
                ++taken;
            }
        });
    }
    watcher().pause();
    for (int i = 0; i < 3'000; ++i) {
        watcher().step();
        watcher().pause();
    }
    // A thread that has passed a gate counts that, and comes to the next.
    eventually("all are held", [] {
        watcher().renew();
        const auto all = watcher().look();
        return std::count_if(all.begin(), all.end(),
                             [](const Seen& seen) { return seen.where.state == held; }) == 2;
    });
    const std::uint64_t before = taken;
    std::this_thread::sleep_for(100ms);
    watcher().renew();
    CHECK(taken == before);
    watcher().step();
    eventually("one has gone on", [&] {
        watcher().renew();
        return taken > before;
    });
    std::this_thread::sleep_for(100ms);
    CHECK(taken == before + 1);
    ending = true;
    watcher().go();
    for (std::thread& thread : threads) {
        thread.join();
    }
    forget_events();
}

namespace {

// This program as a server with --trace: the process that writes the trace, and its child, which
// does what the test says.
class Traced {
  public:
    static constexpr std::size_t into_a_pipe = SIZE_MAX;

    explicit Traced(const std::function<void()>& server, std::size_t most_bytes = most_trace_bytes)
        : folder_(new_folder())
    {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        said_ = Descriptor(ends[0]);
        say() = Descriptor(ends[1]);
        if (most_bytes == into_a_pipe) {
            REQUIRE(::mkfifo(file().c_str(), 0600) == 0);
        }
        pid_ = ::fork();
        REQUIRE(pid_ != -1);
        if (pid_ == 0) {
            for (const int number : {SIGTERM, SIGINT, SIGABRT, SIGSEGV}) {
                ::signal(number, SIG_DFL);  // they were the test program's
            }
            ::alarm(60);
            const int log = ::open(log_file().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            ::dup2(log, STDERR_FILENO);
            observe::memory.store(nullptr);
            trace_to(file(), "unit", most_bytes);
            ::alarm(60);  // is not inherited
            server();
            ::_exit(7);
        }
        say().reset();
    }
    ~Traced()
    {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        std::filesystem::remove_all(folder_);
    }
    Traced(const Traced&) = delete;
    Traced& operator=(const Traced&) = delete;

    // The server says that it has reached this point. The test waits for that.
    static void says() { CHECK(::write(say().get(), "x", 1) == 1); }
    void wait_until_said() const
    {
        char byte = 0;
        REQUIRE(::read(said_.get(), &byte, 1) == 1);
    }

    void signal(int number) const { ::kill(pid_, number); }

    // What it returned, or minus the number of the signal.
    int wait()
    {
        int status = 0;
        eventually("it has ended", [&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; });
        pid_ = -1;
        return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    }

    // Where the trace comes out, if it goes into a pipe.
    [[nodiscard]] Descriptor pipe() const
    {
        return Descriptor(check(::open(file().c_str(), O_RDONLY | O_CLOEXEC), "open"));
    }
    [[nodiscard]] nlohmann::json trace() const
    {
        std::ifstream trace(file());
        return nlohmann::json::parse(trace);
    }
    [[nodiscard]] std::string log() const
    {
        std::ifstream log(log_file());
        return {std::istreambuf_iterator<char>(log), {}};
    }
    [[nodiscard]] std::size_t size() const { return std::filesystem::file_size(file()); }
    [[nodiscard]] bool ends_with(const std::string& text) const
    {
        std::ifstream trace(file());
        trace.seekg(-static_cast<std::streamoff>(text.size()), std::ios::end);
        return std::string(std::istreambuf_iterator<char>(trace), {}) == text;
    }

  private:
    static std::string new_folder()
    {
        std::string name = std::filesystem::temp_directory_path() / "traced-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        return name;
    }
    static Descriptor& say()
    {
        static Descriptor pipe;
        return pipe;
    }
    [[nodiscard]] std::string file() const { return folder_ + "/trace"; }
    [[nodiscard]] std::string log_file() const { return folder_ + "/log"; }

    std::string folder_;
    Descriptor said_;
    pid_t pid_ = -1;
};

// The slices of this name: how long they were, in microseconds.
std::vector<std::int64_t> lengths(const nlohmann::json& trace, std::string_view name)
{
    std::vector<std::int64_t> all;
    for (const auto& entry : trace) {
        if (entry["ph"] == "X" && entry["name"] == name) {
            all.push_back(entry["dur"]);
        }
    }
    return all;
}

std::string arrows(const nlohmann::json& trace)
{
    std::map<int, std::string> phases;
    for (const auto& entry : trace) {
        if (entry.contains("cat")) {
            phases[entry["id"]] += entry["ph"].get<std::string>();
        }
    }
    std::string all;
    for (const auto& [id, text] : phases) {
        all += text + " ";
    }
    return all;
}

// A conversation of the server.
class NewClient {
  public:
    NewClient()
    {
        const Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const where = reinterpret_cast<sockaddr*>(&address);
        check(::bind(listener.get(), where, size), "bind");
        check(::listen(listener.get(), 1), "listen");
        check(::getsockname(listener.get(), where, &size), "getsockname");
        other_ = Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check(::connect(other_.get(), where, size), "connect");
        socket_ = Descriptor(check(::accept(listener.get(), nullptr, nullptr), "accept"));
        opens(fd(), Here::at());
        passes(client(fd()), Here::at());
    }
    [[nodiscard]] int fd() const { return socket_.get(); }

  private:
    Descriptor other_;
    Descriptor socket_;
};

}  // namespace

TEST_CASE("trace: a slice that is open when the server ends lasts until then")
{
    Traced traced([] {
        const Seam seam(computes, this_thread, Here::at(), 48);
        Traced::says();
        ::pause();
    });
    traced.wait_until_said();
    std::this_thread::sleep_for(300ms);
    traced.signal(SIGTERM);
    CHECK(traced.wait() == -SIGTERM);
    const auto computed = lengths(traced.trace(), "fib(48)");
    REQUIRE(computed.size() == 1);
    CHECK(computed.front() >= 300'000);
}

TEST_CASE("trace: it contains what happened after an unfinished event")
{
    Traced traced([] {
        may_stop();
        observe::memory.load()->written.fetch_add(1);
        const Seam seam(computes, this_thread, Here::at(), 30);
    });
    CHECK(traced.wait() == 7);
    CHECK(lengths(traced.trace(), "fib(30)").size() == 1);
    CHECK(traced.log() == "unit: 1 events lost: the trace has gaps\n");
}

// The trace goes into a pipe, and the test reads so slowly that there is always more to be written.
TEST_CASE("trace: SIGTERM reaches the server although its trace is behind")
{
    struct Server {
        std::atomic<pid_t> pid;
        std::atomic<std::uint64_t> events;
    };
    void* const shared =
        ::mmap(nullptr, sizeof(Server), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    auto& server = *new (shared) Server{};
    Traced traced(
        [&server] {
            server.pid = ::getpid();
            for (;;) {
                const Seam seam(computes, this_thread, Here::at(), 1);
                ++server.events;
            }
        },
        Traced::into_a_pipe);
    const Descriptor trace = traced.pipe();
    eventually("it has begun", [&] { return server.events > 0; });
    std::size_t size = 0;
    const auto read_some = [&] {
        static std::array<char, 65'536> bytes;  // the lines of some 600 events
        const std::uint64_t enough = server.events + 5'000;
        eventually("more has happened, or it has ended", [&] {
            const auto info = ground::test::process_info(server.pid);
            return server.events > enough || !info || info->state == 'Z';
        });
        const ssize_t some = ::read(trace.get(), bytes.data(), bytes.size());
        size += static_cast<std::size_t>(std::max<ssize_t>(some, 0));
        return some > 0;
    };
    while (size < 2'000'000) {
        REQUIRE(read_some());
    }
    traced.signal(SIGTERM);
    constexpr std::size_t ring = most_events * 120;  // its lines
    size = 0;
    while (size < 3 * ring && read_some()) {
    }
    CHECK(size < 3 * ring);
    CHECK(traced.wait() == -SIGTERM);
    ::munmap(shared, sizeof(Server));
}

TEST_CASE("trace: a SIGTERM that comes while events are written does not cut the file off")
{
    for (const int number : {SIGTERM, SIGINT}) {
        Traced traced([] {
            Traced::says();
            for (;;) {
                const Seam seam(computes, this_thread, Here::at(), 1);
            }
        });
        traced.wait_until_said();
        // From now on there is always a batch to be written.
        eventually("much has been written", [&] { return traced.size() > 500'000; });
        traced.signal(number);
        CHECK(traced.wait() == -SIGTERM);
        CHECK(traced.ends_with("}\n]\n"));
    }
}

TEST_CASE("trace: when the terminal is closed the file is still completed")
{
    Traced traced([] {
        const Seam seam(computes, this_thread, Here::at(), 20);
        Traced::says();
        ::pause();
    });
    traced.wait_until_said();
    traced.signal(SIGHUP);
    CHECK(traced.wait() == -SIGHUP);
    CHECK(lengths(traced.trace(), "fib(20)").size() == 1);
}

TEST_CASE("trace: its size is limited, and the server goes on without it")
{
    constexpr std::size_t most = 1'000'000;
    Traced traced(
        [] {
            for (int i = 0; i < 50'000; ++i) {
                const Seam seam(computes, this_thread, Here::at(), 2);
            }
            Traced::says();
            ::pause();
        },
        most);
    traced.wait_until_said();
    eventually("it is full", [&] { return !traced.log().empty(); });
    CHECK(traced.log() ==
          "unit: the trace is full (1 MB): what happens from now on is not in it\n");
    CHECK(traced.trace().size() > 1'000);  // it is complete already
    CHECK(traced.size() < 3 * most);
    traced.signal(SIGTERM);
    CHECK(traced.wait() == -SIGTERM);
    CHECK(traced.size() < 3 * most);
}

TEST_CASE("trace: an arrow has an end, whether or not there is a reply")
{
    const auto trace_of = [](const std::function<void()>& server) {
        Traced traced(server);
        CHECK(traced.wait() == 7);
        return traced.trace();
    };
    const auto compute = [](Who who) {
        on_a_thread([who] {
            becomes_worker(::getpid());
            const WorksFor working(who);
            const Seam seam(computes, this_thread, Here::at(), 30);
        });
    };
    // Computed by a worker, and answered.
    CHECK(arrows(trace_of([&] {
              const NewClient one;
              submits(30, Here::at());
              const Who who = whose();
              waits(awaits, client(one.fd()), Here::at());
              compute(who);
              passes(client(one.fd()), Here::at());
          })) == "stf ");
    // The worker is elsewhere.
    CHECK(arrows(trace_of([&] {
              const NewClient one;
              submits(30, Here::at());
              waits(awaits, client(one.fd()), Here::at());
              passes(client(one.fd()), Here::at());
          })) == "sf ");
    // Still open at the end, because the client has left before.
    CHECK(arrows(trace_of([&] {
              const NewClient one;
              submits(30, Here::at());
              const Who who = whose();
              waits(awaits, client(one.fd()), Here::at());
              compute(who);
          })) == "sf ");
    CHECK(arrows(trace_of([&] {
              const NewClient one;
              submits(30, Here::at());
              const Who who = whose();
              waits(awaits, client(one.fd()), Here::at());
              compute(who);
              closes(one.fd());
          })) == "sf ");
    CHECK(arrows(trace_of([&] {
              const NewClient one;
              submits(30, Here::at());
          })).empty());
}

TEST_CASE("trace: a thread has the slices of the conversation that it runs")
{
    Traced traced([] {
        may_stop();
        const NewClient one;
        {
            const Seam seam(receives, client(one.fd()), Here::at());
            std::this_thread::sleep_for(100ms);
        }
        closes(one.fd());
        std::this_thread::sleep_for(50ms);
    });
    CHECK(traced.wait() == 7);
    std::map<std::string, std::int64_t> lengths;  // of what the thread did
    for (const auto& entry : traced.trace()) {
        if (entry["ph"] == "X" && entry["pid"] == 2) {
            lengths[entry["name"]] += entry["dur"].get<std::int64_t>();
        }
    }
    CHECK(lengths["receives"] >= 99'000);
    CHECK(lengths["runs"] >= 49'000);
}

TEST_CASE("trace: a client's track names the largest number that it has asked for")
{
    Traced traced([] {
        const NewClient big;
        const NewClient small;
        for (const unsigned n : {3U, 40U, 7U}) {
            const Seam seam(computes, client(big.fd()), Here::at(), n);
        }
        {
            const Seam seam(computes, client(small.fd()), Here::at(), 5);
        }
        closes(small.fd());
    });
    CHECK(traced.wait() == 7);
    std::map<int, std::string> last;  // by track
    for (const auto& entry : traced.trace()) {
        if (entry["ph"] == "M" && entry["name"] == "thread_name") {
            last[entry["tid"]] = entry["args"]["name"];
        }
    }
    std::set<std::string> names;
    for (const auto& [track, name] : last) {
        names.insert(name.substr(std::min(name.find(": "), name.size())));
    }
    CHECK(names.contains(": up to fib(40)"));
    CHECK(names.contains(": up to fib(5)"));
}
