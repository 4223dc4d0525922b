#include "clients/board/session.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <iterator>

namespace ground::board {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr std::int64_t key_period = 2'000'000;  // microseconds
constexpr std::int64_t figures_period = 200'000;
constexpr std::int64_t body_period = 500'000;
constexpr std::size_t most_events_in_a_frame = 1500;
constexpr auto patience = 10s;
constexpr unsigned slowest = 2000;  // milliseconds for a step
constexpr std::size_t longest_request = 200;

std::uint64_t monotonic()
{
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1000;
}

std::string last_line(std::string_view text)
{
    while (text.ends_with('\n')) {
        text.remove_suffix(1);
    }
    const std::size_t end = text.rfind('\n');
    return std::string(text.substr(end == std::string_view::npos ? 0 : end + 1));
}

std::string quoted(const std::string& text)
{
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

template <typename... Args>
void append(std::string& json, fmt::format_string<Args...> format, Args&&... args)
{
    fmt::format_to(std::back_inserter(json), format, std::forward<Args>(args)...);
}

// ,"name":[...] with an element for each, or nothing if there is none.
template <typename Range, typename Write>
void append_list(std::string& json, std::string_view name, const Range& range, Write write)
{
    if (std::empty(range)) {
        return;
    }
    append(json, R"(,"{}":[)", name);
    for (const auto& element : range) {
        write(element);
        json += ',';
    }
    json.back() = ']';
}

// A number that a command may carry. Nothing if it carries none, or one that does not fit.
std::optional<unsigned> number_in(const Json& command, const char* name)
{
    const auto found = command.find(name);
    if (found == command.end() || !found->is_number_unsigned() ||
        found->get<std::uint64_t>() > 0xffff'ffff) {
        return std::nullopt;
    }
    return found->get<unsigned>();
}

std::string text_in(const Json& command, const char* name)
{
    const auto found = command.find(name);
    return found == command.end() || !found->is_string() ? "" : found->get<std::string>();
}

bool same(const observe::Seen& a, const observe::Seen& b)
{
    return a.where.packed() == b.where.packed() && a.kind == b.kind && a.peer == b.peer &&
           a.pid == b.pid && a.tid == b.tid && a.n == b.n && a.for_id == b.for_id &&
           a.requests == b.requests;
}

// Whether the workers are programs that the board has not started, on machines that it does not
// know.
bool behind_broker(const std::vector<std::string>& options)
{
    const auto pool = std::find(options.begin(), options.end(), "--pool");
    return (pool != options.end() && std::next(pool) != options.end() &&
            *std::next(pool) == "broker") ||
           std::find(options.begin(), options.end(), "--pool=broker") != options.end();
}

std::vector<std::string> command_of(const StageEntry& stage,
                                    const std::vector<std::string>& options)
{
    // With --quiet, what the stage prints is about itself, and may say why it ends.
    std::vector<std::string> command{stage.program};
    command.insert(command.end(), stage.arguments.begin(), stage.arguments.end());
    command.insert(command.end(), {"--host", "127.0.0.1", "--port", "0", "--quiet"});
    command.insert(command.end(), options.begin(), options.end());
    return command;
}

}  // namespace

Session::Stage::Stage(Supervisor& supervisor, const StageEntry& stage,
                      const std::vector<std::string>& options)
    : entry(stage),
      child(
          supervisor,
          {command_of(stage, options), {}, {fmt::format("GROUND_WATCH={}", watcher.descriptor())}})
{
    const auto listening = [this] { return child.out().find('\n') != std::string::npos; };
    supervisor.wait([&] { return listening() || child.ended(); },
                    std::chrono::steady_clock::now() + patience);
    if (!listening()) {
        const std::string why = last_line(child.err());
        throw ClientError(
            fmt::format("{} does not start: {}", stage.name, why.empty() ? child.ending() : why));
    }
    // "05_futures listening on 127.0.0.1:41234 (...)"
    const std::string first = child.out().substr(0, child.out().find('\n'));
    const std::size_t address = first.find("127.0.0.1:");
    const auto digits = first.find_first_not_of("0123456789", address + 10);
    const auto number = address == std::string::npos
                            ? std::nullopt
                            : parse_port(first.substr(address + 10, digits - address - 10));
    if (!number) {
        throw ClientError(fmt::format("{} does not say where it listens: {}", stage.name, first));
    }
    port = *number;
    said = child.err().size();
}

Session::Session(Supervisor& supervisor, const std::vector<StageEntry>& stages, Film& film)
    : supervisor_(supervisor), stages_(stages), film_(film), origin_(monotonic())
{
}

// In this order: the server first, so that it may still answer requests that it has received.
Session::~Session()
{
    if (stage_) {
        stage_->watcher.go();
        stage_->child.terminate();
    }
}

void Session::start(const StageEntry& stage, const std::vector<std::string>& options)
{
    options_[stage.name] = options;
    run(stage);
}

void Session::run(const StageEntry& stage)
{
    crowd_.aim(0);
    if (stage_) {
        stage_->watcher.go();  // a paused server would not notice that it has to end
        stage_->child.terminate();
        stage_.reset();
    }
    scheduled_.reset();
    latencies_.clear();
    body_ = {};
    pace_ = Pace::free;
    slow_ms_ = 0;
    next_body_ = 0;
    forget_places();
    stage_.emplace(supervisor_, stage, options_[stage.name]);
    crowd_.aim(stage_->port);
}

// Another server is shown from the next frame on.
void Session::forget_places()
{
    shown_.clear();
    files_.clear();
    next_key_ = 0;
    ++run_;
}

void Session::start(std::unique_ptr<Scheduled> scheduled)
{
    scheduled_ = std::move(scheduled);
    scheduled_run_ = scheduled_->run();
    pace_ = Pace::paused;
    forget_places();
}

observe::Watcher& Session::watcher()
{
    return scheduled_ ? scheduled_->play().watcher() : stage_->watcher;
}

const StageEntry* Session::entry() const
{
    return scheduled_ ? &scheduled_->subject().stage : stage_ ? &stage_->entry : nullptr;
}

std::string Session::main_file()
{
    std::string file;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (file.empty() && running() && std::chrono::steady_clock::now() < deadline &&
           stage_->watcher.server() != 0) {
        for (const observe::Seen& seen : stage_->watcher.look()) {
            const std::string its = stage_->watcher.file(seen.where.file);
            if (seen.kind == observe::Kind::thread && !its.starts_with("common/")) {
                file = its;
            }
        }
        supervisor_.wait([] { return false; }, std::chrono::steady_clock::now() + 20ms);
    }
    return file;
}

// ---- What the buttons do

std::future<std::string> Session::submit(Json command)
{
    const std::lock_guard lock(mutex_);
    submitted_.emplace_back(std::move(command), std::promise<std::string>());
    return submitted_.back().second.get_future();
}

std::string Session::obey(const Json& command)
{
    const std::string what = text_in(command, "do");
    if (scheduled_) {
        try {
            return scheduled_->obey(command);
        } catch (const ClientError& error) {
            return error.what();
        }
    }
    if (what == "client") {
        return come(Role::client, command);
    }
    if (what == "hog") {
        return come(Role::hog, command);
    }
    if (what == "idle") {
        return come(Role::idle, command);
    }
    if (what == "ask") {
        return ask(command);
    }
    if (what == "leave") {
        return leave(command);
    }
    if (what == "stage") {
        return other_stage(command);
    }
    if (what == "restart") {
        return restart();
    }
    const bool gate = what == "pause" || what == "go" || what == "step" || what == "slow";
    if (!gate && what != "kill") {
        return "there is no such command";
    }
    if (!running()) {
        return "no stage is running; r starts it again";
    }
    if (what == "pause") {
        pace_ = Pace::paused;
        stage_->watcher.pause();
    } else if (what == "go") {
        pace_ = Pace::free;
        slow_ms_ = 0;
        stage_->watcher.go();
    }
    return what == "step"   ? step(command)
           : what == "slow" ? slow(command)
           : what == "kill" ? kill_worker(command)
                            : "";
}

std::string Session::step(const Json& command)
{
    if (pace_ != Pace::paused) {
        return "pause first; then step";
    }
    if (!command.contains("id")) {
        stage_->watcher.step();
        return "";
    }
    const auto id = number_in(command, "id");
    return id && stage_->watcher.step(*id) ? "" : "that one is gone; choose another one";
}

std::string Session::slow(const Json& command)
{
    const auto milliseconds = number_in(command, "ms");
    if (!milliseconds || *milliseconds > slowest) {
        return fmt::format("a step takes 0 to {} ms", slowest);
    }
    slow_ms_ = *milliseconds;
    pace_ = slow_ms_ == 0 ? Pace::free : Pace::slow;
    if (slow_ms_ == 0) {
        stage_->watcher.go();
    } else {
        stage_->watcher.slow(slow_ms_ * 1000);
    }
    return "";
}

std::string Session::come(Role role, const Json& command)
{
    const std::size_t count =
        command.contains("count") ? number_in(command, "count").value_or(0) : 1;
    if (count == 0 || count > most_clients) {
        return fmt::format("1 to {} of them", most_clients);
    }
    return crowd_.come(role, count) == count
               ? ""
               : fmt::format("that would be more than {} clients; make some leave first",
                             most_clients);
}

std::string Session::ask(const Json& command)
{
    const std::string text = text_in(command, "text");
    const bool printable = std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
    });
    if (text.empty() || text.size() > longest_request || !printable) {
        return fmt::format("a request is one line of 1 to {} characters; try 30", longest_request);
    }
    return crowd_.ask(text) ? "" : "there are too many clients; make some leave first";
}

std::string Session::leave(const Json& command)
{
    if (command.contains("all")) {
        crowd_.all_leave();
        return "";
    }
    const auto number = number_in(command, "client");
    if (command.contains("client") && !number) {
        return "say which client, by its number";
    }
    const std::vector<ClientSeen> all = crowd_.all();
    const bool phone = std::any_of(all.begin(), all.end(), [&](const ClientSeen& client) {
        return client.number == number && client.role == Role::phone;
    });
    if (phone) {
        return "that is a phone's client, and leaves with its phone";  // Room knows it
    }
    return crowd_.leave(number) ? "" : "the board has no such client";
}

// The chosen one. Without a choice, one that computes, because then somebody loses a request. The
// memory says which process is a worker; the kernel says whether that is true.
std::string Session::kill_worker(const Json& command)
{
    const auto wanted = number_in(command, "id");
    if (command.contains("id") && !wanted) {
        return "say which worker, by its number";
    }
    bool workers = false;
    bool threads = false;
    std::vector<observe::Seen> there = stage_->watcher.look();
    std::stable_partition(there.begin(), there.end(), [](const observe::Seen& seen) {
        return seen.where.state == observe::State::computes;
    });
    for (const observe::Seen& seen : there) {
        if (seen.kind != observe::Kind::worker) {
            continue;
        }
        const auto pid = static_cast<pid_t>(seen.pid);
        threads = threads || pid == stage_->child.pid();
        workers = true;
        if (pid == stage_->child.pid() || (wanted && *wanted != seen.id)) {
            continue;
        }
        const Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        if (process.get() >= 0 && is_below(pid, stage_->child.pid()) &&
            ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0) == 0) {
            killed_.push_back(seen.id);
            return "";
        }
    }
    if (behind_broker(options())) {
        return "the workers are behind the broker; end one where it was started";
    }
    return threads   ? "the workers here are threads: none can be killed alone"
           : workers ? "that worker is gone; choose another one"
                     : "this stage has no worker processes; 05_futures has";
}

std::string Session::other_stage(const Json& command)
{
    const std::string name = text_in(command, "name");
    const auto stage = std::find_if(stages_.begin(), stages_.end(),
                                    [&](const StageEntry& entry) { return entry.name == name; });
    if (stage == stages_.end()) {
        return "there is no such stage";
    }
    try {
        run(*stage);
        return "";
    } catch (const ClientError& error) {
        news_.emplace_back(error.what());
        return error.what();
    }
}

std::string Session::restart()
{
    return stage_ ? other_stage({{"name", stage_->entry.name}}) : "no stage has run; choose one";
}

const std::vector<std::string>& Session::options() const
{
    static const std::vector<std::string> none;
    if (scheduled_) {
        return scheduled_->subject().server.options;
    }
    const auto given = stage_ ? options_.find(stage_->entry.name) : options_.end();
    return given == options_.end() ? none : given->second;
}

// ---- Looking

void Session::tick()
{
    std::deque<std::pair<Json, std::promise<std::string>>> submitted;
    {
        const std::lock_guard lock(mutex_);
        submitted.swap(submitted_);
    }
    for (auto& [command, result] : submitted) {
        result.set_value(obey(command));
    }
    if (scheduled_) {
        scheduled_->tick();
        if (const unsigned run = scheduled_->run(); run != scheduled_run_) {
            scheduled_run_ = run;
            forget_places();
        }
    } else if (stage_) {
        stage_->watcher.renew();
        notice_end();
    }
    film();
}

void Session::notice_end()
{
    if (stage_->child.ended() && stage_->end.empty()) {
        const std::string why =
            last_line(std::string_view(stage_->child.err())
                          .substr(std::min(stage_->said, stage_->child.err().size())));
        stage_->end = stage_->child.ending() + (why.empty() ? "" : ": " + why);
        pace_ = Pace::free;
        slow_ms_ = 0;
    }
}

// The memory keeps 42 bits of a time: 50 days.
std::int64_t Session::since_origin(std::uint64_t microseconds) const
{
    return static_cast<std::int64_t>((microseconds - origin_) << 22U) >> 22;
}

void Session::film()
{
    now_ = static_cast<std::int64_t>(monotonic() - origin_);
    const Tally tally = crowd_.take();
    count(tally);
    const bool key = now_ >= next_key_;
    std::string json = fmt::format(R"({{"t":{})", now_);
    if (key) {
        next_key_ = now_ + key_period;
        append(json, R"(,"key":true,"run":{},"stage":{},"options":{})", run_,
               entry() != nullptr ? quoted(entry()->name) : "null",
               quoted(fmt::format("{}", fmt::join(options(), " "))));
    }
    if (entry() != nullptr) {
        film_places(json, key);
        film_events(json);
    }
    if (stage_ && !stage_->end.empty()) {
        append(json, R"(,"ended":{})", quoted(std::as_const(stage_->end)));
    }
    if (scheduled_) {
        film_scheduled(json, key);
    }
    append_list(json, "killed", std::exchange(killed_, {}),
                [&json](std::uint32_t id) { append(json, "{}", id); });
    film_clients(json, tally, key);
    append_list(json, "news", std::exchange(news_, {}),
                [&json](const std::string& text) { json += quoted(text); });
    if (key || now_ >= next_figures_) {
        next_figures_ = now_ + figures_period;
        film_figures(json, tally);
    }
    append(json, R"(,"pace":"{}","slow":{}}})",
           pace_ == Pace::free   ? "free"
           : pace_ == Pace::slow ? "slow"
                                 : "paused",
           slow_ms_);
    film_.add(now_, key, std::move(json));
}

// Those that have changed since the frame before, and those that are gone. Of a stage that has
// ended, the memory still says where all were, but none is there.
void Session::film_places(std::string& json, bool key)
{
    std::map<std::uint32_t, observe::Seen> there;
    std::vector<const observe::Seen*> changed;
    std::vector<std::uint32_t> gone;
    bool new_file = false;
    for (const observe::Seen& seen : running() ? watcher().look() : std::vector<observe::Seen>()) {
        const observe::Seen& kept = there.emplace(seen.id, seen).first->second;
        const auto before = shown_.find(seen.id);
        if (key || before == shown_.end() || !same(before->second, kept)) {
            changed.push_back(&kept);
        }
        new_file = files_.emplace(seen.where.file, "").second || new_file;
    }
    for (const auto& [id, seen] : shown_) {
        if (!there.contains(id)) {
            gone.push_back(id);
        }
    }
    if (key || new_file) {
        for (auto& [number, name] : files_) {
            name = watcher().file(static_cast<std::uint8_t>(number));
        }
        append_list(json, "files", files_, [&json](const auto& file) {
            append(json, "[{},{}]", file.first, quoted(file.second));
        });
    }
    append_list(json, "p", changed, [&](const observe::Seen* seen) {
        append(json, "[{},{},{},{},{},{},{},{},{},{},{},{}]", seen->id,
               static_cast<unsigned>(seen->kind), static_cast<unsigned>(seen->where.state),
               seen->where.file, seen->where.line, since_origin(seen->where.since), seen->n,
               seen->for_id, seen->requests, seen->peer, seen->pid, seen->tid);
    });
    append_list(json, "x", gone, [&json](std::uint32_t id) { append(json, "{}", id); });
    shown_ = std::move(there);
}

// All of them, or if they are too many for a page, the last ones of each.
void Session::film_events(std::string& json)
{
    std::vector<observe::Happened> events = watcher().events();
    if (events.size() > most_events_in_a_frame) {
        std::map<std::uint32_t, std::size_t> of_each;
        for (const observe::Happened& event : events) {
            ++of_each[event.id];
        }
        const std::size_t share = std::max<std::size_t>(1, most_events_in_a_frame / of_each.size());
        const std::size_t before = events.size();
        std::erase_if(events,
                      [&](const observe::Happened& event) { return of_each[event.id]-- > share; });
        append(json, R"(,"thinned":{})", before - events.size());
    }
    append_list(json, "e", events, [&](const observe::Happened& event) {
        append(json, "[{},{},{},{},{},{},{},{}]", event.id,
               static_cast<unsigned>(event.where.state), event.where.file, event.where.line,
               since_origin(event.where.since), event.n, event.for_id, event.tid);
    });
}

void Session::film_clients(std::string& json, const Tally& tally, bool key)
{
    if (scheduled_) {
        return;  // the story's clients are no crowd
    }
    append_list(json, "c", key ? crowd_.all() : tally.changed, [&json](const ClientSeen& client) {
        append(json, R"([{},"{}",{}])", client.number,
               role_names.at(static_cast<std::size_t>(client.role)), client.port);
    });
    append_list(json, "cx", tally.gone, [&json](unsigned number) { append(json, "{}", number); });
    append_list(json, "said", tally.lines, [&json](const Line& line) {
        append(json, "[{},{},{},{:.1f}]", line.number, line.reply, quoted(line.text),
               line.milliseconds);
    });
}

// The clients of the story, and what there is to choose from.
void Session::film_scheduled(std::string& json, bool key)
{
    if (!key && !scheduled_->changed()) {
        return;
    }
    std::vector<std::pair<std::size_t, std::uint16_t>> clients;
    for (const std::uint16_t port : scheduled_->play().client_ports()) {
        clients.emplace_back(clients.size() + 1, port);
    }
    append_list(json, "c", clients, [&json](const auto& client) {
        append(json, R"([{},"client",{}])", client.first, client.second);
    });
    append(json, R"(,"scheduled":{})",
           scheduled_->json().dump(-1, ' ', false, Json::error_handler_t::replace));
}

void Session::count(const Tally& tally)
{
    for (const double latency : tally.latencies) {
        latencies_.emplace_back(now_, latency);
    }
    while (!latencies_.empty() && latencies_.front().first < now_ - 1'000'000) {
        latencies_.pop_front();
    }
}

void Session::film_figures(std::string& json, const Tally& tally)
{
    std::vector<double> sorted;
    for (const auto& [when, latency] : latencies_) {
        sorted.push_back(latency);
    }
    std::sort(sorted.begin(), sorted.end());
    append(json, R"(,"m":{{"rate":{},"median":{:.2f},"worst":{:.2f})", sorted.size(),
           sorted.empty() ? 0 : sorted[sorted.size() / 2], sorted.empty() ? 0 : sorted.back());
    append(json, R"(,"clients":{},"waiting":{},"longest":{:.0f})", tally.clients, tally.waiting,
           tally.longest_wait_so_far);
    if (stage_ && running()) {
        if (now_ >= next_body_) {
            next_body_ = now_ + body_period;
            const Body before = std::exchange(body_, body_of(stage_->child.pid()));
            const double seconds = static_cast<double>(now_ - std::exchange(body_at_, now_)) / 1e6;
            cpu_percent_ =
                before.processes == 0 ? 0 : std::max(0.0, (body_.cpu - before.cpu) / seconds * 100);
        }
        const Door door = door_of(stage_->port);
        append(json, R"(,"processes":{},"threads":{},"descriptors":{},"cpu":{:.0f},"lost":{})",
               body_.processes, body_.threads, body_.descriptors, cpu_percent_,
               stage_->watcher.lost());
        append(json, R"(,"port":{})", stage_->port);
        append_list(json, "door", door.waiting,
                    [&json](std::uint16_t port) { append(json, "{}", port); });
        append_list(json, "unread", door.unread, [&json](const auto& bytes) {
            append(json, "[{},{}]", bytes.first, bytes.second);
        });
    }
    json += '}';
}

}  // namespace ground::board
