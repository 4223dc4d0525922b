// nc.cpp -- the client to try a stage with: numbers in, Fibonacci numbers out, by hand or by pipe.

#include "clients/shared/format.hpp"
#include "clients/shared/target.hpp"
#include "common/base/command_line.hpp"
#include "common/base/numbers.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

using namespace ground;

namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

struct Options {
    Target target;
    std::optional<Nanoseconds> timeout;
    std::optional<Nanoseconds> trickle;
    bool crlf = false;
};

// Counts the requests in the bytes that are sent, and so the replies that are owed. A request is a
// line that is not blank.
class RequestCounter {
  public:
    // Returns whether this byte completes a request.
    bool sent(char byte)
    {
        if (byte == '\n' || byte == '\r') {
            return std::exchange(begun_, false);
        }
        begun_ = begun_ || !(byte == ' ' || byte == '\t' || byte == '\v' || byte == '\f');
        return false;
    }

    // A server may answer the beginning of a line before the line ends (docs/protocol.md, framing).
    // What follows on that line counts as a request only if it is not blank.
    void answered_early() { begun_ = false; }

    // The end of input also completes a request.
    bool ended() { return std::exchange(begun_, false); }

  private:
    bool begun_ = false;
};

// Both directions at once, in one thread, because poll() says which of them is ready. So nc
// notices at the prompt that the server has closed. You can also type while a reply is owed.
class Conversation {
  public:
    Conversation(const Options& options, Descriptor socket)
        : options_(options),
          socket_(std::move(socket)),
          interactive_(::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0)
    {
    }

    // Returns once everything typed has been sent and the server has closed. Throws ClientError if
    // the server closes earlier, or if the connection breaks.
    void run();

  private:
    // While this many bytes are unsent, standard input is not read, so that memory stays bounded.
    static constexpr std::size_t max_unsent = 65536;

    void choose_close();
    void wait();
    [[nodiscard]] std::optional<Nanoseconds> time_left() const;
    void read_input();
    void send();
    void receive();
    void print_lines();
    void show_prompt();
    void leave_prompt();
    void server_closed();
    [[noreturn]] void fail(const std::string& why);

    const Options& options_;
    Descriptor socket_;
    const bool interactive_;
    std::array<char, max_unsent> buffer_;
    std::string unsent_;
    bool input_ended_ = false;
    bool half_closed_ = false;
    bool send_failed_ = false;
    bool done_ = false;
    bool at_prompt_ = false;
    bool leaves_by_reset_ = false;
    bool after_cr_ = false;  // the last byte read was a CR: with -C, a LF then gets no second one
    RequestCounter counter_;
    std::deque<Time> owed_;  // for each request without a reply: when it was sent
    std::string line_;       // the beginning of a reply that is not complete yet
    Time now_ = Clock::now();
    Time last_activity_ = now_;
    Time next_send_ = now_;
};

void Conversation::run()
{
    while (!done_) {
        choose_close();
        show_prompt();  // Ctrl-C may come as soon as the prompt is there
        wait();
    }
}

// If Ctrl-C ends nc while a reply is owed, a reset tells the server that the client has left.
// Otherwise nc closes in the usual way.
void Conversation::choose_close()
{
    if (const bool owed = !owed_.empty(); owed != leaves_by_reset_) {
        reset_on_close(socket_, owed);
        leaves_by_reset_ = owed;
    }
}

// Waits until there is something to do, and does it.
void Conversation::wait()
{
    const bool may_read = !input_ended_ && !send_failed_ && unsent_.size() < max_unsent;
    const bool may_send = !unsent_.empty() && now_ >= next_send_;
    // poll() ignores a negative descriptor.
    std::array<pollfd, 2> watched{
        {{may_read ? STDIN_FILENO : -1, POLLIN, 0}, {socket_.get(), POLLIN, 0}}};
    if (may_send) {
        watched[1].events |= POLLOUT;
    }
    timespec limit{};
    const auto left = time_left();
    if (left) {
        limit.tv_sec = *left / std::chrono::seconds(1);
        limit.tv_nsec = (*left % std::chrono::seconds(1)).count();
    }
    const int ready = ::ppoll(watched.data(), watched.size(), left ? &limit : nullptr, nullptr);
    if (ready == -1 && errno != EINTR) {
        check(ready, "poll");
    }
    now_ = Clock::now();
    if (ready <= 0) {
        if (options_.timeout && now_ - last_activity_ >= *options_.timeout) {
            fail(fmt::format("timed out: nothing happened for {}",
                             format_time(static_cast<double>(options_.timeout->count()))));
        }
        return;
    }
    if ((watched[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
        receive();
    }
    if (!done_ && (watched[1].revents & POLLOUT) != 0) {
        send();
    }
    if (!done_ && watched[0].revents != 0) {
        read_input();
    }
}

// The time until the next byte of --trickle is due or the time limit is over. Nothing if neither
// will happen.
std::optional<Nanoseconds> Conversation::time_left() const
{
    std::optional<Time> until;
    if (options_.timeout) {
        until = last_activity_ + *options_.timeout;
    }
    if (!unsent_.empty() && next_send_ > now_) {
        until = std::min(until.value_or(next_send_), next_send_);
    }
    return until ? std::optional(std::max(Nanoseconds(0), Nanoseconds(*until - now_)))
                 : std::nullopt;
}

void Conversation::read_input()
{
    const ssize_t size = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
    if (size == -1 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    last_activity_ = now_;
    if (size <= 0) {
        input_ended_ = true;
        leave_prompt();
    } else {
        at_prompt_ = false;  // Enter was typed, and the cursor is on a new line
    }
    for (ssize_t i = 0; i < size; ++i) {
        const char byte = buffer_[static_cast<std::size_t>(i)];
        if (options_.crlf && byte == '\n' && !after_cr_) {
            unsent_ += '\r';
        }
        after_cr_ = byte == '\r';
        unsent_ += byte;
    }
    send();
}

void Conversation::send()
{
    if (!unsent_.empty() && now_ >= next_send_) {
        const std::size_t size = options_.trickle ? 1 : unsent_.size();
        const ssize_t sent = ::send(socket_.get(), unsent_.data(), size, MSG_NOSIGNAL);
        if (sent == -1 && errno != EAGAIN && errno != EINTR) {
            // The server reads no more. It may have said why: receive() reads that to its end.
            send_failed_ = true;
            unsent_.clear();
            return;
        }
        if (sent > 0) {
            last_activity_ = now_;
            for (const char byte : unsent_.substr(0, static_cast<std::size_t>(sent))) {
                if (counter_.sent(byte)) {
                    owed_.push_back(now_);
                }
            }
            unsent_.erase(0, static_cast<std::size_t>(sent));
            next_send_ = options_.trickle ? now_ + *options_.trickle : now_;
        }
    }
    if (unsent_.empty() && input_ended_ && !half_closed_) {
        if (counter_.ended()) {
            owed_.push_back(now_);
        }
        half_closed_ = true;
        ::shutdown(socket_.get(), SHUT_WR);
    }
}

void Conversation::receive()
{
    const ssize_t size = ::recv(socket_.get(), buffer_.data(), buffer_.size(), 0);
    if (size == -1 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (size == -1) {
        fail(fmt::format("lost {}: {}", to_string(options_.target), std::strerror(errno)));
    }
    if (size == 0) {
        server_closed();
        return;
    }
    last_activity_ = now_;
    line_.append(buffer_.data(), static_cast<std::size_t>(size));
    print_lines();
}

// Prints the replies that are complete. To a pipe, it prints whatever has come.
void Conversation::print_lines()
{
    leave_prompt();
    std::string_view rest = line_;
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
        fmt::print("{}", rest.substr(0, end));
        if (!owed_.empty()) {
            if (interactive_) {
                const Nanoseconds took = now_ - owed_.front();
                fmt::print("   ({})", format_time(static_cast<double>(took.count())));
            }
            owed_.pop_front();
        } else {
            counter_.answered_early();
        }
        fmt::print("\n");
        rest.remove_prefix(end + 1);
    }
    line_.erase(0, line_.size() - rest.size());
    if (!interactive_ || half_closed_) {
        fmt::print("{}", std::exchange(line_, {}));
    }
    std::fflush(stdout);
}

// Only when no reply is owed: a prompt says "your turn".
void Conversation::show_prompt()
{
    if (interactive_ && !at_prompt_ && !input_ended_ && unsent_.empty() && owed_.empty()) {
        fmt::print("> ");
        std::fflush(stdout);
        at_prompt_ = true;
    }
}

void Conversation::leave_prompt()
{
    if (at_prompt_) {
        fmt::print("\n");
        std::fflush(stdout);
        at_prompt_ = false;
    }
}

void Conversation::server_closed()
{
    done_ = true;
    fmt::print("{}", std::exchange(line_, {}));
    std::fflush(stdout);
    if (!owed_.empty()) {
        fail(fmt::format("{} closed the connection and still owed {} {}",
                         to_string(options_.target), owed_.size(),
                         owed_.size() == 1 ? "reply" : "replies"));
    }
    if (!half_closed_) {
        fail(fmt::format("{} closed the connection", to_string(options_.target)));
    }
}

void Conversation::fail(const std::string& why)
{
    leave_prompt();
    throw ClientError(why);
}

constexpr auto help = R"(nc [OPTIONS] [HOST] [PORT]          (without them: localhost 25000)

Talks to a stage: type a number, get its Fibonacci number. On a terminal it
prompts and shows how long each reply took; in a pipe it is as plain as cat.

  -w SECONDS        give up after this long without a connection or a reply
  -C                end lines with CRLF
  --trickle MS      send one byte at a time, this many milliseconds apart
  -h, --help        this help

Leave with Ctrl-D: it first prints the replies that are owed. Ctrl-C leaves at
once.

Examples:
  nc                               talk to the stage on localhost:25000
  > 30
  832040   (2.1 ms)
  > 40
  102334155   (254 ms)

  seq 1 40 | nc                    forty requests at once, replies in order
  printf 30 | nc                   a request without a line end
  printf 30 | nc --trickle 500     the same, byte by byte: one request or two?

Exit status: 0 if every request had its reply, 1 if the connection failed or
broke, 2 after a mistake in the options.
)";

[[noreturn]] void refuse(const std::string& why)
{
    fmt::print(stderr, "nc: {}\n", why);
    std::exit(2);
}

Target choose_target(const std::vector<std::string>& words)
{
    if (words.empty()) {
        return {};
    }
    auto target = parse_target(words.front());
    if (!target) {
        refuse(fmt::format("'{}' is no host; try localhost", words.front()));
    }
    if (words.size() > 2) {
        refuse(fmt::format("'{}' is one argument too many; --help shows what nc takes", words[2]));
    }
    if (words.size() > 1) {
        const auto port = parse_port(words[1]);
        if (!port) {
            refuse(fmt::format("'{}' is no port; try 25000", words[1]));
        }
        target->host = words.front();
        target->port = *port;
    }
    return *target;
}

Options parse_options(int argc, char** argv)
{
    Options options;
    std::vector<std::string> target;
    double timeout = 0;
    double trickle = 0;
    CLI::App app;
    last_option_wins(app);
    app.add_option("target", target);
    const auto* const timeout_option = add_number(app, "-w", timeout, 0.001, 1e6);
    app.add_flag("-C", options.crlf);
    const auto* const trickle_option = add_number(app, "--trickle", trickle, 0.0, 1e6);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        fmt::print("{}", help);
        std::exit(EXIT_SUCCESS);
    } catch (const CLI::ParseError& error) {
        refuse(explain_mistake(app, error));
    }
    options.target = choose_target(target);
    if (timeout_option->count() > 0) {
        options.timeout = Nanoseconds(std::llround(timeout * 1e9));
    }
    if (trickle_option->count() > 0) {
        options.trickle = Nanoseconds(std::llround(trickle * 1e6));
    }
    return options;
}

}  // namespace

int main(int argc, char** argv)
try {
    const Options options = parse_options(argc, argv);
    std::optional<std::chrono::milliseconds> timeout;
    if (options.timeout) {
        timeout = std::chrono::ceil<std::chrono::milliseconds>(*options.timeout);
    }
    Conversation(options, connect(options.target, timeout).socket).run();
    return EXIT_SUCCESS;
} catch (const std::exception& error) {
    fmt::print(stderr, "nc: {}\n", error.what());
    return EXIT_FAILURE;
}
