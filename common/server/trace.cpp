#include "common/server/trace.hpp"

#include "common/observe/seams.hpp"
#include "common/observe/watcher.hpp"
#include "common/server/log.hpp"
#include "common/server/signals.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

namespace ground::observe {

namespace {

// The tracks are grouped as if these were processes.
enum Group { clients = 1, threads = 2, workers = 3 };

std::string slice_name(State state, std::uint32_t n)
{
    switch (state) {
        case runs:
            return n == 0 ? "runs" : fmt::format("submits fib({})", n);
        case computes:
            return fmt::format("fib({})", n);
        case awaits:
            return fmt::format("waits for fib({})", n);
        case ready:
            return "ready";
        case accepts:
            return "waits for a newcomer";
        case receives:
            return "receives";
        case sends:
            return "sends";
        case locked:
            return "waits for the lock";
        case selects:
            return "selects";
        case idles:
            return "idle";
        case sleeps:
            return "sleeps";
        case held:
            return "held";
        case gone:
            break;
    }
    return "gone";
}

// A point of an arrow: its track and its time.
struct Point {
    Group group = clients;
    std::uint32_t track = 0;
    std::uint64_t time = 0;
};

// Leads from a request to the worker that computes it, and on to the reply. The last point is kept,
// because only the next event tells whether another point follows.
struct Arrow {
    std::uint64_t number = 0;  // 0: there is none
    unsigned written = 0;      // points
    Point last;
};

class TraceFile {
  public:
    TraceFile(const std::string& path, std::string stage, std::size_t most_bytes)
        : file_(path, std::ios::trunc), stage_(std::move(stage)), most_bytes_(most_bytes)
    {
    }

    [[nodiscard]] bool good() const { return file_.good(); }
    [[nodiscard]] bool finished() const noexcept { return finished_; }

    // Writes some of what has happened since the last call. Returns whether there may be more.
    bool write_some(Watcher& watcher)
    {
        constexpr std::size_t some = 4'096;
        if (finished_) {
            return false;
        }
        const auto events = watcher.events(some);
        for (const Happened& event : events) {
            write(watcher, event);
        }
        if (size_ >= most_bytes_) {
            finish(last_);
            log("{}: the trace is full ({} MB): what happens from now on is not in it", stage_,
                most_bytes_ / 1'000'000);
        }
        return events.size() == some;
    }

    // Writes all that has happened until now. A process that was killed while it wrote an event has
    // left a hole. events() waits a while for such an event before it continues.
    void write_the_rest(Watcher& watcher)
    {
        const std::uint64_t until = watcher.happened();
        while (!finished_ && watcher.next() < until) {
            if (!write_some(watcher)) {
                constexpr timespec pause{0, 5'000'000};
                ::nanosleep(&pause, nullptr);
            }
        }
    }

    // Ends all tracks that have not ended, and the file.
    void finish(std::uint64_t now)
    {
        if (std::exchange(finished_, true)) {
            return;
        }
        for (auto& [id, track] : tracks_) {
            end_track(id, track, now);
        }
        file_ << (size_ == 0 ? "[\n]\n" : "\n]\n") << std::flush;
    }

  private:
    struct Track {
        Group group = clients;
        std::string name;
        Where now;
        std::uint32_t n = 0;
        std::uint32_t largest = 0;  // number that a client has asked for
        std::string line;
        Arrow arrow;  // from the request that it has submitted
    };

    template <typename... Args>
    void entry(fmt::format_string<Args...> format, Args&&... args)
    {
        const std::string text = fmt::format(format, std::forward<Args>(args)...);
        file_ << (size_ == 0 ? "[\n" : ",\n") << text;
        size_ += text.size() + 2;
    }

    void name_groups()
    {
        for (const auto& [group, name] :
             {std::pair(clients, "clients"), {threads, "threads"}, {workers, "workers"}}) {
            entry(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"{}: {}"}}}})",
                  static_cast<int>(group), stage_, name);
        }
    }

    void name_track(std::uint32_t id, const Track& track)
    {
        entry(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":"{}"}}}})",
              static_cast<int>(track.group), id, track.name);
    }

    // An entry that came and went between two looks was a client's if it has a port.
    Track& begin_track(const Watcher& watcher, const Happened& event)
    {
        if (tracks_.empty() && size_ == 0) {
            name_groups();
            begin_ = event.where.since;
        }
        Track& track = tracks_[event.id];
        track.group = event.n == 0 ? threads : clients;
        for (const Seen& seen : watcher.look()) {
            if (seen.id == event.id) {
                track.group = seen.kind == Kind::thread   ? threads
                              : seen.kind == Kind::worker ? workers
                                                          : clients;
            }
        }
        if (track.group == clients) {
            track.name = fmt::format("client at port {}", event.n);
        } else {
            const char* const kind = track.group == threads ? "thread" : "worker";
            track.name = event.tid == 0 ? fmt::format("{} behind the broker", kind)
                                        : fmt::format("{} {}", kind, event.tid);
        }
        if (track.group == threads) {
            by_thread_[event.tid] = event.id;
        }
        name_track(event.id, track);
        return track;
    }

    // Adds to a client's name the largest number that it has asked for. That shows the hog.
    void end_track(std::uint32_t id, Track& track, std::uint64_t now)
    {
        end_slice(id, track, now);
        end_arrow(track.arrow);
        if (track.largest != 0) {
            track.name += fmt::format(": up to fib({})", track.largest);
            name_track(id, track);
        }
    }

    void write(const Watcher& watcher, const Happened& event)
    {
        const auto found = tracks_.find(event.id);
        const bool is_new = found == tracks_.end();
        Track& track = is_new ? begin_track(watcher, event) : found->second;
        last_ = std::max(last_, event.where.since);
        if (track.group == clients && event.where.state != ready) {
            carry(event);
        }
        if (event.where.state == gone) {
            end_track(event.id, track, event.where.since);
            if (track.group == threads) {
                by_thread_.erase(event.tid);
            }
            tracks_.erase(event.id);
            return;
        }
        if (!is_new) {
            end_slice(event.id, track, event.where.since);
        }
        track.now = event.where;
        track.n = is_new ? 0 : event.n;
        track.line = fmt::format("{}:{}", watcher.file(event.where.file), event.where.line);
        if (track.group == clients) {
            track.largest = std::max(track.largest, track.n);
        }
        const Point here{track.group, event.id, event.where.since};
        if (event.where.state == runs && track.n != 0) {
            end_arrow(track.arrow);
            track.arrow = {++requests_, 0, here};
        } else if (event.where.state == runs && track.arrow.number != 0) {
            continue_arrow(track.arrow, here);
            end_arrow(track.arrow);
        } else if (event.where.state == computes && event.for_id != 0) {
            const auto asks = tracks_.find(event.for_id);
            if (asks != tracks_.end() && asks->second.arrow.number != 0) {
                continue_arrow(asks->second.arrow, here);
            }
        }
    }

    // A thread that runs a conversation does what the conversation does, until either of them
    // reports something else.
    void carry(const Happened& event)
    {
        const auto thread = by_thread_.find(event.tid);
        if (thread == by_thread_.end()) {
            return;
        }
        Track& track = tracks_.at(thread->second);
        end_slice(thread->second, track, event.where.since);
        track.now = event.where;
        track.n = event.where.state == computes || event.where.state == awaits ? event.n : 0;
        if (event.where.state == gone) {
            track.now.state = runs;
        }
    }

    void end_slice(std::uint32_t id, const Track& track, std::uint64_t now)
    {
        if (track.now.state == idles) {
            return;  // a gap shows it
        }
        const std::uint64_t end = std::max(now, track.now.since);
        entry(
            R"({{"ph":"X","name":"{}","pid":{},"tid":{},"ts":{},"dur":{},"args":{{"line":"{}"}}}})",
            slice_name(track.now.state, track.n), static_cast<int>(track.group), id,
            since_begin(track.now.since), end - track.now.since, track.line);
    }

    void continue_arrow(Arrow& arrow, const Point& next)
    {
        write_last(arrow, arrow.written == 0 ? 's' : 't');
        ++arrow.written;
        arrow.last = next;
    }

    // An arrow with a single point is not written.
    void end_arrow(Arrow& arrow)
    {
        if (arrow.written != 0) {
            write_last(arrow, 'f');
        }
        arrow = {};
    }

    void write_last(const Arrow& arrow, char phase)
    {
        entry(
            R"({{"ph":"{}","name":"request","cat":"request","id":{},"pid":{},"tid":{},"ts":{},"bp":"e"}})",
            phase, arrow.number, static_cast<int>(arrow.last.group), arrow.last.track,
            since_begin(arrow.last.time));
    }

    // Events that are reported at the same time may arrive in the wrong order.
    [[nodiscard]] std::uint64_t since_begin(std::uint64_t time) const
    {
        return time - std::min(time, begin_);
    }

    std::ofstream file_;
    std::string stage_;
    std::size_t most_bytes_;
    std::size_t size_ = 0;
    bool finished_ = false;
    std::unordered_map<std::uint32_t, Track> tracks_;             // by id
    std::unordered_map<std::uint32_t, std::uint32_t> by_thread_;  // ids, by the kernel's ids
    std::uint64_t requests_ = 0;                                  // so far
    std::uint64_t begin_ = 0;
    std::uint64_t last_ = 0;
};

// Blocks the signal that would end the parent before the file is finished. The child, which is
// forked meanwhile, unblocks it.
class HangUpBlocked {
  public:
    HangUpBlocked() noexcept
    {
        sigset_t hang_up;
        ::sigemptyset(&hang_up);
        ::sigaddset(&hang_up, SIGHUP);
        ::sigprocmask(SIG_BLOCK, &hang_up, &before_);
    }
    void unblock() const noexcept { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_{};
};

// What the parent does from now on.
[[noreturn]] void collect(TraceFile trace, Watcher& watcher, pid_t server, sigset_t awaited,
                          const std::string& path, const std::string& stage)
{
    constexpr timespec pause{0, 20'000'000};  // the ring holds more than comes in that time
    constexpr timespec none{};
    ::sigaddset(&awaited, SIGHUP);
    int status = 0;
    while (::waitpid(server, &status, WNOHANG) == 0) {
        const bool behind = trace.write_some(watcher);
        const int number = ::sigtimedwait(&awaited, nullptr, behind ? &none : &pause);
        if (number == SIGINT || number == SIGTERM) {
            ::kill(server, SIGTERM);
        } else if (number == SIGHUP) {
            ::kill(server, SIGHUP);
        }
    }
    const std::uint64_t end = now();
    trace.write_the_rest(watcher);
    trace.finish(end);
    if (watcher.lost() != 0) {
        log("{}: {} events lost: the trace has gaps", stage, watcher.lost());
    }
    if (!trace.good()) {
        log("{}: can't write all of the trace to {}", stage, path);
        ::_exit(EXIT_FAILURE);
    }
    if (WIFSIGNALED(status)) {
        ::signal(WTERMSIG(status), SIG_DFL);
        ::raise(WTERMSIG(status));
        ::sigprocmask(SIG_UNBLOCK, &awaited, nullptr);
    }
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

}  // namespace

void trace_to(const std::string& file, const std::string& stage, std::size_t most_bytes)
try {
    if (watched()) {
        log("{}: another program watches it already; start it without --trace", stage);
        std::exit(2);
    }
    TraceFile trace(file, stage, most_bytes);
    if (!trace.good()) {
        log("{}: can't write to {}: {}; give --trace another file", stage, file,
            std::strerror(errno));
        std::exit(EXIT_FAILURE);
    }
    auto watcher = std::make_unique<Watcher>();
    const HangUpBlocked hang_up;
    const ParentSignals signals;
    const pid_t parent = ::getpid();
    const pid_t server = check(::fork(), "fork");
    if (server != 0) {
        collect(std::move(trace), *watcher, server, signals.awaited(), file, stage);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
        ::_exit(EXIT_FAILURE);  // the parent ended before prctl() could take effect
    }
    signals.leave_to_parent();
    hang_up.unblock();
    attach(watcher->descriptor());
} catch (const std::system_error& error) {
    log("{}: can't trace: {}; start it without --trace", stage, error.what());
    std::exit(EXIT_FAILURE);
}

}  // namespace ground::observe
