#include "clients/compare/measure/bench.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <utility>

namespace ground {

namespace {

using namespace std::chrono_literals;

// How long a server may take to end after it has lost its connections, on a busy machine. Only a
// run that has failed waits for it.
constexpr auto time_to_die = 1s;

std::chrono::steady_clock::time_point after(Nanoseconds time)
{
    return std::chrono::steady_clock::now() + time;
}

std::string last_line(std::string_view text)
{
    while (text.ends_with('\n')) {
        text.remove_suffix(1);
    }
    const std::size_t end = text.rfind('\n');
    return std::string(text.substr(end == std::string_view::npos ? 0 : end + 1));
}

std::string list(const std::vector<int>& cpus)
{
    return fmt::format("CPU{} {}", cpus.size() == 1 ? "" : "s", fmt::join(cpus, ","));
}

}  // namespace

Placement place(Pin pin, std::vector<int> cpus)
{
    Placement placement;
    placement.all = std::move(cpus);
    // A request costs perf's loops about as much as it costs those of the fastest servers: half of
    // the CPUs for each.
    const std::size_t half = std::max<std::size_t>(1, placement.all.size() / 2);
    if (pin == Pin::off) {
        placement.client_threads = static_cast<unsigned>(half);
        placement.words = "server and clients wherever the kernel puts them";
        return placement;
    }
    const auto clients_begin = placement.all.end() - static_cast<std::ptrdiff_t>(half);
    if (pin == Pin::together || placement.all.size() == 1) {
        placement.client = {placement.all.back()};
        placement.server = placement.client;
        placement.words = fmt::format("server and clients together on {}{}", list(placement.client),
                                      pin == Pin::together ? "" : ", because there is no other");
    } else {
        placement.client = {clients_begin, placement.all.end()};
        placement.client_threads = static_cast<unsigned>(half);
        placement.server = {placement.all.begin(), clients_begin};
        placement.words = fmt::format("server on {}, clients on {}", list(placement.server),
                                      list(placement.client));
    }
    return placement;
}

std::vector<int> usable_cpus()
{
    cpu_set_t set;
    CPU_ZERO(&set);
    check(::sched_getaffinity(0, sizeof set, &set), "sched_getaffinity");
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) {
            cpus.push_back(cpu);
        }
    }
    return cpus;
}

double percent_busy(Supervisor& supervisor)
{
    const CpuTicks before = cpu_ticks();
    supervisor.wait([] { return false; }, after(300ms));
    const CpuTicks now = cpu_ticks();
    return now.all == before.all ? 0
                                 : 100 * static_cast<double>(now.busy - before.busy) /
                                       static_cast<double>(now.all - before.all);
}

bool has_pool(Supervisor& supervisor, const Contestant& contestant, Nanoseconds timeout)
{
    if (contestant.program.empty()) {
        return false;
    }
    Child help(supervisor, {{contestant.program, "--help"}, {}});
    supervisor.wait([&] { return help.ended(); }, after(timeout));
    return help.out().find("--pool") != std::string::npos;
}

// ---- Server

Server::Server(const Bench& bench, const Contestant& contestant, const std::vector<int>& cpus)
    : target_(contestant.target)
{
    if (contestant.program.empty()) {
        return;
    }
    Command command{{contestant.program, "--port", "0", "--quiet"}, cpus};
    if (contestant.has_pool) {
        command.arguments.insert(command.arguments.end(), {"--pool", bench.options.pool});
    }
    child_.emplace(bench.supervisor, command);
    await_address(bench);
}

void Server::await_address(const Bench& bench)
{
    constexpr std::string_view words = " listening on ";
    // The rest of the line behind the words, once the line is complete.
    const auto address = [&]() -> std::optional<std::string> {
        const std::string& text = child_->out();
        const std::size_t begin = text.find(words);
        const std::size_t end = begin == std::string::npos ? begin : text.find('\n', begin);
        if (end == std::string::npos) {
            return std::nullopt;
        }
        return text.substr(begin + words.size(), end - begin - words.size());
    };
    const bool heard = bench.supervisor.wait([&] { return address() || child_->ended(); },
                                             after(bench.options.timeout));
    if (const auto where = address()) {
        if (const auto target = parse_target(*where)) {
            target_ = *target;
            return;
        }
        throw Failed(failed_to_start, fmt::format("'{}' is no address to connect to", *where));
    }
    if (!heard) {
        throw Failed(failed_to_start, fmt::format("it has not said within {} where it listens",
                                                  to_string(bench.options.timeout)));
    }
    const std::string complaint = last_line(child_->err());
    throw Failed(failed_to_start, complaint.empty() ? child_->ending() : complaint);
}

Server::~Server()
{
    if (child_ && !child_->ended()) {
        child_->terminate();
    }
}

std::optional<Usage> Server::usage() const
{
    return child_ ? std::optional(usage_of(child_->pid())) : std::nullopt;
}

void Server::check_alive() const
{
    if (died()) {
        const std::string complaint = last_line(child_->err());
        throw Failed("died", fmt::format("{}{}{}", child_->ending(), complaint.empty() ? "" : ": ",
                                         complaint));
    }
}

// ---- LoadRun

LoadRun::LoadRun(const Bench& bench, Server& server, const std::vector<std::string>& arguments,
                 Watched watched)
    : bench_(bench),
      server_(server),
      child_(bench.supervisor,
             [&] {
                 Command command{{bench.perf, to_string(server.target()), "--json", "--histograms",
                                  "--interval", to_string(bench.slice())},
                                 bench.placement.client};
                 command.arguments.insert(command.arguments.end(), arguments.begin(),
                                          arguments.end());
                 return command;
             }()),
      watched_(watched == Watched::yes)
{
}

// With its JSON on stdout, perf shows the intervals on stderr, a line each: "18745 reqs/sec ...".
void LoadRun::read_intervals()
{
    const std::string& text = child_.err();
    for (auto end = text.find('\n', read_); end != std::string::npos;
         end = text.find('\n', read_)) {
        const std::string line = text.substr(read_, end - read_);
        read_ = end + 1;
        char* rest = nullptr;
        const double rate = std::strtod(line.c_str(), &rest);
        if (std::string_view(rest).starts_with(" reqs/sec")) {
            ++intervals_;
            if (watched_) {
                bench_.observer.on_rate(rate);
            }
        }
    }
}

void LoadRun::wait_for_intervals(unsigned count, Nanoseconds longest)
{
    bench_.supervisor.wait(
        [&] {
            read_intervals();
            return child_.ended() || server_.died() || intervals_ >= count;
        },
        after(longest));
    server_.check_alive();
}

void LoadRun::wait_for(Nanoseconds time)
{
    wait_for_intervals(std::numeric_limits<unsigned>::max(), time);
}

nlohmann::json LoadRun::report(Nanoseconds longest)
{
    wait_for(longest);
    if (!child_.ended()) {
        throw Failed("no figures", "perf did not end in time");
    }
    auto json = nlohmann::json::parse(child_.out(), nullptr, false);
    if (!json.is_object()) {
        // The connections end with the server, and perf may notice that first.
        bench_.supervisor.wait([&] { return server_.died(); }, after(time_to_die));
        server_.check_alive();
        std::string complaint = last_line(child_.err());
        if (complaint.starts_with("perf: ")) {
            complaint.erase(0, 6);
        }
        const bool refused = complaint.starts_with("nothing listens");
        complaint.erase(std::min(complaint.find(';'), complaint.size()));  // advice for perf's user
        throw Failed(refused ? "refused" : "no figures",
                     complaint.empty() ? "perf: " + child_.ending() : complaint);
    }
    if (json["errors"]["read"] > 0) {
        bench_.supervisor.wait([&] { return server_.died(); }, after(time_to_die));
        server_.check_alive();
    }
    return json;
}

nlohmann::json LoadRun::stop()
{
    if (!child_.ended()) {
        child_.signal(SIGINT);
    }
    return report(5s);
}

}  // namespace ground
