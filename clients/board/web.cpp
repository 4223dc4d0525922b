#include "clients/board/web.hpp"

#include "clients/board/doorkeeper.hpp"
#include "clients/board/page.hpp"
#include "clients/board/random_text.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <httplib.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <future>
#include <latch>
#include <optional>
#include <thread>

namespace ground::board {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr int most_viewers = 16;     // a thread for each
constexpr std::size_t threads = 24;  // and some for requests that take only a moment
constexpr std::size_t longest_command = 4096;
constexpr int receive_buffer = 16 << 10;  // bytes that the kernel takes before we read any

// Takes the same time for a wrong token, however much of it is right.
bool equal(std::string_view a, std::string_view b)
{
    bool same = a.size() == b.size();
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
        same = (a[i] == b[i]) & same;
    }
    return same;
}

void answer(httplib::Response& response, int status, const std::string& why)
{
    response.status = status;
    response.set_content(why + '\n', "text/plain; charset=utf-8");
}

// Replaces the library's own options, which allow two boards on one port. Connections inherit
// these.
void set_options(int listener)
{
    const int yes = 1;
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    ::setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
}

// "name-8000.app.github.dev", or nothing outside of a code space.
std::string name_of_code_space(int port)
{
    const char* const name = std::getenv("CODESPACE_NAME");
    const char* const domain = std::getenv("GITHUB_CODESPACES_PORT_FORWARDING_DOMAIN");
    return name == nullptr || domain == nullptr ? "" : fmt::format("{}-{}.{}", name, port, domain);
}

}  // namespace

class Web::Impl {
  public:
    Impl(std::uint16_t port, bool in_container, const std::vector<StageEntry>& stages,
         std::vector<Shown> shown, Room& room)
        : stages_(stages), shown_(std::move(shown)), room_(room), token_(random_text())
    {
        server_.new_task_queue = [this] {
            listens_.count_down();                    // the page asks for it as soon as it runs
            return new httplib::ThreadPool(threads);  // the server owns it
        };
        server_.set_socket_options(set_options);
        server_.set_keep_alive_max_count(1);  // a connection is for one request: see Doorkeeper
        server_.set_keep_alive_timeout(1);
        server_.set_read_timeout(2s);
        server_.set_write_timeout(5s);
        server_.set_tcp_nodelay(true);
        server_.set_payload_max_length(longest_command);
        server_.set_default_headers({{"Cache-Control", "no-store"},
                                     {"Referrer-Policy", "no-referrer"},
                                     {"X-Content-Type-Options", "nosniff"},
                                     {"Cross-Origin-Resource-Policy", "same-origin"},
                                     {"Cross-Origin-Opener-Policy", "same-origin"}});
        server_.set_pre_routing_handler(
            [this](const auto& request, auto& response) { return this->route(request, response); });
        server_.Post("/[0-9a-f]+/(?:[0-9]/)?do", [this](const auto& request, auto& response) {
            this->obey(request, response);
        });
        const char* const host = in_container ? "0.0.0.0" : "127.0.0.1";
        const bool bound = port == 0 ? (port_ = server_.bind_to_any_port(host)) > 0
                                     : server_.bind_to_port(host, port_ = port);
        if (!bound) {
            throw ClientError(fmt::format(
                "can't listen on port {}: it is in use, or not allowed; choose another --port",
                port));
        }
        doorkeeper_.emplace(static_cast<std::uint16_t>(port_));
        forwarded_ = name_of_code_space(port_);
        const std::string origin = forwarded_.empty() ? fmt::format("http://127.0.0.1:{}", port_)
                                                      : "https://" + forwarded_;
        address_ = fmt::format("{}/{}/", origin, token_);
        thread_ = std::thread([this] { server_.listen_after_bind(); });
    }

    ~Impl()
    {
        for (const Shown& shown : shown_) {
            shown.film.end();
        }
        listens_.wait();  // a stop() before that would be lost
        server_.stop();
        doorkeeper_->close();
        thread_.join();
    }
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;

    [[nodiscard]] const std::string& address() const noexcept { return address_; }

  private:
    using Handled = httplib::Server::HandlerResponse;

    // Nothing is served except what is named here.
    Handled route(const httplib::Request& request, httplib::Response& response)
    {
        doorkeeper_->has_asked(request.remote_port);
        const std::string host = request.get_header_value("Host");
        if (host != fmt::format("127.0.0.1:{}", port_) &&
            host != fmt::format("localhost:{}", port_) && !is_forwarded(host)) {
            answer(response, 403, "this is not the address that the board has printed");
            return Handled::Handled;
        }
        // A program that forwards a port may replace Host by its own name, and leave Origin.
        const std::string origin = request.get_header_value("Origin");
        if (request.has_header("Origin") && origin != "http://" + host &&
            !(origin.starts_with("https://") && is_forwarded(origin.substr(8)))) {
            answer(response, 403, "only the board's own page may ask");
            return Handled::Handled;
        }
        // "/token/what"
        const std::size_t slash = request.path.find('/', 1);
        if (slash == std::string::npos ||
            !equal(std::string_view(request.path).substr(1, slash - 1), token_)) {
            answer(response, 404,
                   "the address is the one that the board has printed, to its last letter");
            return Handled::Handled;
        }
        const auto [pane, what] = divided(std::string_view(request.path).substr(slash + 1));
        response.set_header("X-Frame-Options", pane ? "SAMEORIGIN" : "DENY");
        const bool known = what.empty() || what == "frames" || what == "do";
        const std::string method = what == "do" ? "POST" : "GET";
        if (!known) {
            answer(response, 404, "there is no such page");
        } else if (request.method != method) {
            response.set_header("Allow", method);
            answer(response, 405, "this page does not take that method");
        } else if (what.empty()) {
            page(response, pane);
        } else if (what == "frames" && request.has_param("after")) {
            frames_after(request, response, shown_[pane.value_or(0)].film);
        } else if (what == "frames") {
            frames(response, shown_[pane.value_or(0)].film);
        } else {
            return command(request, response);
        }
        return Handled::Handled;
    }

    [[nodiscard]] bool is_forwarded(const std::string& name) const
    {
        return !forwarded_.empty() && name == forwarded_;
    }

    // If there are two servers, each has a page below the page around them: "0/frames" belongs to
    // the first server. After the number, paths are the same as for a single server.
    struct Divided {
        std::optional<std::size_t> pane;
        std::string what;
    };
    [[nodiscard]] Divided divided(std::string_view path) const
    {
        if (shown_.size() > 1 && path.size() > 1 && path[1] == '/' && path[0] >= '0' &&
            path[0] < static_cast<char>('0' + shown_.size())) {
            return {static_cast<std::size_t>(path[0] - '0'), std::string(path.substr(2))};
        }
        return {std::nullopt, std::string(path)};
    }

    void page(httplib::Response& response, std::optional<std::size_t> pane)
    {
        const std::string nonce = random_text();
        const bool around = shown_.size() > 1 && !pane;
        response.set_header(
            "Content-Security-Policy",
            fmt::format(
                "default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; connect-src "
                "'self'; base-uri 'none'; form-action 'none'; frame-src {1}; frame-ancestors {2}",
                nonce, around ? "'self'" : "'none'", pane ? "'self'" : "'none'"));
        response.status = 200;
        response.set_content(around
                                 ? pair_page(nonce)
                                 : live_page(stages_, nonce, pane ? fmt::format("{}", *pane) : ""),
                             "text/html; charset=utf-8");
    }

    // Server-sent events: each frame is one, for as long as a page reads.
    void frames(httplib::Response& response, Film& film)
    {
        if (viewers_.fetch_add(1) >= most_viewers) {
            --viewers_;
            answer(response, 503, "too many pages watch already; close one");
            return;
        }
        response.status = 200;
        response.set_header("Connection", "close");
        response.set_chunked_content_provider(
            "text/event-stream",
            [this, &film, shown = std::uint64_t{0}, room = Pace()](
                std::size_t, httplib::DataSink& sink) mutable {
                std::string text;
                for (const FramePointer& frame : film.after(shown, 1s)) {
                    text += fmt::format("data: {}\n\n", frame->json);
                    shown = frame->number;
                }
                if (const std::string news = news_of_room(room); !news.empty()) {
                    text += fmt::format("event: room\ndata: {}\n\n", news);
                }
                if (text.empty()) {
                    text = ": still here\n\n";  // or we would not notice that the page is gone
                }
                return !film.ended() && sink.write(text.data(), text.size());
            },
            [this](bool) { --viewers_; });
    }

    // What a page has seen of the room. It changes with every request of every phone, and is shown
    // a few times a second.
    struct Pace {
        std::uint64_t version = 0;
        std::chrono::steady_clock::time_point next;
    };
    std::string news_of_room(Pace& pace) const
    {
        const auto now = std::chrono::steady_clock::now();
        if (now < pace.next) {
            return "";
        }
        Room::State state = room_.shown(pace.version);
        pace = {state.version, now + 200ms};
        return std::move(state.json);
    }

    // The frames after this one, as soon as there are any. For a page that gets no events of a
    // stream, because a proxy holds them back.
    void frames_after(const httplib::Request& request, httplib::Response& response, Film& film)
    {
        const std::string text = request.get_param_value("after");
        std::uint64_t last = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
        if (error != std::errc() || end != text.data() + text.size()) {
            answer(response, 400, "after is the number of a frame");
            return;
        }
        std::string frames;
        for (const FramePointer& frame : film.after(last, 1s)) {
            frames += (frames.empty() ? "" : ",") + frame->json;
            last = frame->number;
        }
        response.status = film.ended() ? 503 : 200;
        Pace whole;
        response.set_content(fmt::format(R"({{"last":{},"frames":[{}],"room":{}}})", last, frames,
                                         news_of_room(whole)),
                             "application/json");
    }

    // The body has not been read yet: POST goes on to the handler below.
    Handled command(const httplib::Request& request, httplib::Response& response)
    {
        if (!request.has_header("Origin")) {
            answer(response, 403, "only the board's own page may ask");
            return Handled::Handled;
        }
        if (request.get_header_value("Content-Type") != "application/json") {
            answer(response, 415, "commands are JSON");
            return Handled::Handled;
        }
        return Handled::Unhandled;
    }

    void obey(const httplib::Request& request, httplib::Response& response)
    {
        Json command = Json::parse(request.body, nullptr, false);
        if (!command.is_object()) {
            answer(response, 400, "a command is a JSON object");
            return;
        }
        if (const std::optional<std::string> why = room_.obey(command)) {
            answer(response, why->empty() ? 200 : 409, why->empty() ? "done" : *why);
            return;
        }
        const auto [pane, what] =
            divided(std::string_view(request.path).substr(request.path.find('/', 1) + 1));
        if (shown_.size() > 1 && !pane) {
            answer(response, 409, "say which server: 0/do or 1/do");
            return;
        }
        const auto& [session, film] = shown_[pane.value_or(0)];
        std::future<std::string> done = session.submit(std::move(command));
        try {
            // A stage needs a moment to start. The session has a time limit for that.
            while (done.wait_for(100ms) != std::future_status::ready) {
                if (film.ended()) {
                    answer(response, 503, "the board has ended");
                    return;
                }
            }
            const std::string why = done.get();
            answer(response, why.empty() ? 200 : 409, why.empty() ? "done" : why);
        } catch (const std::future_error&) {
            answer(response, 503, "the board has ended");
        }
    }

    const std::vector<StageEntry>& stages_;
    const std::vector<Shown> shown_;
    Room& room_;
    const std::string token_;
    int port_ = 0;
    std::string forwarded_;  // the name under which a code space forwards the port
    std::string address_;
    std::atomic<int> viewers_{0};
    std::latch listens_{1};
    httplib::Server server_;
    std::optional<Doorkeeper> doorkeeper_;
    std::thread thread_;
};

Web::Web(std::uint16_t port, bool in_container, const std::vector<StageEntry>& stages,
         std::vector<Shown> shown, Room& room)
    : impl_(std::make_unique<Impl>(port, in_container, stages, std::move(shown), room))
{
}
Web::~Web() = default;
const std::string& Web::address() const noexcept { return impl_->address(); }

}  // namespace ground::board
