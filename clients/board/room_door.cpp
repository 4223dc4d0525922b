#include "clients/board/room_door.hpp"

#include "clients/board/http.hpp"
#include "clients/board/page.hpp"
#include "clients/board/random_text.hpp"
#include "clients/shared/target.hpp"

#include <asio.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <exception>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

namespace ground::board {

namespace {

using asio::awaitable;
using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr std::uint16_t usual_port = 8080;
constexpr auto between_looks = 200ms;
constexpr std::size_t waiting_room = 256;  // connections that the kernel keeps for accept()

auto into(asio::error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

struct Connection {
    Connection(tcp::socket its_socket, std::string its_address)
        : socket(std::move(its_socket)),
          news(socket.get_executor()),
          address(std::move(its_address))
    {
    }
    tcp::socket socket;
    asio::steady_timer news;  // a reply is held back for that long, or until there is some
    std::string address;
    Clock::time_point deadline;
    std::optional<unsigned> phone;  // whose reply is held back
};

// What came from one address lately.
struct Caller {
    explicit Caller(const RoomDoorLimits& limits)
        : requests(limits.requests_per_second, limits.requests_at_once),
          joins(limits.joins_per_second, limits.joins_at_once)
    {
    }
    std::size_t connections = 0;
    Allowance requests;
    Allowance joins;
};

HttpResponse plain(int status, std::string_view why)
{
    return {.status = status, .type = "text/plain; charset=utf-8", .body = std::string(why) + '\n'};
}

// The number in "after=12".
std::optional<std::uint64_t> number_after(std::string_view query)
{
    constexpr std::string_view name = "after=";
    std::uint64_t number = 0;
    if (!query.starts_with(name)) {
        return std::nullopt;
    }
    query.remove_prefix(name.size());
    const auto [end, error] = std::from_chars(query.data(), query.data() + query.size(), number);
    if (error != std::errc() || end != query.data() + query.size()) {
        return std::nullopt;
    }
    return number;
}

// The token in "Phone 0123".
std::string_view token_of(const HttpRequest& request)
{
    constexpr std::string_view scheme = "Phone ";
    std::string_view text = request.authorization;
    if (!text.starts_with(scheme)) {
        return "";
    }
    text.remove_prefix(scheme.size());
    return text;
}

// The address from which this machine would reach others. No packet is sent for that.
std::string own_address()
{
    asio::io_context context;
    asio::ip::udp::socket socket(context);
    asio::error_code error;
    socket.open(asio::ip::udp::v4(), error);
    socket.connect({asio::ip::make_address_v4("192.0.2.1"), 9}, error);
    const asio::ip::udp::endpoint here =
        error ? asio::ip::udp::endpoint() : socket.local_endpoint(error);
    if (error || here.address().is_unspecified()) {
        throw ClientError(
            "this machine has no address that phones could reach; say which: --room ADDRESS");
    }
    return here.address().to_string();
}

}  // namespace

RoomPlace room_place(const std::string& address, bool in_container)
{
    RoomPlace place;
    const std::size_t colon = std::min(address.find(':'), address.size());
    place.address = address.substr(0, colon);
    place.port = usual_port;
    if (colon < address.size()) {
        const std::string digits = address.substr(colon + 1);
        const std::optional<std::uint16_t> port =
            digits == "0" ? std::uint16_t{0} : parse_port(digits);
        if (!port) {
            throw ClientError(
                fmt::format("'{}' is no port; try --room {}:8080", digits, place.address));
        }
        place.port = *port;
    }
    if (in_container && place.address.empty()) {
        throw ClientError(
            "say under which address the container's port is published: --room ADDRESS:PORT");
    }
    if (place.address.empty()) {
        place.address = own_address();
    }
    asio::error_code error;
    const asio::ip::address_v4 parsed = asio::ip::make_address_v4(place.address, error);
    if (error || parsed.is_unspecified() || parsed.is_multicast()) {
        throw ClientError(fmt::format("'{}' is no address of a machine; try 192.168.1.5", address));
    }
    place.address = parsed.to_string();
    place.listen = in_container ? "0.0.0.0" : place.address;
    return place;
}

// All of it runs on its own thread, except wake() and the constructor.
class RoomDoor::Impl {
  public:
    Impl(Room& room, const RoomPlace& place, RoomDoorLimits limits)
        : room_(room), limits_(limits), acceptor_(context_), sweep_(context_)
    {
        listen(place);
        const std::uint16_t port = acceptor_.local_endpoint().port();
        host_ = port == 80 ? place.address : fmt::format("{}:{}", place.address, port);
        address_ = fmt::format("http://{}/", host_);
        room_.open(address_, [this](std::optional<unsigned> phone) {
            asio::post(context_, [this, phone] { wake(phone); });
        });
        asio::co_spawn(context_, accept(), asio::detached);
        asio::co_spawn(context_, look_for_slow_ones(), asio::detached);
        thread_ = std::thread([this] { context_.run(); });
    }

    ~Impl()
    {
        room_.close();
        asio::post(context_, [this] {
            ends_ = true;
            asio::error_code ignored;
            acceptor_.close(ignored);
            sweep_.cancel();
            for (const auto& connection : connections_) {
                end(*connection);
            }
        });
        thread_.join();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] const std::string& address() const noexcept { return address_; }

  private:
    // The usual port may be in use by another program. Phones scan the code, so any other port is
    // as good.
    void listen(const RoomPlace& place)
    {
        const auto address = asio::ip::make_address_v4(place.listen);
        asio::error_code error;
        acceptor_.open(tcp::v4(), error);
        if (!error) {
            acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
            acceptor_.bind({address, place.port}, error);
        }
        if (error == asio::error::address_in_use && place.port == usual_port) {
            acceptor_.bind({address, 0}, error);
        }
        if (!error) {
            acceptor_.listen(waiting_room, error);
        }
        if (error.value() == EADDRNOTAVAIL) {
            throw ClientError(fmt::format(
                "{} is no address of this machine; `ip -4 address` lists them", place.listen));
        }
        if (error) {
            throw ClientError(fmt::format("can't listen on {}:{} for the room: {}", place.listen,
                                          place.port, error.message()));
        }
    }

    // Ends what it does, wherever that is.
    static void end(Connection& connection)
    {
        asio::error_code ignored;
        connection.socket.close(ignored);
        connection.news.cancel();
    }

    void wake(std::optional<unsigned> phone)
    {
        for (const auto& connection : connections_) {
            if (connection->phone && (!phone || *connection->phone == *phone)) {
                connection->news.cancel();
            }
        }
    }

    Caller& caller(const std::string& address)
    {
        return callers_.try_emplace(address, limits_).first->second;
    }

    // Whether one more connection from this address may stay. If all are taken, the address that
    // has most of them gives one. So a few addresses can't keep the others out.
    bool place_for(const std::string& address)
    {
        if (connections_.size() < limits_.connections) {
            return true;
        }
        const auto most =
            std::max_element(callers_.begin(), callers_.end(), [](const auto& a, const auto& b) {
                return a.second.connections < b.second.connections;
            });
        if (most->second.connections <= caller(address).connections + 1) {
            return false;
        }
        const auto given =
            std::find_if(connections_.begin(), connections_.end(), [&](const auto& connection) {
                return connection->address == most->first && connection->socket.is_open();
            });
        if (given == connections_.end()) {
            return false;  // they are being closed already
        }
        end(**given);
        return true;
    }

    awaitable<void> accept()
    {
        while (!ends_) {
            asio::error_code error;
            tcp::socket socket = co_await acceptor_.async_accept(into(error));
            if (error) {  // no descriptor is left, for example
                asio::steady_timer pause(context_, 100ms);
                co_await pause.async_wait(into(error));
                continue;
            }
            const std::string address = socket.remote_endpoint(error).address().to_string();
            if (error || caller(address).connections >= limits_.per_address ||
                !place_for(address)) {
                continue;  // which closes it
            }
            // If a phone does not take a reply, the kernel's buffer is full soon, too.
            socket.set_option(asio::socket_base::send_buffer_size(64 << 10), error);
            socket.set_option(asio::socket_base::receive_buffer_size(16 << 10), error);
            socket.set_option(tcp::no_delay(true), error);
            const auto connection = std::make_shared<Connection>(std::move(socket), address);
            connection->deadline = Clock::now() + limits_.to_begin;
            ++caller(address).connections;
            connections_.insert(connection);
            asio::co_spawn(context_, serve(connection),
                           [this, connection](const std::exception_ptr&) {
                               --caller(connection->address).connections;
                               connections_.erase(connection);
                           });
        }
    }

    // In one place for all, so that no operation can go without a time limit.
    awaitable<void> look_for_slow_ones()
    {
        while (!ends_) {
            asio::error_code ended;
            sweep_.expires_after(between_looks);
            co_await sweep_.async_wait(into(ended));
            const Clock::time_point now = Clock::now();
            for (const auto& connection : connections_) {
                if (now > connection->deadline) {
                    end(*connection);
                }
            }
            std::erase_if(callers_, [now](const auto& entry) {
                return entry.second.connections == 0 && entry.second.requests.full(now) &&
                       entry.second.joins.full(now);
            });
        }
    }

    awaitable<void> serve(std::shared_ptr<Connection> connection)
    {
        std::string received;
        std::array<char, 2048> bytes;
        for (;;) {
            HttpRead read = read_request(received);
            while (read.status == 0) {
                asio::error_code error;
                const std::size_t size =
                    co_await connection->socket.async_read_some(asio::buffer(bytes), into(error));
                if (error) {
                    co_return;
                }
                if (received.empty()) {
                    connection->deadline = Clock::now() + limits_.to_ask;
                }
                received.append(bytes.data(), size);
                read = read_request(received);
            }
            HttpResponse response;
            if (!caller(connection->address).requests.take()) {
                response = plain(429, "not so fast");
                response.close = true;
            } else if (!read.request) {
                response = plain(read.status, "this is not a request of the room's page");
                response.close = true;
            } else {
                response = co_await answer(*connection, *read.request);
                response.close = response.close || !read.request->keep_alive;
            }
            const bool head_only = read.request && read.request->method == "HEAD";
            const std::string text = to_text(response, !head_only);
            connection->deadline = Clock::now() + limits_.to_take;
            asio::error_code error;
            co_await asio::async_write(connection->socket, asio::buffer(text), into(error));
            if (error) {
                co_return;
            }
            if (response.close) {
                co_await say_goodbye(*connection);
                co_return;
            }
            received.erase(0, read.size);
            connection->deadline =
                Clock::now() + (received.empty() ? limits_.to_begin : limits_.to_ask);
        }
    }

    // A close while bytes are unread would be a reset, and the client might not see the reply. So
    // some of what it still sends is read, until the time for the reply is over.
    static awaitable<void> say_goodbye(Connection& connection)
    {
        asio::error_code error;
        connection.socket.shutdown(tcp::socket::shutdown_send, error);
        std::array<char, 2048> bytes;
        for (std::size_t left = 256 << 10; !error && left > bytes.size();) {
            left -= co_await connection.socket.async_read_some(asio::buffer(bytes), into(error));
        }
    }

    // Nothing is served except what is named here.
    awaitable<HttpResponse> answer(Connection& connection, const HttpRequest& request)
    {
        // Another page may have made a name of its own point to this address. Such a name is not
        // ours.
        if (request.host != host_) {
            co_return plain(403, "this is not the address of the room");
        }
        if (request.origin && *request.origin != "http://" + host_) {
            co_return plain(403, "only the room's own page may ask");
        }
        const bool page = request.path == "/";
        const bool state = request.path == "/state";
        const bool command = request.path == "/join" || request.path == "/ask" ||
                             request.path == "/vote" || request.path == "/leave";
        if (!page && !state && !command) {
            co_return plain(404, "there is no such page");
        }
        if (request.method != (command ? "POST" : "GET")) {
            co_return plain(405, "this page does not take that method");
        }
        if (page) {
            co_return phones_page();
        }
        if (state) {
            co_return co_await state_of_phone(connection, request);
        }
        if (request.content_type != "application/json") {
            co_return plain(415, "commands are JSON");  // which a form of another page can't send
        }
        co_return obey(connection, request);
    }

    static HttpResponse phones_page()
    {
        const std::string nonce = random_text();
        HttpResponse response{.type = "text/html; charset=utf-8", .body = phone_page(nonce)};
        response.policy = fmt::format(
            "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src "
            "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            nonce);
        return response;
    }

    HttpResponse obey(const Connection& connection, const HttpRequest& request)
    {
        const Json wish = Json::parse(request.body, nullptr, false);
        if (!wish.is_object()) {
            return plain(400, "a command is a JSON object");
        }
        if (request.path == "/join" && !caller(connection.address).joins.take()) {
            return plain(429, "too many come from your address; try again in a moment");
        }
        const std::string_view token = token_of(request);
        Room::Reply reply = request.path == "/join"   ? room_.join(wish, connection.address)
                            : request.path == "/ask"  ? room_.ask(token, wish)
                            : request.path == "/vote" ? room_.vote(token, wish)
                                                      : room_.leave(token);
        if (reply.status != 200) {
            return {.status = reply.status,
                    .type = "text/plain; charset=utf-8",
                    .body = std::move(reply.body)};
        }
        return {.body = std::move(reply.body)};
    }

    // Replies as soon as the phone has something new to show, or else, after a while, with an empty
    // state.
    awaitable<HttpResponse> state_of_phone(Connection& connection, const HttpRequest& request)
    {
        const std::optional<std::uint64_t> after = number_after(request.query);
        if (!after) {
            co_return plain(400, "after is the number of a state");
        }
        const std::optional<unsigned> phone = room_.phone_of(token_of(request));
        const Clock::time_point until = Clock::now() + limits_.held;
        connection.deadline = until + limits_.to_take;
        while (phone) {
            // A change between this look and the wait is not missed: wake() runs on this thread.
            connection.phone = phone;
            std::optional<Room::State> state = room_.state_of(*phone, *after);
            if (!state) {
                break;
            }
            if (!state->json.empty()) {
                connection.phone.reset();
                co_return HttpResponse{.body = std::move(state->json)};
            }
            if (ends_ || Clock::now() >= until) {
                connection.phone.reset();
                co_return HttpResponse{.body = "{}"};
            }
            asio::error_code woken;
            connection.news.expires_at(until);
            co_await connection.news.async_wait(into(woken));
        }
        connection.phone.reset();
        co_return plain(410, "this phone is no longer in the room; join again");
    }

    Room& room_;
    const RoomDoorLimits limits_;
    asio::io_context context_{1};
    tcp::acceptor acceptor_;
    asio::steady_timer sweep_;
    std::string host_;
    std::string address_;
    std::set<std::shared_ptr<Connection>> connections_;
    std::map<std::string, Caller> callers_;
    bool ends_ = false;
    std::thread thread_;
};

RoomDoor::RoomDoor(Room& room, const RoomPlace& place, RoomDoorLimits limits)
    : impl_(std::make_unique<Impl>(room, place, limits))
{
}
RoomDoor::~RoomDoor() = default;
const std::string& RoomDoor::address() const noexcept { return impl_->address(); }

}  // namespace ground::board
