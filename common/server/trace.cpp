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
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>

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

class TraceFile {
  public:
    TraceFile(const std::string& path, std::string stage)
        : file_(path, std::ios::trunc), stage_(std::move(stage))
    {
    }

    [[nodiscard]] bool good() const { return file_.good(); }

    // What has happened since the last call.
    void write_what_happened(Watcher& watcher)
    {
        for (auto events = watcher.events(); !events.empty(); events = watcher.events()) {
            for (const Happened& event : events) {
                write(watcher, event);
            }
        }
    }

    // Everybody who is still there is so until now.
    void finish()
    {
        for (auto& [id, track] : tracks_) {
            end_slice(id, track, last_);
        }
        file_ << (first_ ? "[\n]\n" : "\n]\n") << std::flush;
    }

  private:
    struct Track {
        Group group = clients;
        Where now;
        std::uint32_t n = 0;
        std::string line;
        std::uint64_t request = 0;  // the arrow that begins with what it has submitted; 0: none
    };

    template <typename... Args>
    void entry(fmt::format_string<Args...> format, Args&&... args)
    {
        file_ << (first_ ? "[\n" : ",\n") << fmt::format(format, std::forward<Args>(args)...);
        first_ = false;
    }

    void name_groups()
    {
        for (const auto& [group, name] :
             {std::pair(clients, "clients"), {threads, "threads"}, {workers, "workers"}}) {
            entry(R"({{"ph":"M","name":"process_name","pid":{},"args":{{"name":"{}: {}"}}}})",
                  static_cast<int>(group), stage_, name);
        }
    }

    // Somebody who came and went between two looks was a client: threads and workers stay.
    Track& begin_track(const Watcher& watcher, const Happened& event)
    {
        if (tracks_.empty()) {
            name_groups();
            begin_ = event.where.since;
        }
        Track& track = tracks_[event.id];
        std::string name = fmt::format("client at port {}", event.n);
        for (const Seen& seen : watcher.look()) {
            if (seen.id == event.id && seen.kind == Kind::thread) {
                track.group = threads;
                name = fmt::format("thread {}", seen.tid);
            } else if (seen.id == event.id && seen.kind == Kind::worker) {
                track.group = workers;
                name = fmt::format("worker {}", seen.tid);
            }
        }
        entry(R"({{"ph":"M","name":"thread_name","pid":{},"tid":{},"args":{{"name":"{}"}}}})",
              static_cast<int>(track.group), event.id, name);
        return track;
    }

    void write(const Watcher& watcher, const Happened& event)
    {
        const auto found = tracks_.find(event.id);
        const bool is_new = found == tracks_.end();
        Track& track = is_new ? begin_track(watcher, event) : found->second;
        last_ = std::max(last_, event.where.since);
        if (!is_new) {
            end_slice(event.id, track, event.where.since);
        }
        if (event.where.state == gone) {
            tracks_.erase(event.id);
            return;
        }
        track.now = event.where;
        track.n = is_new ? 0 : event.n;
        track.line = fmt::format("{}:{}", watcher.file(event.where.file), event.where.line);
        if (event.where.state == runs && track.n != 0) {
            track.request = ++requests_;
            arrow("s", track.request, event.id, track);
        } else if (event.where.state == runs && track.request != 0) {
            arrow("f", std::exchange(track.request, 0), event.id, track);
        } else if (event.where.state == computes && event.for_id != 0) {
            const auto asks = tracks_.find(event.for_id);
            if (asks != tracks_.end() && asks->second.request != 0) {
                arrow("t", asks->second.request, event.id, track);
            }
        }
    }

    void end_slice(std::uint32_t id, const Track& track, std::uint64_t now)
    {
        if (track.now.state == idles) {
            return;  // the gaps say it
        }
        const std::uint64_t end = std::max(now, track.now.since);
        entry(
            R"({{"ph":"X","name":"{}","pid":{},"tid":{},"ts":{},"dur":{},"args":{{"line":"{}"}}}})",
            slice_name(track.now.state, track.n), static_cast<int>(track.group), id,
            since_begin(track.now.since), end - track.now.since, track.line);
    }

    void arrow(std::string_view phase, std::uint64_t request, std::uint32_t id, const Track& track)
    {
        entry(
            R"({{"ph":"{}","name":"request","cat":"request","id":{},"pid":{},"tid":{},"ts":{},"bp":"e"}})",
            phase, request, static_cast<int>(track.group), id, since_begin(track.now.since));
    }

    // Two who tell of something at the same time may do so in the other order.
    [[nodiscard]] std::uint64_t since_begin(std::uint64_t time) const
    {
        return time - std::min(time, begin_);
    }

    std::ofstream file_;
    std::string stage_;
    bool first_ = true;
    std::unordered_map<std::uint32_t, Track> tracks_;  // by id
    std::uint64_t requests_ = 0;                       // so far
    std::uint64_t begin_ = 0;
    std::uint64_t last_ = 0;
};

// The life of the parent.
[[noreturn]] void collect(TraceFile trace, Watcher& watcher, pid_t server, const sigset_t& awaited,
                          const std::string& path, const std::string& stage)
{
    constexpr timespec pause{0, 20'000'000};  // the ring holds more than that brings
    int status = 0;
    while (::waitpid(server, &status, WNOHANG) == 0) {
        trace.write_what_happened(watcher);
        const int number = ::sigtimedwait(&awaited, nullptr, &pause);
        if (number == SIGINT || number == SIGTERM) {
            ::kill(server, SIGTERM);
        }
    }
    trace.write_what_happened(watcher);
    trace.finish();
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

void trace_to(const std::string& file, const std::string& stage)
try {
    if (watched()) {
        log("{}: it is watched already; start it without --trace", stage);
        std::exit(2);
    }
    TraceFile trace(file, stage);
    if (!trace.good()) {
        log("{}: can't write to {}: {}; give --trace another file", stage, file,
            std::strerror(errno));
        std::exit(EXIT_FAILURE);
    }
    auto watcher = std::make_unique<Watcher>();
    const ParentSignals signals;
    const pid_t parent = ::getpid();
    const pid_t server = check(::fork(), "fork");
    if (server != 0) {
        collect(std::move(trace), *watcher, server, signals.awaited(), file, stage);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
        ::_exit(EXIT_FAILURE);  // it died before the line above could take effect
    }
    signals.leave_to_parent();
    attach(watcher->descriptor());
} catch (const std::system_error& error) {
    log("{}: can't trace: {}; start it without --trace", stage, error.what());
    std::exit(EXIT_FAILURE);
}

}  // namespace ground::observe
