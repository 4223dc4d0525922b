// soak.cpp -- everything at once, for as long as you like, against one stage.
//
//   soak STAGE_EXECUTABLE [options of the stage] [--seconds N] [--seed N]
//
// One server, and dozens of clients, each with a conversation of its own that chance has written.
// Meanwhile a killer kills and stops the server's processes. Every reply is compared with the one
// that must come, in order. When all have left, the server has to be what it was before.
//
// The seed decides what the clients say and do: client number k does the same in every run. The
// kernel decides which of them is served when.
#include "suite.hpp"
#include "watchdog.hpp"

#include <fmt/format.h>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <list>
#include <memory>
#include <random>

using namespace ground;
using namespace ground::test;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

namespace {

constexpr unsigned max_n = 50;
constexpr unsigned small_n = 24;                 // up to here a number takes no time
constexpr unsigned big_n = sanitized ? 27 : 32;  // takes some milliseconds

constexpr std::string_view worker_died = "[Error] worker died";

// How much its memory may grow from the middle of the soak to the end. It depends on how many
// clients happened to come together: stacks that threads have left, the allocator's arenas, deques.
// If a client leaves something behind, even 100 bytes, memory grows by more than that within two
// minutes.
constexpr std::size_t memory_noise = 1 << 20;

unsigned number_option(std::string_view name, unsigned otherwise)
{
    const auto text = suite_option(name);
    if (!text) {
        return otherwise;
    }
    unsigned number = 0;
    const char* const end = text->data() + text->size();
    const auto [stop, problem] = std::from_chars(text->data(), end, number);
    if (problem != std::errc() || stop != end) {
        fmt::print(stderr, "soak: {} needs a number, for example: {} 60\n", name, name);
        std::exit(2);
    }
    return number;
}

// Chance: the same for the same seed and stream.
class Chance {
  public:
    Chance(unsigned seed, unsigned stream)
    {
        std::seed_seq sequence{seed, stream};
        engine_.seed(sequence);
    }
    // 0 <= x < bound
    unsigned below(unsigned bound) { return static_cast<unsigned>(engine_() % bound); }
    // first <= x <= last
    unsigned from_to(unsigned first, unsigned last) { return first + below(last - first + 1); }
    bool one_in(unsigned n) { return below(n) == 0; }
    std::string_view one_of(std::initializer_list<std::string_view> words)
    {
        return words.begin()[below(static_cast<unsigned>(words.size()))];
    }
    Clock::duration up_to(milliseconds longest)
    {
        return std::chrono::microseconds(below(static_cast<unsigned>(longest.count()) * 1000 + 1));
    }

  private:
    std::mt19937 engine_;
};

// What has happened so far.
struct Tally {
    std::uint64_t checked = 0;  // replies, each compared with what it had to be
    std::uint64_t guests = 0;
    std::uint64_t workers_killed = 0;
    std::uint64_t forkers_killed = 0;
    std::uint64_t stops = 0;
    std::uint64_t failed = 0;                   // replies that were "worker died"
    std::uint64_t allowed = 0;                  // at most this many of these are allowed
    Clock::time_point progress = Clock::now();  // when a reply last came, or a client last left
};

// A request and its reply.
struct Question {
    std::string text;  // without its line end
    std::string reply;
    bool computed = false;  // computed by a worker, if there are any: it may die
};

Question any_question(Chance& chance, unsigned favourite)
{
    const unsigned kind = chance.below(20);
    if (kind == 0) {
        return {
            std::string(chance.one_of({"hello", "3.5", "1 2", "+", "-", "1e3", "0x10", "--1", "30;",
                                       "\xff\xfe", "GET / HTTP/1.1", "18446744073709551617x"})),
            "[Error] not a number, send one like 30"};
    }
    if (kind == 1) {
        return {std::string(chance.one_of({"-1", "-30", "-0", "-99999999999999999999"})),
                "[Error] negative number, the smallest is 0"};
    }
    if (kind == 2) {
        return {std::string(chance.one_of({"51", "93", "94", "4294967326", "18446744073709551646",
                                           "99999999999999999999999"})),
                fmt::format("[Error] number too large, the largest is {}", max_n)};
    }
    if (kind == 3) {
        // Garbage. Its first byte is no digit, and it has no line end.
        std::string bytes = "~";
        for (unsigned i = chance.below(99); i > 0; --i) {
            const auto byte = static_cast<char>(chance.below(256));
            bytes += byte == '\n' || byte == '\r' ? '\0' : byte;
        }
        // A blank at the end would be trimmed, and change nothing.
        return {bytes, "[Error] not a number, send one like 30"};
    }
    unsigned n = chance.below(3) == 0 ? favourite : chance.below(small_n + 1);
    if (chance.one_in(40)) {
        n = chance.from_to(small_n + 1, big_n);
    }
    std::string text = fmt::format("{}{:0{}}", chance.one_in(5) ? "+" : "", n,
                                   chance.one_in(5) ? chance.from_to(1, 20) : 1);
    if (chance.one_in(4)) {
        text = fmt::format("{}{}{}", chance.one_of({" ", "\t", "  \f", "\v "}), text,
                           chance.one_of({"", " ", "\t\t", std::string_view("             ")}));
    }
    if (chance.one_in(50)) {
        text.resize(100, ' ');  // the longest line there may be
    }
    return {text, fmt::format("{}", fib_fast(n)), true};
}

// One connection, and everything that is said on it. Runs in steps that never block.
class Guest {
  public:
    Guest(const Server& server, unsigned seed, unsigned number, Tally& tally);

    [[nodiscard]] bool gone() const noexcept { return gone_; }
    [[nodiscard]] unsigned number() const noexcept { return number_; }

    // What to wait for: events of its socket, and a time.
    [[nodiscard]] pollfd events(Clock::time_point now) const;
    [[nodiscard]] Clock::time_point wakes(Clock::time_point now) const;

    void step(short events, Clock::time_point now);

    // When it began to wait for what it waits for. (A client that pauses does not wait.)
    [[nodiscard]] Clock::time_point waits_since() const noexcept { return waits_since_; }
    [[nodiscard]] std::string describe() const;

  private:
    enum class End { leaves, half_closes, resets, closes, says_too_much };
    enum class Manner { normal, trickles, reads_slowly, floods };

    struct Owed {
        std::string reply;
        bool computed;
        std::size_t due;  // once this many bytes have been sent
    };

    void say_more();
    void add_lines(unsigned count, std::size_t most);
    void add_without_line_end();
    void cut(std::size_t from);
    void flood(Clock::time_point now);
    void send(Clock::time_point now);
    void receive(Clock::time_point now);
    void check_reply(std::string_view line);
    void leave(bool reset);
    [[noreturn]] void fail(std::string_view what) const;

    Chance chance_;
    unsigned number_;
    unsigned favourite_;
    Tally& tally_;
    Framing framing_;
    End end_;
    Manner manner_;
    Client client_;

    unsigned turns_;                // how often it will still say something
    bool talks_without_line_ends_;  // as the talk's clients do: one number, one reply
    bool line_end_said_ = false;
    bool half_closed_ = false;
    bool ends_ = false;  // the server is to close next
    bool gone_ = false;

    std::string out_;               // [sent_, ...) of all that it says
    std::size_t sent_ = 0;          // bytes in its life
    std::deque<std::size_t> cuts_;  // where a segment ends
    std::deque<Owed> owed_;
    std::string in_;
    std::optional<std::size_t> gives_up_at_;  // resets or closes when this many bytes are sent...
    std::optional<unsigned> gives_up_after_;  // ...or this many replies have come
    unsigned replies_ = 0;
    unsigned refusals_ = 0;  // of a flood, still to be sent

    Clock::time_point can_send_ = Clock::now();
    Clock::time_point can_receive_ = Clock::now();
    Clock::time_point waits_since_ = Clock::now();
};

Framing framing_of_stage()
{
    const auto& arguments = stage().arguments();
    const auto option = std::find(arguments.begin(), arguments.end(), "--framing");
    if (option == arguments.end() || option + 1 == arguments.end()) {
        return Framing::automatic;
    }
    return option[1] == "line"    ? Framing::line
           : option[1] == "chunk" ? Framing::chunk
                                  : Framing::automatic;
}

Guest::Guest(const Server& server, unsigned seed, unsigned number, Tally& tally)
    : chance_(seed, number),
      number_(number),
      favourite_(3 + number % (small_n - 2)),
      tally_(tally),
      framing_(framing_of_stage()),
      end_(static_cast<End>(chance_.below(5))),
      manner_(chance_.one_in(4) ? static_cast<Manner>(chance_.from_to(1, 3)) : Manner::normal),
      // A small buffer, so that the server notices soon that its replies are not read.
      client_(server.port(), manner_ == Manner::normal || manner_ == Manner::trickles ? 0 : 4096),
      turns_(chance_.from_to(1, stage().serves_others() ? 6U : 2U)),
      talks_without_line_ends_(framing_ != Framing::line && chance_.one_in(4))
{
    ++tally_.guests;
    if (chance_.one_in(10)) {
        leave(chance_.one_in(2));  // perhaps before it is accepted
    } else if (manner_ == Manner::floods) {
        for (int i = 0; i < 20'000; ++i) {
            out_ += chance_.one_in(10) ? "3\n" : "x\n";
        }
    } else {
        say_more();
    }
}

pollfd Guest::events(Clock::time_point now) const
{
    pollfd entry{client_.native_handle(), 0, 0};
    if (manner_ != Manner::floods) {  // it does not wait for anything
        const int send = !out_.empty() && now >= can_send_ ? POLLOUT : 0;
        const int receive = now >= can_receive_ ? POLLIN : 0;
        entry.events = static_cast<short>(send | receive);
    }
    if (entry.events == 0) {
        entry.fd = -1;  // else epoll would report the connection's end again and again
    }
    return entry;
}

Clock::time_point Guest::wakes(Clock::time_point now) const
{
    auto time = Clock::time_point::max();
    if (!out_.empty() && (can_send_ > now || manner_ == Manner::floods)) {
        time = can_send_;
    }
    return can_receive_ > now ? std::min(time, can_receive_) : time;
}

void Guest::step(short events, Clock::time_point now)
{
    if (gone_) {
        return;
    }
    if (manner_ == Manner::floods) {
        flood(now);
        return;
    }
    if ((events & POLLOUT) != 0) {
        send(now);
    }
    if (!gone_ && out_.empty() && turns_ == 0 && end_ == End::half_closes && !half_closed_) {
        client_.shutdown_send();  // with replies still owed
        half_closed_ = true;
        ends_ = true;
    }
    if (!gone_ && (events & (POLLIN | POLLHUP | POLLERR)) != 0 && now >= can_receive_) {
        receive(now);
    }
    if (!gone_ && out_.empty() && owed_.empty() && !ends_) {
        waits_since_ = now;
        if (turns_ > 0) {
            say_more();
        } else {
            leave(end_ == End::resets);
        }
    }
}

// Sends and does not read, until it has had enough.
void Guest::flood(Clock::time_point now)
{
    if (now < can_send_) {
        return;
    }
    const std::size_t sent = client_.send_some(out_);
    out_.erase(0, sent);
    sent_ += sent;
    refusals_ += out_.empty() ? 0U : 1U;
    can_send_ = now + milliseconds(3);
    if (out_.empty() || refusals_ == 5) {
        leave(end_ == End::resets);
    }
}

// What it says next: a batch of lines or, for as long as it uses no line ends, a number.
void Guest::say_more()
{
    --turns_;
    if (talks_without_line_ends_) {
        add_without_line_end();
        talks_without_line_ends_ = chance_.one_in(2);
        cuts_.push_back(sent_ + out_.size());
    } else if (framing_ == Framing::chunk) {
        add_lines(chance_.from_to(1, 8), 128);
        talks_without_line_ends_ = chance_.one_in(2);
        cuts_.push_back(sent_ + out_.size());
    } else {
        add_lines(chance_.one_in(4) ? chance_.from_to(1, 100) : chance_.from_to(1, 12), 100'000);
        // With --framing auto the first line has to come in one piece: see docs/protocol.md.
        const bool free = framing_ == Framing::line || line_end_said_;
        cut(sent_ + (free ? 0 : out_.find_first_of("\r\n") + 1));
        line_end_said_ = true;
    }
    if (turns_ > 0) {
        return;
    }

    const bool lines = framing_ != Framing::chunk && line_end_said_;
    switch (end_) {
        case End::leaves:
            break;
        case End::half_closes:
            if (lines && chance_.one_in(2)) {
                add_without_line_end();
                cuts_.push_back(sent_ + out_.size());
            }
            break;
        case End::resets:
        case End::closes:
            if (chance_.one_in(2)) {
                gives_up_at_ = sent_ + chance_.below(static_cast<unsigned>(out_.size()) + 1);
                cuts_.push_front(*gives_up_at_);
                std::sort(cuts_.begin(), cuts_.end());
            } else {
                gives_up_after_ = replies_ + chance_.below(static_cast<unsigned>(owed_.size()) + 1);
            }
            break;
        case End::says_too_much:
            if (lines) {
                owed_.push_back(
                    {"[Error] line longer than 100 bytes", false, sent_ + out_.size() + 101});
                out_ += std::string(chance_.from_to(101, 300), chance_.one_in(2) ? '1' : ' ');
                cuts_.push_back(sent_ + out_.size());
                ends_ = true;
            }
            break;
    }
}

void Guest::add_lines(unsigned count, std::size_t most)
{
    for (; count > 0; --count) {
        Question question = any_question(chance_, favourite_);
        std::string line;
        if (chance_.one_in(8)) {
            line += chance_.one_of({"\n", "\r\n", " \t\n", "\r\r"});
        }
        line += question.text;
        const std::size_t due = sent_ + out_.size() + line.size() + 1;  // at a CR, too
        line += chance_.one_of({"\n", "\n", "\r\n", "\r"});
        if (out_.size() + line.size() > most) {
            break;
        }
        out_ += line;
        owed_.push_back({std::move(question.reply), question.computed, due});
    }
}

void Guest::add_without_line_end()
{
    Question question = any_question(chance_, favourite_);
    out_ += question.text;
    owed_.push_back({std::move(question.reply), question.computed, sent_ + out_.size()});
}

// Into segments, at random, except what is before `from`.
void Guest::cut(std::size_t from)
{
    const std::size_t end = sent_ + out_.size();
    const unsigned longest = manner_ == Manner::trickles ? 1 : chance_.one_in(2) ? 2000 : 30;
    for (std::size_t at = std::max<std::size_t>(from, 1); at < end;
         at += chance_.from_to(1, longest)) {
        cuts_.push_back(at);
        if (manner_ == Manner::trickles && at > from + 200) {
            break;  // that is slow enough
        }
    }
    cuts_.push_back(end);
}

void Guest::send(Clock::time_point now)
{
    while (!cuts_.empty() && cuts_.front() <= sent_) {
        cuts_.pop_front();
    }
    if (gives_up_at_ && sent_ >= *gives_up_at_) {
        leave(end_ == End::resets);
        return;
    }
    const std::size_t size = cuts_.empty() ? out_.size() : cuts_.front() - sent_;
    std::size_t sent = 0;
    try {
        sent = client_.send_some(std::string_view(out_).substr(0, size));
    } catch (const std::system_error&) {
        if (!ends_) {
            throw;
        }
        sent = out_.size();  // it has read enough of the line that is too long
    }
    out_.erase(0, sent);
    sent_ += sent;
    waits_since_ = now;
    if (gives_up_at_ && sent_ >= *gives_up_at_) {
        leave(end_ == End::resets);
    } else if (manner_ == Manner::trickles || chance_.one_in(8)) {
        can_send_ = now + chance_.up_to(milliseconds(3));
    }
}

void Guest::receive(Clock::time_point now)
{
    std::array<char, 65536> buffer{};
    std::size_t most = buffer.size();
    if (manner_ == Manner::reads_slowly) {
        most = chance_.from_to(1, 40);
        can_receive_ = now + chance_.up_to(milliseconds(2));
    }
    const ssize_t size = ::recv(client_.native_handle(), buffer.data(), most, MSG_DONTWAIT);
    if (size == -1 && errno == EAGAIN) {
        return;
    }
    waits_since_ = now;
    tally_.progress = now;
    if (size == -1 && (errno != ECONNRESET || !ends_ || half_closed_)) {
        fail(std::generic_category().message(errno));
    }
    if (size <= 0) {
        // A server that closes without having read everything resets the connection, and what it
        // had not yet sent is lost.
        if (!ends_ || (size == 0 && !(owed_.empty() && in_.empty()))) {
            fail("the server has closed the connection");
        }
        leave(false);
        return;
    }
    in_.append(buffer.data(), static_cast<std::size_t>(size));
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = in_.find('\n', begin)) != std::string::npos; begin = end + 1) {
        check_reply(std::string_view(in_).substr(begin, end - begin));
    }
    in_.erase(0, begin);
    if (gives_up_after_ && replies_ >= *gives_up_after_) {
        leave(end_ == End::resets);
    }
}

void Guest::check_reply(std::string_view line)
{
    if (owed_.empty()) {
        fail(fmt::format("'{}' came without having been asked for", line));
    }
    const Owed owed = std::move(owed_.front());
    owed_.pop_front();
    ++replies_;
    if (sent_ < owed.due) {
        fail(fmt::format("'{}' came before its request was sent", line));
    }
    if (line == worker_died && owed.computed && tally_.failed < tally_.allowed) {
        ++tally_.failed;
    } else if (line != owed.reply) {
        fail(fmt::format(
            "'{}' came instead of '{}'; killed so far: {} workers, {} forkers; "
            "requests failed by that: {}",
            line, owed.reply, tally_.workers_killed, tally_.forkers_killed, tally_.failed));
    }
    ++tally_.checked;
}

void Guest::leave(bool reset)
{
    gone_ = true;
    tally_.progress = Clock::now();
    if (reset) {
        client_.reset();
    } else {
        client_.close();
    }
}

std::string Guest::describe() const
{
    return fmt::format(
        "client {} from port {} (manner {}, end {}), which has sent {} bytes and has {} to send, "
        "got {} replies and is owed {}{}",
        number_, client_.local_port(), static_cast<int>(manner_), static_cast<int>(end_), sent_,
        out_.size(), replies_, owed_.size(),
        owed_.empty() ? std::string() : fmt::format(", next '{}'", owed_.front().reply));
}

void Guest::fail(std::string_view what) const
{
    throw std::runtime_error(fmt::format("{}: {}", describe(), what));
}

// Kills and stops processes of the server, at random times.
class Tormentor {
  public:
    Tormentor(const Server& server, unsigned workers, unsigned seed, Tally& tally)
        : server_(server), workers_(workers), chance_(seed, 0), tally_(tally)
    {
    }

    [[nodiscard]] Clock::time_point wakes() const
    {
        auto time = next_;
        for (const Stopped& stopped : stopped_) {
            time = std::min(time, stopped.until);
        }
        return time;
    }

    void act(Clock::time_point now);
    // Continues all that it has stopped.
    void have_mercy();

  private:
    struct Stopped {
        Descriptor process;
        Clock::time_point until;
    };

    void stop(Descriptor process, milliseconds longest, Clock::time_point now);

    const Server& server_;
    unsigned workers_;
    Chance chance_;
    Tally& tally_;
    Clock::time_point next_ = Clock::now();
    std::vector<Stopped> stopped_;
};

// Identifies a process in a way that is never reused. Empty if it has gone.
Descriptor open_process(const ProcessInfo& process)
{
    Descriptor descriptor(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0U)));
    const auto now = process_info(process.pid);
    if (!now || now->started != process.started) {
        descriptor.reset();
    }
    return descriptor;
}

bool send_signal(const Descriptor& process, int number)
{
    return ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0U) == 0;
}

void Tormentor::act(Clock::time_point now)
{
    std::erase_if(stopped_, [now](const Stopped& stopped) {
        return now >= stopped.until && (send_signal(stopped.process, SIGCONT), true);
    });
    if (now < next_) {
        return;
    }
    next_ = now + milliseconds(10) + chance_.up_to(milliseconds(100));

    const unsigned deed = chance_.below(20);
    if (deed == 0) {
        stop(open_process(server_.info()), milliseconds(50), now);
        return;
    }
    if (!stage().has_processes()) {
        return;
    }
    const bool to_forker = deed < 3;
    std::vector<ProcessInfo> victims = server_.descendants();
    std::erase_if(victims, [&](const ProcessInfo& process) {
        return to_forker != (process.parent == server_.pid());
    });
    // Preferably those that compute.
    const auto idle =
        std::stable_partition(victims.begin(), victims.end(),
                              [](const ProcessInfo& process) { return process.state == 'R'; });
    if (idle != victims.begin() && !chance_.one_in(4)) {
        victims.erase(idle, victims.end());
    }
    if (victims.empty()) {
        return;
    }
    Descriptor victim = open_process(victims[chance_.below(static_cast<unsigned>(victims.size()))]);
    if (victim.get() == -1) {
        return;
    }
    if (deed == 1 || deed > 14) {
        stop(std::move(victim), milliseconds(100), now);
        return;
    }
    // When the forker ends its workers end, and each may have been computing.
    tally_.allowed += to_forker ? workers_ : 1;
    (to_forker ? tally_.forkers_killed : tally_.workers_killed) += 1;
    send_signal(victim, SIGKILL);
}

void Tormentor::stop(Descriptor process, milliseconds longest, Clock::time_point now)
{
    if (send_signal(process, SIGSTOP)) {
        ++tally_.stops;
        stopped_.push_back({std::move(process), now + chance_.up_to(longest)});
    }
}

void Tormentor::have_mercy()
{
    for (const Stopped& stopped : stopped_) {
        send_signal(stopped.process, SIGCONT);
    }
    stopped_.clear();
}

std::string name_of_stage()
{
    std::string name(stage().name());
    for (const std::string& argument : stage().arguments()) {
        name += ' ' + argument;
    }
    return name;
}

// What must be the same whenever there are no clients.
struct Calm {
    std::size_t descriptors = 0;
    unsigned threads = 0;
    std::size_t processes = 0;
};

class Soak {
  public:
    Soak(const Server& server, unsigned workers, unsigned seed, std::chrono::seconds total)
        : server_(server),
          seed_(seed),
          total_(total),
          tormentor_(server, workers, seed, tally_),
          processes_(stage().has_processes() ? processes_of_pool(workers) : 0)
    {
    }

    [[nodiscard]] const Tally& tally() const noexcept { return tally_; }

    // Clients come for this long. Then waits until the last one has left by itself.
    void run(Clock::duration duration);

    // The server without clients. Waits until it is like that.
    [[nodiscard]] Calm calm() const;
    void wait_until(const Calm& calm) const;

  private:
    void welcome(Clock::time_point now);
    void wait_for_events(Clock::time_point now, Clock::time_point end);
    void check_nobody_waits_in_vain(Clock::time_point now) const;
    void show_progress(Clock::time_point now);

    const Server& server_;
    unsigned seed_;
    std::chrono::seconds total_;
    Tally tally_;
    Tormentor tormentor_;
    std::size_t processes_;
    std::size_t crowd_ = stage().serves_others() ? 40 : 6;
    unsigned last_guest_ = 0;
    std::list<Guest> guests_;
    std::vector<pollfd> entries_;
    Clock::time_point started_ = Clock::now();
    Clock::time_point next_guest_ = started_;
    Clock::time_point next_show_ = started_;
    Chance chance_{seed_, 1U << 31U};
};

void Soak::run(Clock::duration duration)
{
    const auto end = Clock::now() + duration;
    // Some that say nothing before all others have gone.
    std::deque<Client> silent;
    for (int i = 0; i < 3 && stage().serves_others(); ++i) {
        silent.emplace_back(server_);
    }
    for (;;) {
        const auto now = Clock::now();
        if (now >= end) {
            tormentor_.have_mercy();
            if (guests_.empty()) {
                break;
            }
        } else {
            tormentor_.act(now);
            if (guests_.size() < crowd_ && now >= next_guest_) {
                guests_.emplace_back(server_, seed_, ++last_guest_, tally_);
                next_guest_ = now + chance_.up_to(milliseconds(4));
            }
        }
        wait_for_events(now, end);
        const auto then = Clock::now();
        std::size_t i = 0;
        for (Guest& guest : guests_) {
            guest.step(entries_[i++].revents, then);
        }
        guests_.remove_if([](const Guest& guest) { return guest.gone(); });
        check_nobody_waits_in_vain(then);
        show_progress(then);
    }
    for (Client& client : silent) {
        if (client.ask("10\n") != "55") {
            throw std::runtime_error("a client that was silent so far gets a wrong reply");
        }
    }
}

void Soak::wait_for_events(Clock::time_point now, Clock::time_point end)
{
    entries_.clear();
    auto wakes = now + milliseconds(250);
    if (now < end) {
        wakes = std::min({wakes, end, tormentor_.wakes()});
        if (guests_.size() < crowd_) {
            wakes = std::min(wakes, next_guest_);
        }
    }
    for (const Guest& guest : guests_) {
        entries_.push_back(guest.events(now));
        wakes = std::min(wakes, guest.wakes(now));
    }
    const auto timeout = std::max(Clock::duration::zero(), wakes - now);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
    const timespec time{seconds.count(), std::chrono::nanoseconds(timeout - seconds).count()};
    if (::ppoll(entries_.data(), entries_.size(), &time, nullptr) == -1 && errno != EINTR) {
        throw std::system_error(errno, std::generic_category(), "ppoll");
    }
}

// If clients are served one after the other, each waits for all before it. Then at least one has to
// make progress.
void Soak::check_nobody_waits_in_vain(Clock::time_point now) const
{
    for (const Guest& guest : guests_) {
        const auto since = stage().serves_others() ? guest.waits_since()
                                                   : std::max(guest.waits_since(), tally_.progress);
        if (now - since > patience) {
            waited_in_vain(guest.describe());
            throw std::runtime_error(guest.describe() + ": waited in vain");
        }
    }
}

bool on_terminal()
{
    static const bool result = ::isatty(STDERR_FILENO) == 1;
    return result;
}

void Soak::show_progress(Clock::time_point now)
{
    if (!on_terminal() || now < next_show_) {
        return;
    }
    next_show_ = now + milliseconds(250);
    fmt::print(stderr, "\r\x1b[K{:.60}: {} of {} s, {} clients, {} replies", name_of_stage(),
               std::chrono::duration_cast<std::chrono::seconds>(now - started_).count(),
               total_.count(), tally_.guests, tally_.checked);
}

Calm Soak::calm() const
{
    eventually("its processes are there",
               [&] { return server_.descendants().size() == processes_; });
    if (stage().has_event_loops()) {
        // Until each loop has answered somebody, a thread may still be about to start. The kernel
        // distributes these clients among the loops.
        std::deque<Client> clients;
        for (int i = 0; i < 32; ++i) {
            CHECK(clients.emplace_back(server_).ask("10\n") == "55");
        }
        for (Client& client : clients) {
            client.shutdown_send();
            CHECK(client.read_all().empty());  // the server has closed its end
        }
    }
    Client client(server_);
    CHECK(client.ask("10\n") == "55");
    if (stage().has_process_per_client()) {
        client.close();
        eventually("the client is forgotten", [&] {
            return server_.descendants().empty() && socket_inodes(server_.pid()).size() == 1;
        });
        return {server_.descriptors(), server_.info().threads, 0};
    }
    const Calm with_one{server_.descriptors(), server_.info().threads,
                        server_.descendants().size()};
    const Calm without{with_one.descriptors - 1,
                       with_one.threads - (stage().has_thread_per_client() ? 1 : 0),
                       with_one.processes};
    client.close();
    wait_until(without);
    return without;
}

void Soak::wait_until(const Calm& calm) const
{
    const auto differs = [&] {
        return fmt::format("descriptors {} of {}, threads {} of {}, processes {} of {}",
                           server_.descriptors(), calm.descriptors, server_.info().threads,
                           calm.threads, server_.descendants().size(), calm.processes);
    };
    try {
        eventually("the server is as it was", [&] {
            return server_.descriptors() == calm.descriptors &&
                   server_.info().threads == calm.threads &&
                   server_.descendants().size() == calm.processes;
        });
    } catch (const std::exception&) {
        throw std::runtime_error("not as before: " + differs());
    }
}

std::string in_megabytes(std::size_t bytes)
{
    return fmt::format("{:.2f}", static_cast<double>(bytes) / 1e6);
}

}  // namespace

TEST_CASE("everything at once: every reply is right and in order, and nothing stays behind")
{
    const std::chrono::seconds total(number_option("--seconds", 2));
    allow_time(total);
    const unsigned seed = number_option("--seed", std::random_device()());
    CAPTURE(seed);
    Chance chance(seed, 0);
    const unsigned workers = chance.from_to(1, 4);
    Server::Arguments arguments{"--quiet", "--max-n", std::to_string(max_n)};
    if (stage().has_pool()) {
        arguments.insert(arguments.end(), {"--workers", std::to_string(workers)});
    }
    Server server(arguments);
    Soak soak(server, workers, seed, total);
    const Calm before = soak.calm();

    // Stacks and arenas are kept for reuse by the next client. After a while of the same load they
    // have their full size.
    const auto half = std::chrono::duration_cast<milliseconds>(total) * 2 / 5;
    std::array<std::size_t, 3> memory{};
    soak.run(half / 2);
    soak.wait_until(before);
    memory[0] = server.memory();
    for (const std::size_t i : {1U, 2U}) {
        soak.run(half);
        soak.wait_until(before);
        memory[i] = server.memory();
    }
    const Tally& tally = soak.tally();
    CHECK(tally.failed <= tally.allowed);
    if (!sanitized) {
        CHECK(memory[2] <= memory[1] + memory_noise);
    }
    {
        Client client(server);
        CHECK(client.ask("20\n") == "6765");
    }
    server.signal(SIGTERM);
    CHECK(server.wait(Deadline(time_to_end)) == 0);
    CHECK(server.descendants().empty());
    CHECK(server.err().read_all().empty());

    if (on_terminal()) {
        fmt::print(stderr, "\r\x1b[K");
    }
    std::string killed;
    if (stage().has_processes()) {
        killed = fmt::format("; {} workers and {} forkers killed, which cost {} requests",
                             tally.workers_killed, tally.forkers_killed, tally.failed);
    }
    fmt::print("{}: {} clients, {} replies right{}; stopped {} times; {}, {}, {} MB; seed {}\n",
               name_of_stage(), tally.guests, tally.checked - tally.failed, killed, tally.stops,
               in_megabytes(memory[0]), in_megabytes(memory[1]), in_megabytes(memory[2]), seed);
}
