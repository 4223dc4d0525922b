// --trace FILE: the same story, as a file that other programs can read.
#include "watched.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace ground::test {

namespace {

// A file for the trace of one test.
class TraceFile {
  public:
    TraceFile()
    {
        std::string name = std::filesystem::temp_directory_path() / "trace-XXXXXX";
        const Descriptor file(::mkstemp(name.data()));
        path_ = name;
    }
    ~TraceFile() { std::filesystem::remove(path_); }
    TraceFile(const TraceFile&) = delete;
    TraceFile& operator=(const TraceFile&) = delete;

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] nlohmann::json read() const
    {
        std::ifstream file(path_);
        return nlohmann::json::parse(file);
    }

  private:
    std::string path_;
};

// The server itself: the child of the process that was started, which writes the trace.
pid_t traced(const Server& server)
{
    const auto all = server.descendants();
    const auto found = std::find_if(all.begin(), all.end(), [&](const ProcessInfo& process) {
        return process.parent == server.pid();
    });
    return found == all.end() ? -1 : found->pid;
}

Server::Arguments arguments(const TraceFile& file)
{
    Server::Arguments arguments{"--trace", file.path()};
    if (stage().is("07b_cheap_inline")) {
        arguments.insert(arguments.end(), {"--inline-below", "2"});
    }
    return arguments;
}

}  // namespace

TEST_CASE("trace: a conversation has slices on its track, and an arrow over the pool")
{
    const TraceFile file;
    const LongRequest request;  // longer than the way from submit() to the wait
    std::string fib = fmt::format("fib({})", request.text());
    std::erase(fib, '\n');
    {
        Server server(arguments(file));
        Client client(server);
        CHECK(client.ask(request.text()) == request.reply());
        CHECK(client.ask("nonsense\n").starts_with("[Error]"));
        client.close();
        server.signal(SIGTERM);
        CHECK(server.wait(Deadline(time_to_end)) == 0);
        CHECK(server.err().text().find("lost") == std::string::npos);
    }

    const auto trace = file.read();
    std::map<int, std::string> groups;
    for (const auto& entry : trace) {
        if (entry["ph"] == "M" && entry["name"] == "process_name") {
            groups[entry["pid"]] = entry["args"]["name"];
        }
    }
    std::vector<std::string> story;     // of the client
    std::set<std::string> what;         // the same without order
    std::set<std::string> workers;      // what they did
    std::map<std::string, int> arrows;  // by phase
    std::map<int, std::int64_t> ends;   // of the last slice on a track
    bool gapless = true;
    for (const auto& entry : trace) {
        if (entry["ph"] == "X") {
            const std::string& group = groups.at(entry["pid"]);
            const std::string& name = entry["name"];
            if (group.ends_with(": clients")) {
                story.push_back(name);
                what.insert(name);
                const int track = entry["tid"];
                const std::int64_t begin = entry["ts"];
                gapless = gapless && (!ends.contains(track) || ends[track] == begin);
                ends[track] = begin + entry["dur"].get<std::int64_t>();
            } else if (group.ends_with(": workers")) {
                workers.insert(name);
            }
        } else if (entry["ph"] == "s" || entry["ph"] == "t" || entry["ph"] == "f") {
            ++arrows[entry["ph"].get<std::string>()];
        }
    }
    CHECK(gapless);
    CHECK(what.contains("receives"));
    CHECK(what.contains("sends"));
    CHECK(std::count(story.begin(), story.end(), "sends") == 2);
    if (stage().computes_by_itself()) {
        CHECK(what.contains(fib));
        CHECK(workers.empty());
    } else {
        CHECK(what.contains("waits for " + fib));
        CHECK(workers.contains(fib));
        CHECK(arrows == std::map<std::string, int>{{"s", 1}, {"t", 1}, {"f", 1}});
    }
}

TEST_CASE("trace: the server ends with the process that writes its trace, however that ends")
{
    const TraceFile file;
    Server server(arguments(file));
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    CHECK(traced(server) != -1);
    server.signal(SIGKILL);
    eventually("all have gone", [&] { return server.descendants().empty(); });
}

TEST_CASE(
    "trace: if the server is killed, the trace is complete, and its writer ends in the same way")
{
    const TraceFile file;
    Server server(arguments(file));
    Client client(server);
    CHECK(client.ask("10\n") == "55");
    ::kill(traced(server), SIGKILL);
    CHECK(server.wait() == -SIGKILL);
    CHECK(!file.read().empty());
}

TEST_CASE("trace: if the file can't be written, a line says so")
{
    const Outcome outcome = run({.command = {stage().executable(), "--trace", "/nowhere/trace"}});
    CHECK(outcome.status == 1);
    CHECK(outcome.err ==
          fmt::format("{}: can't write to /nowhere/trace: No such file or directory; give --trace "
                      "another file\n",
                      stage().name()));
}

}  // namespace ground::test
