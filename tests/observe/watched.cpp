#include "watched.hpp"

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace ground::test {

Watched::Watched(const Server::Arguments& arguments)
{
    server_.emplace(arguments,
                    Start{.command = {},
                          .environment = {fmt::format("GROUND_WATCH={}", watcher_.descriptor())},
                          .keep = watcher_.descriptor()});
}

std::optional<observe::Seen> Watched::find(
    const std::function<bool(const observe::Seen&)>& is_meant)
{
    watcher_.renew();
    const std::vector<observe::Seen> all = watcher_.look();
    const auto found = std::find_if(all.begin(), all.end(), is_meant);
    return found == all.end() ? std::nullopt : std::optional(*found);
}

std::optional<observe::Seen> Watched::conversation(const Client& client)
{
    return find([&](const observe::Seen& seen) {
        return seen.kind == observe::Kind::conversation && seen.peer == client.local_port();
    });
}

std::string Watched::line_of(const observe::Where& where)
{
    const std::string file = watcher_.file(where.file);
    std::ifstream source(SOURCE_FOLDER + file);
    std::string line;
    for (unsigned i = 0; i < where.line; ++i) {
        std::getline(source, line);
    }
    return file.empty() ? "" : line.substr(std::min(line.find_first_not_of(' '), line.size()));
}

observe::Seen Watched::wait_for(const std::string& who,
                                const std::function<std::optional<observe::Seen>()>& look,
                                observe::State state, std::string_view line)
{
    std::optional<observe::Seen> seen;
    std::string last;
    try {
        eventually("it is there", [&] {
            seen = look();
            last = seen ? fmt::format("{} in line {}: {}", static_cast<int>(seen->where.state),
                                      seen->where.line, line_of(seen->where))
                        : "not there";
            return seen && seen->where.state == state && line_of(seen->where).starts_with(line);
        });
    } catch (const std::runtime_error&) {
        throw std::runtime_error(fmt::format("{} should be in state {} at '{}', and is {}", who,
                                             static_cast<int>(state), line, last));
    }
    return *seen;
}

observe::Seen Watched::wait_for(const Client& client, observe::State state, std::string_view line)
{
    return wait_for(
        fmt::format("the client at {}", client.local_port()), [&] { return conversation(client); },
        state, line);
}

observe::Seen Watched::wait_for(observe::Kind kind, observe::State state, std::string_view line)
{
    const auto is_meant = [&](const observe::Seen& seen) {
        return seen.kind == kind && seen.where.state == state &&
               line_of(seen.where).starts_with(line);
    };
    return wait_for(
        fmt::format("one of kind {}", static_cast<int>(kind)), [&] { return find(is_meant); },
        state, line);
}

std::vector<std::string> Watched::step_until(const Client& client,
                                             const std::function<bool()>& condition)
{
    std::vector<std::string> lines;
    std::optional<std::pair<std::uint32_t, std::uint64_t>> stepped;  // which, and since when held
    const auto is_held = [](const observe::Seen& seen) {
        return seen.where.state == observe::State::held;
    };
    eventually("it has gone on", [&] {
        if (condition()) {
            return true;
        }
        std::optional<observe::Seen> next = conversation(client);
        if (!next || !is_held(*next)) {
            next = find(is_held);
        }
        if (next && stepped != std::pair(next->id, next->where.since)) {
            if (next->peer == client.local_port()) {
                const std::string line = line_of(next->where);
                if (lines.empty() || lines.back() != line) {
                    lines.push_back(line);
                }
            }
            stepped = std::pair(next->id, next->where.since);
            watcher_.step(next->id);
        }
        return false;
    });
    return lines;
}

namespace {

// Threads that belong neither to the stage nor to its pool are left out.
struct Known {
    std::string_view stage;
    Lines lines;
};

const std::vector<Known>& all_known()
{
    const std::string recv = "requests.received(recv(client, requests.buffer()));";
    const std::string next = "while (auto request = requests.next()) {";
    const std::string fib = "reply = format_reply(rules.fib(request->n));";
    const std::string submit = "const Future<Number> future = pool.submit(request->n);";
    const std::string reply = "reply = format_reply(future);";
    const std::string send = "send(client, reply);";
    const std::string thread = "start_thread(handle, listener.accept(), rules";
    const std::string lock = "Lock lock_if_mutex()";
    const std::string selects = "const auto [can_recv, can_send] = select(";
    const std::string read_ready = "co_yield ReadReady{client.native_handle()};";
    const std::string try_recv = "if (const auto size = try_recv(client, requests.buffer())) {";
    const std::string try_send = "const std::size_t size = try_send(client, reply);";
    const std::string callback = "future.add_done_callback(";
    const std::string async_accept = "tcp::socket client = co_await async_accept(acceptor);";
    const std::string async_recv =
        "requests.received(co_await async_recv(client, requests.buffer()));";
    const std::string recv_limited =
        "const auto size = co_await async_recv(client, requests.buffer(), limits.idle);";
    const std::string async_send = "co_await async_send(client, reply);";
    static const std::vector<Known> known{
        {"01_blocking",
         {"handle(listener.accept(), rules);", recv, fib, {next, fib, send, next, recv}}},
        {"02_threads", {thread, recv, fib, {next, fib, send, next, recv}}},
        {"02b_threads_gil",
         {"tcp::socket client = me.without_lock([&] { return listener.accept(); });",
          "requests.received(me.without_lock([&] { return recv(client, requests.buffer()); }));",
          "reply = format_reply(me.interpret(rules.fib, request->n));",
          {"requests.received(me.without_lock([&] { return recv(client, requests.buffer()); }));",
           "me.without_lock([&] { send(client, reply); });",
           "requests.received(me.without_lock([&] { return recv(client, requests.buffer()); "
           "}));"}}},
        {"02c_fork",
         {"tcp::socket client = listener.accept();", recv, fib, {next, fib, send, next, recv}}},
        {"02d_shared_state",
         {thread,
          recv,
          "const Number result = compute_(n);",
          {next, lock, "if (auto lock = lock_if_mutex(); n == last_n_.load()) {",
           "const Number result = compute_(n);", lock, "last_n_.store(n);",
           "last_result_.store(result);", lock, "answered_.store(answered_.load() + 1);", send,
           next, recv}}},
        {"03_process_pool",
         {thread,
          recv,
          "future.wait();",
          {next, submit, "future.wait();", reply, send, next, recv}}},
        {"04_generators",
         {selects, read_ready, fib, {try_recv, next, fib, try_send, next, read_ready}}},
        {"04b_callbacks",
         {"for (const auto [key, events] : loop.select()) {",
          "loop_.modify(fd, Events::read);",
          "reply = format_reply(rules_.fib(request->n));",
          {"if (const auto size = try_recv(client_, requests_.buffer())) {",
           "while (auto request = requests_.next()) {",
           "reply = format_reply(rules_.fib(request->n));",
           "reply.erase(0, try_send(client_, reply));", "while (auto request = requests_.next()) {",
           "loop_.modify(fd, Events::read);"},
          ": client_(std::move(client)), log_(client_)"}},
        {"05_futures",
         {selects,
          read_ready,
          "co_yield FutureDone{future};",
          {try_recv, next, submit, "co_yield FutureDone{future};", reply, try_send, next,
           read_ready}}},
        {"06_async_sockets",
         {selects,
          "requests.received(co_await client.recv(requests.buffer()));",
          "co_await FutureDone{future};",
          {next, submit, "co_await FutureDone{future};", reply, "co_await client.send(reply);",
           next, "requests.received(co_await client.recv(requests.buffer()));"}}},
        {"06b_greenlets",
         {"for (const auto [key, events] : selector_.select()) {",
          recv,
          callback,
          {"if (const auto size = try_recv(socket_, buffer)) {", next, submit, callback, reply,
           "const std::size_t size = try_send(socket_, text);", next, recv}}},
        {"07_coroutines",
         {async_accept,
          async_recv,
          callback,
          {next, submit, callback, reply, async_send, next, async_recv}}},
        {"08_cancellation",
         {async_accept,
          recv_limited,
          callback,
          {next, submit, callback, reply, "co_await async_send(client, reply, limits.idle);", next,
           recv_limited}}},
        {"09_all_cores",
         {async_accept,
          recv_limited,
          callback,
          {next, submit, callback, "replies += format_reply(future);", next,
           "co_await async_send(client, replies, limits.idle);", recv_limited}}},
    };
    return known;
}

}  // namespace

// A request that the pool computes. With --pool inline, it is computed in the line that submits it.
Lines lines()
{
    std::string_view name = stage().name();
    if (name == "07b_cheap_inline" || name == "07c_io_uring") {
        name = "07_coroutines";
    }
    const auto found = std::find_if(all_known().begin(), all_known().end(),
                                    [name](const Known& known) { return known.stage == name; });
    if (found == all_known().end()) {
        throw std::runtime_error(
            fmt::format("tests/observe/watched.cpp knows no lines of {}", name));
    }
    Lines lines = found->lines;
    if (stage().has_pool() && stage().computes_by_itself()) {
        const auto awaits = std::find(lines.steps.begin(), lines.steps.end(), lines.computes);
        lines.computes = *(awaits - 1);
        if (name != "03_process_pool") {  // the future is done already
            lines.steps.erase(awaits);
        }
    }
    return lines;
}

}  // namespace ground::test
