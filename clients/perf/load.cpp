#include "clients/perf/load.hpp"

#include "clients/perf/connection.hpp"
#include "clients/perf/part.hpp"
#include "clients/perf/recorder.hpp"
#include "clients/perf/schedule.hpp"

#include <fmt/format.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

namespace ground {

namespace {

using Time = Clock::time_point;

// We do not connect all at once, because the server's backlog may be full. The kernel would then
// try again only a second later. A connection is established before the server accepts it. So we
// cannot see whether the server has accepted, and pause instead.
constexpr std::size_t connects_at_once = 64;
constexpr auto connect_pause = std::chrono::milliseconds(2);
// The longest time without a single new connection.
constexpr auto connect_patience = std::chrono::seconds(3);
// How long we still wait at the end for the replies that are owed. They are checked, but are not
// part of the figures.
constexpr auto drain_patience = std::chrono::milliseconds(100);
// Every reply is much shorter. A server that sends a longer line does not speak our protocol.
constexpr std::size_t longest_reply = 1024;
constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

// A request for a number, and its right reply.
struct Question {
    std::string request;
    std::string reply;  // without its LF
};

std::vector<Question> questions_of(const PerfOptions& options)
{
    constexpr std::array<std::string_view, 4> ends{"", "\n", "\r\n", "\r"};
    const auto end = ends[static_cast<std::size_t>(options.terminator)];
    std::vector<Question> questions;
    for (const Share& share : options.mix) {
        questions.push_back({fmt::format("{}{}", share.n, end), std::to_string(fib_fast(share.n))});
    }
    return questions;
}

enum class Phase { connecting, warming_up, measuring, draining, over };

// When a run begins, measures and ends: one loop of several can't decide that alone. The loop calls
// start(), measure() and end() once each, in this order and on its thread. A loop that is stopped
// early skips what it has not reached, except end(). From start() to end() it calls tick().
class Course {
  public:
    virtual ~Course() = default;
    // All connections of this loop are established. Waits until the run begins, and returns that
    // time.
    virtual Time start(Time now) = 0;
    // The warm-up is over, or there was none. Returns the time from which the loop measures.
    virtual Time measure(Time now) = 0;
    virtual void tick(Time now) = 0;
    [[nodiscard]] virtual Time next_tick() const = 0;
    // This loop measures nothing from now on.
    virtual void end(Time now) = 0;
};

// A loop with its connections: all of them, or the part of one thread.
class Load {
  public:
    // The options are those of the part, except the rate, which is that of the whole run. `first`
    // may be without a connection.
    Load(const PerfOptions& options, Part part, Connected first, std::vector<int> stop_fds,
         Tally& tally, Course& course);

    // Runs to the end. The figures are in the tally, and everything else is in the result.
    LoadResult run();

  private:
    // What an event is about, unless it is about a connection. Connections are numbered from 0.
    static constexpr std::uint64_t timer_event = ~std::uint64_t{0};
    static constexpr std::uint64_t stop_event = timer_event - 1;

    void watch(int operation, int fd, std::uint32_t events, std::uint64_t data);
    std::size_t wait(std::span<epoll_event> events);
    void arm_timer();
    void dispatch(const epoll_event& event);

    // Connections. The first options_.connections of them send requests, the others stay idle.
    [[nodiscard]] bool works(std::size_t number) const noexcept;
    void open_more();
    void begin_connecting(std::size_t number);
    void finish_connecting(std::size_t number);
    void connect_failed(std::size_t number, int error);
    void connection_failed(std::size_t number, std::string why);
    void hang_up(std::size_t number, Link then);
    void look_at_idle(Connection& connection);

    // Requests and replies.
    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] std::uint64_t remaining() const noexcept;
    [[nodiscard]] std::uint64_t due(Time now) const noexcept;
    [[nodiscard]] std::size_t room(const Connection& connection) const noexcept;
    void make_free(std::size_t number);
    void send_due();
    std::uint64_t fill(std::size_t number, std::uint64_t most);
    void send(std::size_t number, std::string_view text);
    void send_unsent(std::size_t number);
    void receive(std::size_t number);
    void take_reply(Connection& connection, std::string_view reply);
    void note(std::string example);

    // The course of the run.
    void advance();
    void start();
    void start_measuring();
    void start_schedule(Time begin);
    void start_draining();
    void finish();

    const PerfOptions& options_;
    const Part part_;
    const Address address_;
    std::vector<int> stop_fds_;
    const std::vector<Question> questions_;
    std::mt19937 random_;  // seeded with the part's number, so each run sends the same requests
    std::discrete_distribution<std::size_t> draw_;

    Descriptor epoll_;
    Descriptor timer_;
    Time timer_armed_for_{};
    std::array<char, 65536> buffer_;
    std::string requests_text_;
    std::vector<Connection> connections_;
    std::size_t opened_ = 0;            // how many were begun before the run
    std::size_t connecting_ = 0;        // how many are being made
    std::size_t alive_;                 // how many connections still send requests
    std::deque<std::size_t> free_;      // connections that have room, the longest-waiting first
    std::optional<Schedule> schedule_;  // only in an open loop
    std::uint64_t issued_ = 0;          // in this phase
    std::uint64_t outstanding_ = 0;
    std::uint64_t lost_ = 0;   // unanswered because their connection broke
    std::uint64_t begun_ = 0;  // connections, without those that are to stay idle

    Phase phase_ = Phase::connecting;
    Time now_;           // when epoll_wait returned: read once for all its events
    Time next_batch_{};  // when more connections may be begun
    Time phase_end_;     // the latest end of the phase
    Tally& tally_;
    Course& course_;
    LoadErrors errors_;
    LoadResult result_;
    bool stopped_ = false;
};

Load::Load(const PerfOptions& options, Part part, Connected first, std::vector<int> stop_fds,
           Tally& tally, Course& course)
    : options_(options),
      part_(part),
      address_(first.address),
      stop_fds_(std::move(stop_fds)),
      questions_(questions_of(options)),
      random_(std::mt19937::default_seed + part.number),
      epoll_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      timer_(
          check(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create")),
      connections_(options.connections + options.idle),
      alive_(options.connections),
      now_(Clock::now()),
      phase_end_(now_ + connect_patience),
      tally_(tally),
      course_(course)
{
    std::vector<double> weights;
    for (const Share& share : options.mix) {
        weights.push_back(share.weight);
    }
    draw_ = std::discrete_distribution<std::size_t>(weights.begin(), weights.end());
    watch(EPOLL_CTL_ADD, timer_.get(), EPOLLIN, timer_event);
    for (const int fd : stop_fds_) {
        watch(EPOLL_CTL_ADD, fd, EPOLLIN, stop_event);
    }
    if (options.rate) {
        schedule_.emplace(*options.rate, part);
    }
    for (std::size_t number = 0; works(number); ++number) {
        connections_[number].pending.resize(options.pipeline);
    }
    if (options.reconnect) {  // each request opens its own connection; `first` was only a trial
        first.socket.reset();
        for (; works(opened_); ++opened_) {
            make_free(opened_);
        }
    } else if (first.socket.get() >= 0) {
        watch(EPOLL_CTL_ADD, first.socket.get(), EPOLLIN, opened_);
        connections_[opened_].socket = std::move(first.socket);
        connections_[opened_].link = Link::up;
        make_free(opened_++);
        ++begun_;
    }
}

LoadResult Load::run()
{
    std::array<epoll_event, 64> events;
    std::size_t count = 0;
    for (;;) {
        {
            // Locked for a whole batch of events. The recorder can wait that long.
            std::unique_lock lock(tally_.mutex(), std::defer_lock);
            if (part_.threads > 1) {
                lock.lock();
            }
            for (std::size_t i = 0; i < count; ++i) {
                dispatch(events[i]);
            }
            advance();
        }
        if (phase_ == Phase::over) {
            return result_;
        }
        count = wait(events);
    }
}

// ---- Waiting

void Load::watch(int operation, int fd, std::uint32_t events, std::uint64_t data)
{
    epoll_event event{};
    event.events = events;
    event.data.u64 = data;
    check(::epoll_ctl(epoll_.get(), operation, fd, &event), "epoll_ctl");
}

// Returns how many events there are.
std::size_t Load::wait(std::span<epoll_event> events)
{
    arm_timer();
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (count == -1 && errno != EINTR) {
        check(count, "epoll_wait");
    }
    now_ = Clock::now();
    return static_cast<std::size_t>(std::max(count, 0));
}

// The timer only wakes the loop; advance() looks at the clock. So the timer is armed only when a
// deadline changes. A timeout of epoll_wait would be armed for every wait.
void Load::arm_timer()
{
    Time next = running() ? std::min(phase_end_, course_.next_tick()) : phase_end_;
    if (schedule_ && !free_.empty() && remaining() > 0) {
        next = std::min(next, schedule_->next());
    }
    if (phase_ == Phase::connecting && connecting_ == 0) {
        next = std::min(next, next_batch_);
    }
    if (next == timer_armed_for_) {
        return;
    }
    timer_armed_for_ = next;
    const auto since_boot = std::max(next.time_since_epoch(), Nanoseconds(1));  // 0 would disarm
    itimerspec at{};
    at.it_value.tv_sec = since_boot / std::chrono::seconds(1);
    at.it_value.tv_nsec = (since_boot % std::chrono::seconds(1)).count();
    check(::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr), "timerfd_settime");
}

void Load::dispatch(const epoll_event& event)
{
    if (event.data.u64 == timer_event) {
        std::uint64_t expirations = 0;
        [[maybe_unused]] const auto size = ::read(timer_.get(), &expirations, sizeof expirations);
        return;
    }
    if (event.data.u64 == stop_event) {
        stopped_ = true;
        for (const int fd : std::exchange(stop_fds_, {})) {
            watch(EPOLL_CTL_DEL, fd, 0, stop_event);  // it would be reported at every wait
        }
        return;
    }
    const std::size_t number = event.data.u64;
    if (connections_[number].link == Link::connecting) {
        finish_connecting(number);
        return;
    }
    if ((event.events & EPOLLOUT) != 0) {
        send_unsent(number);
    }
    if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        receive(number);
    }
}

// ---- Connections

bool Load::works(std::size_t number) const noexcept { return number < options_.connections; }

void Load::open_more()
{
    if (connecting_ > 0 || now_ < next_batch_) {
        return;
    }
    next_batch_ = now_ + connect_pause;
    const std::size_t batch = std::max<std::size_t>(1, connects_at_once / part_.threads);
    const std::size_t batch_end = std::min(opened_ + batch, connections_.size());
    while (opened_ < batch_end) {
        begin_connecting(opened_++);
    }
}

void Load::begin_connecting(std::size_t number)
{
    Connection& connection = connections_[number];
    begun_ += works(number) ? 1U : 0U;
    try {
        connection.socket = start_connect(address_);
    } catch (const std::system_error& error) {
        connect_failed(number, error.code().value());
        return;
    }
    watch(EPOLL_CTL_ADD, connection.socket.get(), EPOLLOUT, number);
    connection.link = Link::connecting;
    ++connecting_;
}

void Load::finish_connecting(std::size_t number)
{
    Connection& connection = connections_[number];
    if (const int error = connect_result(connection.socket); error != 0) {
        connect_failed(number, error);
        return;
    }
    connection.link = Link::up;
    --connecting_;
    tally_.connected();
    if (phase_ == Phase::connecting) {
        phase_end_ = now_ + connect_patience;
    }
    if (works(number)) {
        send_unsent(number);
    } else {
        watch(EPOLL_CTL_DEL, connection.socket.get(), 0, number);  // until look_at_idle()
    }
}

void Load::connect_failed(std::size_t number, int error)
{
    ++errors_.connect;
    tally_.failure();
    note(explain_connect(options_.target, error));
    // Over even with --reconnect. If the server has gone, trying again at once would only spin.
    hang_up(number, Link::over);
}

void Load::connection_failed(std::size_t number, std::string why)
{
    ++errors_.read;
    tally_.failure();
    note(std::move(why));
    hang_up(number, options_.reconnect ? Link::down : Link::over);
}

void Load::hang_up(std::size_t number, Link then)
{
    Connection& connection = connections_[number];
    connecting_ -= connection.link == Link::connecting ? 1U : 0U;
    alive_ -= then == Link::over && works(number) ? 1U : 0U;
    outstanding_ -= connection.outstanding;
    lost_ += connection.outstanding;
    if (connection.outstanding > 0) {
        reset_on_close(connection.socket);
    }
    connection.outstanding = 0;
    connection.unsent.clear();
    connection.partial.clear();
    connection.socket.reset();  // which also takes it out of the epoll set
    connection.link = then;
}

// Looks at a connection that stays idle. This happens only at the end, because the loop does not
// wait for events of idle connections.
void Load::look_at_idle(Connection& connection)
{
    if (is_established(connection.socket)) {
        ++result_.idle_open;
        return;
    }
    ++result_.idle_closed;
    const ssize_t size = ::recv(connection.socket.get(), buffer_.data(), buffer_.size(), 0);
    const std::string_view said(buffer_.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    note(said.empty() ? "the server closed an idle connection"
                      : fmt::format("the server closed an idle connection, saying '{}'",
                                    said.substr(0, said.find_first_of("\r\n"))));
}

// ---- Requests and replies

bool Load::running() const noexcept
{
    return phase_ == Phase::warming_up || phase_ == Phase::measuring;
}

// How many more requests may be sent in this phase.
std::uint64_t Load::remaining() const noexcept
{
    if (phase_ == Phase::measuring && options_.requests) {
        return *options_.requests - issued_;
    }
    return running() ? unlimited : 0;
}

// How many of the remaining requests should be sent now, if connections have room. A request that
// is due at the end of the phase or later does not belong to the phase.
std::uint64_t Load::due(Time now) const noexcept
{
    const std::uint64_t most = remaining();
    return schedule_ ? std::min(most, schedule_->due(std::min(now, phase_end_ - Nanoseconds(1))))
                     : most;
}

std::size_t Load::room(const Connection& connection) const noexcept
{
    const bool ready = connection.link == Link::up && connection.unsent.empty();
    const bool can_be_made = connection.link == Link::down && options_.reconnect;
    return ready || can_be_made ? connection.room() : 0;
}

void Load::make_free(std::size_t number)
{
    if (!std::exchange(connections_[number].queued, true)) {
        free_.push_back(number);
    }
}

// Shares the requests that are due among the connections that have room. They take turns, with
// several requests at a time if many are due.
void Load::send_due()
{
    if (free_.empty()) {
        return;
    }
    std::uint64_t waiting = due(Clock::now());
    while (waiting > 0 && !free_.empty()) {
        const std::size_t round = free_.size();
        const std::uint64_t share = std::max<std::uint64_t>(waiting / round, 1);
        for (std::size_t i = 0; i < round && waiting > 0; ++i) {
            const std::size_t number = free_.front();
            free_.pop_front();
            connections_[number].queued = false;
            waiting -= fill(number, share);
        }
    }
}

// Sends requests that are due, at most as many as the connection has room for, in one send. Returns
// how many. If room is left, the connection stays in the queue for requests that will be due.
std::uint64_t Load::fill(std::size_t number, std::uint64_t most)
{
    Connection& connection = connections_[number];
    requests_text_.clear();
    // The clock is read for each send. The batch of events may have taken long, and that time must
    // not count as latency.
    const Time now = Clock::now();
    const std::uint64_t count = std::min({most, due(now), std::uint64_t{room(connection)}});
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::size_t share = questions_.size() == 1 ? 0 : draw_(random_);
        connection.push({schedule_ ? schedule_->take() : now, now, share});
        requests_text_ += questions_[share].request;
    }
    issued_ += count;
    outstanding_ += count;
    if (count > 0) {
        connection.asked = true;
        if (connection.link == Link::up) {
            send(number, requests_text_);
        } else {
            connection.unsent = requests_text_;
            begin_connecting(number);
        }
    }
    if (room(connection) > 0) {
        make_free(number);
    }
    return count;
}

// Ignores a failure, because receive() sees it again and handles it. The server may have sent a
// reason before it hung up, and that must be read first.
void Load::send(std::size_t number, std::string_view text)
{
    Connection& connection = connections_[number];
    if (!connection.unsent.empty()) {
        connection.unsent += text;
        return;
    }
    const ssize_t sent = ::send(connection.socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent == -1 && errno != EAGAIN) {
        return;
    }
    text.remove_prefix(sent == -1 ? 0 : static_cast<std::size_t>(sent));
    if (!text.empty()) {
        connection.unsent = text;
        watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLIN | EPOLLOUT, number);
    }
}

void Load::send_unsent(std::size_t number)
{
    Connection& connection = connections_[number];
    const std::string text = std::exchange(connection.unsent, {});
    watch(EPOLL_CTL_MOD, connection.socket.get(), EPOLLIN, number);
    if (!text.empty()) {
        send(number, text);
    }
    fill(number, unlimited);
}

void Load::receive(std::size_t number)
{
    Connection& connection = connections_[number];
    const ssize_t size = ::recv(connection.socket.get(), buffer_.data(), buffer_.size(), 0);
    if (size == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        connection_failed(number,
                          size == 0 ? "the server closed a connection"
                                    : fmt::format("a connection broke: {}", std::strerror(errno)));
        fill(number, unlimited);
        return;
    }
    tally_.read(static_cast<std::size_t>(size));
    std::string_view text(buffer_.data(), static_cast<std::size_t>(size));
    for (std::size_t end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        if (connection.partial.empty()) {
            take_reply(connection, text.substr(0, end));
        } else {
            connection.partial += text.substr(0, end);
            take_reply(connection, connection.partial);
            connection.partial.clear();
        }
        text.remove_prefix(end + 1);
    }
    if (!text.empty()) {
        connection.partial += text;
        if (connection.partial.size() > longest_reply) {
            ++errors_.wrong;
            note(fmt::format("a reply of more than {} bytes", longest_reply));
            hang_up(number, Link::over);
            return;
        }
    }
    if (options_.reconnect && connection.outstanding == 0) {
        hang_up(number, Link::down);
    }
    fill(number, unlimited);
}

void Load::take_reply(Connection& connection, std::string_view reply)
{
    if (reply.ends_with('\r')) {
        reply.remove_suffix(1);
    }
    if (connection.outstanding == 0) {
        ++(reply.starts_with("[Error]") ? errors_.reply : errors_.wrong);
        note(fmt::format("'{}', without having been asked", reply));
        return;
    }
    const Pending request = connection.pop();
    --outstanding_;
    connection.answered = true;
    const unsigned n = options_.mix[request.share].n;
    if (reply != questions_[request.share].reply) {
        ++(reply.starts_with("[Error]") ? errors_.reply : errors_.wrong);
        tally_.error(now_);
        note(fmt::format("fib({}) was answered with '{}'", n, reply));
        return;
    }
    tally_.reply(n, request.since, request.sent, now_);
}

void Load::note(std::string example)
{
    if (errors_.example.empty()) {
        errors_.example = std::move(example);
    }
}

// ---- The course of the run

void Load::advance()
{
    if (phase_ == Phase::connecting) {
        open_more();
        const bool all_there = opened_ == connections_.size() && connecting_ == 0;
        if (stopped_) {
            start_draining();
        } else if (all_there || now_ >= phase_end_) {
            start();
        }
    }
    if (running()) {
        course_.tick(now_);
        if (phase_ == Phase::warming_up && now_ >= phase_end_) {
            start_measuring();
        }
        send_due();  // also at the end: a request that was due before it is late, but counts
        const bool all_answered = remaining() == 0 && outstanding_ == 0;
        const bool finished = phase_ == Phase::measuring && (now_ >= phase_end_ || all_answered);
        if (finished || stopped_ || alive_ == 0) {
            start_draining();
        }
    }
    if (phase_ == Phase::draining && (outstanding_ == 0 || now_ >= phase_end_)) {
        finish();
    }
}

// Called when all connections are there or the patience is over. Those still missing fail here.
void Load::start()
{
    for (std::size_t number = 0; number < connections_.size(); ++number) {
        if (connections_[number].link == Link::connecting) {
            connect_failed(number, ETIMEDOUT);
        }
    }
    for (; opened_ < connections_.size(); ++opened_) {
        begun_ += works(opened_) ? 1U : 0U;
        connect_failed(opened_, ETIMEDOUT);
    }
    now_ = course_.start(now_);
    if (options_.warmup.count() > 0) {
        phase_ = Phase::warming_up;
        phase_end_ = now_ + options_.warmup;
        tally_.start_warmup(now_);
        start_schedule(now_);
    } else {
        start_measuring();
    }
}

void Load::start_measuring()
{
    phase_ = Phase::measuring;
    issued_ = 0;
    now_ = Clock::now();  // later than every request that was sent for this batch of events
    const Time begin = course_.measure(now_);
    phase_end_ = options_.duration ? begin + *options_.duration : Time::max();
    tally_.start_measuring(begin);
    start_schedule(begin);
}

// What the warm-up has left in the queue is dropped: measuring begins with an empty queue.
void Load::start_schedule(Time begin)
{
    if (schedule_) {
        schedule_->start(begin);
    }
}

// From now on no new request begins. Replies that are owed may still come.
void Load::start_draining()
{
    tally_.stop();
    course_.end(now_);
    Time oldest = now_;
    if (schedule_ && phase_ == Phase::measuring && due(now_) > 0) {
        result_.unsent = due(now_);
        oldest = schedule_->next();
    }
    for (const Connection& connection : connections_) {
        if (connection.outstanding > 0) {
            oldest = std::min(oldest, connection.pending[connection.oldest].since);
        }
    }
    result_.longest_wait_s = std::chrono::duration<double>(now_ - oldest).count();
    phase_ = Phase::draining;
    phase_end_ = now_ + drain_patience;
}

void Load::finish()
{
    phase_ = Phase::over;
    errors_.unanswered = outstanding_ + lost_;
    for (std::size_t number = 0; number < connections_.size(); ++number) {
        Connection& connection = connections_[number];
        if (connection.outstanding > 0) {
            reset_on_close(connection.socket);
        }
        result_.starved += connection.asked && !connection.answered ? 1U : 0U;
        if (!works(number) && connection.link == Link::up) {
            look_at_idle(connection);
        }
    }
    result_.errors = errors_;
    result_.connections = begun_;
    result_.stopped = stopped_;
}

// ---- One loop, or several

// What a loop reports at its end, beside its tally.
void add_ending(LoadResult& result, const LoadResult& loop)
{
    result.errors.connect += loop.errors.connect;
    result.errors.read += loop.errors.read;
    result.errors.reply += loop.errors.reply;
    result.errors.wrong += loop.errors.wrong;
    result.errors.unanswered += loop.errors.unanswered;
    if (result.errors.example.empty()) {
        result.errors.example = loop.errors.example;
    }
    result.connections += loop.connections;
    result.idle_open += loop.idle_open;
    result.idle_closed += loop.idle_closed;
    result.unsent += loop.unsent;
    result.longest_wait_s = std::max(result.longest_wait_s, loop.longest_wait_s);
    result.starved += loop.starved;
    result.stopped = result.stopped || loop.stopped;
}

// A single loop keeps the time as well.
class Alone : public Course {
  public:
    Alone(const PerfOptions& options, Recorder& recorder) : options_(options), recorder_(recorder)
    {
    }
    Time start(Time now) override
    {
        if (options_.warmup.count() > 0) {
            recorder_.start_warmup(now);
        }
        return now;
    }
    Time measure(Time now) override
    {
        recorder_.start_measuring(now);
        return now;
    }
    void tick(Time now) override { recorder_.tick(now); }
    [[nodiscard]] Time next_tick() const override { return recorder_.next_tick(); }
    void end(Time now) override { recorder_.stop(now); }

  private:
    const PerfOptions& options_;
    Recorder& recorder_;
};

// Several loops, each on a thread of its own. The thread that has started them keeps the time.
class Team {
  public:
    Team(const PerfOptions& options, Connected first, int stop_fd, LoadObserver& observer);

    // Throws the exception that a thread has failed with.
    LoadResult run();

  private:
    struct NoteTime {
        Time* time;
        void operator()() const noexcept { *time = Clock::now(); }
    };

    // One of these threads, with its loop.
    struct Member : Course {
        Member(Team& team, Part part) : team_(team), options_(team.options_)
        {
            options_.connections = static_cast<unsigned>(part.of(options_.connections));
            options_.idle = static_cast<unsigned>(part.of(options_.idle));
            if (options_.requests) {
                options_.requests = part.of_requests(*options_.requests);
            }
        }
        Time start(Time /*now*/) override
        {
            started_ = true;
            team_.started_.arrive_and_wait();
            return team_.begin_;
        }
        // An open loop has one schedule for all of its threads.
        Time measure(Time now) override
        {
            return options_.rate ? team_.begin_ + options_.warmup : now;
        }
        void tick(Time /*now*/) override {}
        [[nodiscard]] Time next_tick() const override { return Time::max(); }
        void end(Time now) override
        {
            if (!std::exchange(started_, true)) {  // it has been stopped before it began
                team_.started_.arrive_and_drop();
            }
            const std::lock_guard lock(team_.mutex_);
            team_.end_ = std::max(team_.end_, now);
            --team_.running_;
            team_.changed_.notify_one();
        }

        Team& team_;
        PerfOptions options_;
        bool started_ = false;
        std::optional<Load> load_;
        LoadResult result_;
        std::exception_ptr failure_;
        std::jthread thread_;
    };

    void keep_time();
    void run(Member& member) noexcept;

    const PerfOptions& options_;
    Recorder recorder_;
    Descriptor halt_{check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")};
    Time begin_{};                    // written before any thread leaves the barrier
    std::barrier<NoteTime> started_;  // passed when all loops have their connections
    std::mutex mutex_;
    std::condition_variable changed_;  // notified when running_ or failed_ changes
    unsigned running_;                 // how many still measure; guarded by mutex_
    Time end_{};                       // when the last loop stopped; guarded by mutex_
    bool failed_ = false;              // a thread has failed; guarded by mutex_
    std::deque<Member> members_;       // a deque, because members can't be moved
};

Team::Team(const PerfOptions& options, Connected first, int stop_fd, LoadObserver& observer)
    : options_(options),
      recorder_(options, observer),
      started_(static_cast<std::ptrdiff_t>(options.threads) + 1, NoteTime{&begin_}),
      running_(options.threads)
{
    for (unsigned number = 0; number < options.threads; ++number) {
        const Part part{number, options.threads, options.connections};
        Member& member = members_.emplace_back(*this, part);
        member.load_.emplace(member.options_, part,
                             Connected{std::exchange(first.socket, Descriptor()), first.address},
                             std::vector{stop_fd, halt_.get()}, recorder_.tally(number), member);
    }
}

LoadResult Team::run()
{
    for (Member& member : members_) {
        member.thread_ = std::jthread([this, &member] { run(member); });
    }
    keep_time();
    for (Member& member : members_) {
        member.thread_.join();
        if (member.failure_) {
            std::rethrow_exception(member.failure_);
        }
    }
    LoadResult result = recorder_.result();
    for (const Member& member : members_) {
        add_ending(result, member.result_);
    }
    return result;
}

void Team::run(Member& member) noexcept
try {
    member.result_ = member.load_->run();
} catch (...) {
    member.failure_ = std::current_exception();
    {
        const std::lock_guard lock(mutex_);
        failed_ = true;
    }
    member.end(Clock::now());
}

// Returns when no thread measures any more.
void Team::keep_time()
{
    started_.arrive_and_wait();
    const Time measuring = begin_ + options_.warmup;
    bool warming_up = options_.warmup.count() > 0;
    if (warming_up) {
        recorder_.start_warmup(begin_);
    } else {
        recorder_.start_measuring(begin_);
    }
    for (;;) {
        const Time next = std::min(recorder_.next_tick(), warming_up ? measuring : Time::max());
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, next, [this] { return running_ == 0 || failed_; });
        const bool over = running_ == 0;
        const Time end = end_;
        if (std::exchange(failed_, false)) {
            const std::uint64_t one = 1;
            [[maybe_unused]] const auto written = ::write(halt_.get(), &one, sizeof one);
        }
        lock.unlock();  // tick() locks tallies, and a thread locks its tally before this mutex
        const Time now = Clock::now();
        if (over) {
            recorder_.stop(end);
            return;
        }
        if (warming_up && now >= measuring) {
            warming_up = false;
            recorder_.start_measuring(measuring);
        }
        recorder_.tick(now);
    }
}

}  // namespace

LoadResult run_load(const PerfOptions& options, Connected first, int stop_fd,
                    LoadObserver& observer)
{
    if (options.threads > 1) {
        return Team(options, std::move(first), stop_fd, observer).run();
    }
    Recorder recorder(options, observer);
    Alone course(options, recorder);
    Load load(options, Part{0, 1, options.connections}, std::move(first), {stop_fd},
              recorder.tally(0), course);
    const LoadResult ending = load.run();
    LoadResult result = recorder.result();
    add_ending(result, ending);
    return result;
}

}  // namespace ground
