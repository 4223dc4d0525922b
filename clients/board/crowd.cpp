#include "clients/board/crowd.hpp"

#include <asio.hpp>

#include <algorithm>
#include <chrono>
#include <exception>
#include <future>
#include <istream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <utility>

namespace ground::board {

namespace {

using asio::awaitable;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t longest_reply = 4096;
const std::string small_line = std::to_string(small_request) + '\n';

// Errors are returned as values, because a client that is told to leave or to move has its
// operations cancelled.
auto into(asio::error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

double milliseconds_since(Clock::time_point time)
{
    return std::chrono::duration<double, std::milli>(Clock::now() - time).count();
}

struct One {
    One(asio::io_context& context, unsigned its_number, Role its_role)
        : number(its_number), role(its_role), socket(context), timer(context)
    {
    }
    const unsigned number;
    const Role role;
    bool leaves = false;
    bool owed = false;  // it waits for a reply
    tcp::socket socket;
    asio::steady_timer timer;
    std::string typed;       // by hand or by phone: what has not been sent yet
    bool listening = false;  // the same: waits for more of that, or until the server leaves
};

}  // namespace

class Crowd::Impl {
  public:
    Impl() : work_(context_.get_executor()), thread_([this] { context_.run(); }) {}
    ~Impl()
    {
        asio::post(context_, [this] {
            for (const auto& [number, one] : ones_) {
                tell_to_go(*one);
            }
            work_.reset();
        });
        thread_.join();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    void aim(std::uint16_t port)
    {
        asio::post(context_, [this, port] {
            port_ = port;
            for (const auto& [number, one] : ones_) {
                disturb(*one);
            }
        });
    }

    std::size_t come(Role role, std::size_t count)
    {
        const std::lock_guard lock(mutex_);
        count = std::min(count, most_clients - shown_.size());
        for (std::size_t i = 0; i < count; ++i) {
            add(role);
        }
        return count;
    }

    bool ask(const std::string& text)
    {
        const auto find = [this] {
            const std::lock_guard lock(mutex_);
            for (auto it = shown_.rbegin(); it != shown_.rend(); ++it) {
                if (it->second.seen.role == Role::hand) {
                    return it->first;
                }
            }
            return 0U;
        };
        unsigned number = find();
        if (number == 0) {
            come(Role::hand, 1);
            number = find();
        }
        type(number, text);
        return number != 0;
    }

    bool leave(std::optional<unsigned> number)
    {
        const std::lock_guard lock(mutex_);
        const auto last = std::find_if(shown_.rbegin(), shown_.rend(), [](const auto& other) {
            return other.second.seen.role != Role::phone;
        });
        if (number ? !shown_.contains(*number) : last == shown_.rend()) {
            return false;
        }
        const unsigned who = number ? *number : last->first;
        forget(who);
        asio::post(context_, [this, who] {
            if (const auto one = ones_.find(who); one != ones_.end()) {
                tell_to_go(*one->second);
            }
        });
        return true;
    }

    void all_leave()
    {
        while (leave(std::nullopt)) {
        }
    }

    std::optional<unsigned> phone_comes()
    {
        const std::lock_guard lock(mutex_);
        return shown_.size() < most_clients ? std::optional(add(Role::phone)) : std::nullopt;
    }

    void phone_asks(unsigned number, unsigned n) { type(number, std::to_string(n)); }

    void listen_to_phones(PhoneListener listener)
    {
        std::promise<void> done;
        asio::post(context_, [&] {
            phone_listener_ = std::move(listener);
            done.set_value();
        });
        done.get_future().wait();
    }

    Tally take()
    {
        const std::lock_guard lock(mutex_);
        Tally tally;
        for (const unsigned number : std::exchange(changed_, {})) {
            tally.changed.push_back(shown_.at(number).seen);
        }
        tally.gone = std::exchange(gone_, {});
        tally.lines = std::exchange(lines_, {});
        tally.latencies = std::exchange(latencies_, {});
        tally.clients = shown_.size();
        for (const auto& [number, shown] : shown_) {
            if (shown.asked) {
                ++tally.waiting;
                if (shown.small) {
                    tally.longest_wait_so_far =
                        std::max(tally.longest_wait_so_far, milliseconds_since(*shown.asked));
                }
            }
        }
        return tally;
    }

    std::vector<ClientSeen> all() const
    {
        const std::lock_guard lock(mutex_);
        std::vector<ClientSeen> result;
        for (const auto& [number, shown] : shown_) {
            result.push_back(shown.seen);
        }
        return result;
    }

  private:
    struct Shown {
        ClientSeen seen;
        std::optional<Clock::time_point> asked;  // since when it waits for a reply
        bool small = false;                      // to a small request
    };

    // Under the lock.
    unsigned add(Role role)
    {
        const unsigned number = ++last_number_;
        shown_[number].seen = {number, role, 0};
        changed_.insert(number);
        asio::post(context_, [this, number, role] { begin(number, role); });
        return number;
    }

    void type(unsigned number, const std::string& text)
    {
        asio::post(context_, [this, number, text] {
            if (const auto one = ones_.find(number); one != ones_.end()) {
                one->second->typed += text + '\n';
                if (one->second->listening) {
                    one->second->socket.cancel();
                }
            }
        });
    }

    // ---- From here on: on our own thread.

    void begin(unsigned number, Role role)
    {
        {
            const std::lock_guard lock(mutex_);
            if (!shown_.contains(number)) {  // it has been told to leave already
                return;
            }
        }
        const auto one = std::make_shared<One>(context_, number, role);
        ones_.emplace(number, one);
        asio::co_spawn(context_, live(one),
                       [this, number](const std::exception_ptr&) { ones_.erase(number); });
    }

    // A client that leaves while a reply is owed says so by a reset. A mere close looks like the
    // end of input, and the server may go on computing.
    static void disturb(One& one)
    {
        asio::error_code ignored;
        if (one.owed) {
            one.socket.set_option(asio::socket_base::linger(true, 0), ignored);
        }
        one.socket.close(ignored);
        one.timer.cancel();
    }

    static void tell_to_go(One& one)
    {
        one.leaves = true;
        disturb(one);
    }

    awaitable<void> live(std::shared_ptr<One> one)
    {
        while (!one->leaves) {
            asio::error_code error = asio::error::not_connected;
            const std::uint16_t port = port_;
            if (port != 0) {
                one->socket = tcp::socket(context_);
                co_await one->socket.async_connect({asio::ip::address_v4::loopback(), port},
                                                   into(error));
            }
            if (!error) {
                one->socket.set_option(tcp::no_delay(true), error);
            }
            if (!error && port == port_) {
                const tcp::endpoint here = one->socket.local_endpoint(error);
                connected(*one, here.port());
                switch (one->role) {
                    case Role::client:
                        co_await ask_and_think(*one, small_request, 500ms);
                        break;
                    case Role::hog:
                        co_await ask_and_think(*one, big_request, 0ms);
                        break;
                    case Role::idle:
                        co_await say_nothing(*one);
                        break;
                    case Role::hand:
                    case Role::phone:
                        co_await say_what_is_typed(*one);
                        break;
                }
                leave_connection(*one);
            }
            if (!one->leaves && port == port_) {  // gone, or it refused us
                co_await pause(*one, 300ms);
            }
        }
    }

    static awaitable<void> pause(One& one, std::chrono::milliseconds time)
    {
        asio::error_code cancelled;
        one.timer.expires_after(time);
        co_await one.timer.async_wait(into(cancelled));
    }

    awaitable<void> ask_and_think(One& one, unsigned n, std::chrono::milliseconds thinking)
    {
        const std::string request = std::to_string(n) + '\n';
        asio::streambuf received(longest_reply);
        for (;;) {
            if (thinking > 0ms) {
                // Not all at the same time, and none of them as regular as a clock.
                std::uniform_int_distribution<long> around(thinking.count() / 2,
                                                           thinking.count() * 3 / 2);
                co_await pause(one, std::chrono::milliseconds(around(random_)));
            }
            asio::error_code error;
            asked(one, one.role == Role::client);
            co_await asio::async_write(one.socket, asio::buffer(request), into(error));
            if (error) {
                co_return;
            }
            const std::size_t size =
                co_await asio::async_read_until(one.socket, received, '\n', into(error));
            if (error) {
                co_return;
            }
            received.consume(size);
            answered(one);
        }
    }

    static awaitable<void> say_nothing(One& one)
    {
        asio::error_code end;
        std::array<char, 64> ignored;
        while (!end) {
            co_await one.socket.async_read_some(asio::buffer(ignored), into(end));
        }
    }

    // One request at a time: what is typed meanwhile waits for its turn.
    awaitable<void> say_what_is_typed(One& one)
    {
        asio::streambuf received(longest_reply);
        for (;;) {
            asio::error_code error;
            bool mine = false;
            Clock::time_point begin;
            while (one.typed.empty() && !error) {
                one.listening = true;
                co_await one.socket.async_wait(tcp::socket::wait_read, into(error));
                one.listening = false;
                if (one.typed.empty()) {
                    break;  // the server leaves, or says something that was not asked for
                }
                error.clear();
            }
            if (!one.typed.empty()) {
                const std::size_t length = one.typed.find('\n') + 1;
                const std::string request = one.typed.substr(0, length);
                one.typed.erase(0, length);
                said(one, {one.number, false, request.substr(0, length - 1), 0});
                begin = Clock::now();
                asked(one, one.role == Role::phone && request == small_line);
                mine = true;
                co_await asio::async_write(one.socket, asio::buffer(request), into(error));
            }
            if (!error) {
                co_await asio::async_read_until(one.socket, received, '\n', into(error));
            }
            if (error) {
                if (mine) {
                    said(one, {one.number, true, "(the connection has ended)",
                               milliseconds_since(begin)});
                }
                co_return;
            }
            std::istream stream(&received);
            std::string reply;
            std::getline(stream, reply);
            said(one, {one.number, true, reply, mine ? milliseconds_since(begin) : 0});
            answered(one);
        }
    }

    void leave_connection(One& one)
    {
        disturb(one);
        one.owed = false;
        const std::lock_guard lock(mutex_);
        if (const auto shown = shown_.find(one.number); shown != shown_.end()) {
            shown->second.asked.reset();
            shown->second.seen.port = 0;
            changed_.insert(one.number);
        }
    }

    void connected(const One& one, std::uint16_t port)
    {
        const std::lock_guard lock(mutex_);
        if (const auto shown = shown_.find(one.number); shown != shown_.end()) {
            shown->second.seen.port = port;
            changed_.insert(one.number);
        }
    }

    void asked(One& one, bool small)
    {
        one.owed = true;
        const std::lock_guard lock(mutex_);
        if (const auto shown = shown_.find(one.number); shown != shown_.end()) {
            shown->second.asked = Clock::now();
            shown->second.small = small;
        }
    }

    void answered(One& one)
    {
        one.owed = false;
        const std::lock_guard lock(mutex_);
        const auto shown = shown_.find(one.number);
        if (shown != shown_.end() && shown->second.asked) {
            if (shown->second.small) {
                latencies_.push_back(milliseconds_since(*shown->second.asked));
            }
            shown->second.asked.reset();
        }
    }

    void said(const One& one, Line line)
    {
        if (one.role == Role::phone) {
            if (phone_listener_) {
                phone_listener_(line);
            }
            return;
        }
        const std::lock_guard lock(mutex_);
        lines_.push_back(std::move(line));
    }

    // Under the lock.
    void forget(unsigned number)
    {
        shown_.erase(number);
        changed_.erase(number);
        gone_.push_back(number);
    }

    asio::io_context context_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    // These are used by our own thread only.
    PhoneListener phone_listener_;
    std::map<unsigned, std::shared_ptr<One>> ones_;
    std::uint16_t port_ = 0;
    std::minstd_rand random_{1};

    mutable std::mutex mutex_;  // of what follows
    unsigned last_number_ = 0;
    std::map<unsigned, Shown> shown_;
    std::set<unsigned> changed_;
    std::vector<unsigned> gone_;
    std::vector<Line> lines_;
    std::vector<double> latencies_;

    std::thread thread_;  // last: it uses all of the above
};

Crowd::Crowd() : impl_(std::make_unique<Impl>()) {}
Crowd::~Crowd() = default;
void Crowd::aim(std::uint16_t port) { impl_->aim(port); }
std::size_t Crowd::come(Role role, std::size_t count) { return impl_->come(role, count); }
bool Crowd::ask(const std::string& text) { return impl_->ask(text); }
bool Crowd::leave(std::optional<unsigned> number) { return impl_->leave(number); }
void Crowd::all_leave() { impl_->all_leave(); }
Tally Crowd::take() { return impl_->take(); }
std::vector<ClientSeen> Crowd::all() const { return impl_->all(); }
std::optional<unsigned> Crowd::phone_comes() { return impl_->phone_comes(); }
void Crowd::phone_asks(unsigned number, unsigned n) { impl_->phone_asks(number, n); }
void Crowd::listen_to_phones(PhoneListener listener)
{
    impl_->listen_to_phones(std::move(listener));
}

}  // namespace ground::board
