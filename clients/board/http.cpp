#include "clients/board/http.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

namespace ground::board {

namespace {

std::string_view trimmed(std::string_view text)
{
    const auto blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && blank(text.front())) {
        text.remove_prefix(1);
    }
    while (!text.empty() && blank(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

std::string lower(std::string_view text)
{
    std::string result(text);
    for (char& c : result) {
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
    return result;
}

bool printable(std::string_view text)
{
    return std::all_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte >= ' ' && byte != 0x7f) || byte == '\t';
    });
}

// "GET /path?query HTTP/1.1"
bool read_first_line(std::string_view line, HttpRequest& request)
{
    const std::size_t first = line.find(' ');
    const std::size_t second = line.rfind(' ');
    if (first == std::string_view::npos || first == second) {
        return false;
    }
    const std::string_view target = line.substr(first + 1, second - first - 1);
    const std::string_view version = line.substr(second + 1);
    if ((version != "HTTP/1.1" && version != "HTTP/1.0") || !target.starts_with('/') ||
        target.find(' ') != std::string_view::npos) {
        return false;
    }
    request.method = line.substr(0, first);
    const std::size_t mark = std::min(target.find('?'), target.size());
    request.path = target.substr(0, mark);
    request.query = target.substr(std::min(mark + 1, target.size()));
    request.keep_alive = version == "HTTP/1.1";
    return true;
}

std::string_view words_for(int status)
{
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 501:
            return "Not Implemented";
        default:
            return "Service Unavailable";
    }
}

}  // namespace

HttpRead read_request(std::string_view received)
{
    const auto refuse = [](int status) { return HttpRead{status, std::nullopt, 0}; };
    const std::size_t end = received.substr(0, longest_head).find("\r\n\r\n");
    if (end == std::string_view::npos) {
        return refuse(received.size() < longest_head ? 0 : 431);
    }
    std::string_view head = received.substr(0, end + 2);
    HttpRequest request;
    std::size_t length = 0;
    bool first = true;
    bool host = false;
    bool sized = false;
    while (!head.empty()) {
        const std::size_t size = head.find("\r\n");
        const std::string_view line = head.substr(0, size);
        head.remove_prefix(size + 2);
        if (!printable(line)) {
            return refuse(400);
        }
        if (std::exchange(first, false)) {
            if (!read_first_line(line, request)) {
                return refuse(400);
            }
            continue;
        }
        const std::size_t colon = line.find(':');
        // A line that begins with a blank continues the one before. Proxies disagree about these.
        if (colon == std::string_view::npos || colon == 0 || line.front() == ' ' ||
            line.front() == '\t' || line[colon - 1] == ' ' || line[colon - 1] == '\t') {
            return refuse(400);
        }
        const std::string name = lower(line.substr(0, colon));
        const std::string_view value = trimmed(line.substr(colon + 1));
        if (name == "host") {
            if (std::exchange(host, true)) {
                return refuse(400);
            }
            request.host = value;
        } else if (name == "origin") {
            if (request.origin) {
                return refuse(400);
            }
            request.origin = value;
        } else if (name == "content-type") {
            request.content_type = value;
        } else if (name == "authorization") {
            request.authorization = value;
        } else if (name == "connection") {
            const std::string wish = lower(value);
            request.keep_alive =
                wish.find("close") == std::string::npos &&
                (request.keep_alive || wish.find("keep-alive") != std::string::npos);
        } else if (name == "transfer-encoding" || name == "upgrade") {
            return refuse(501);
        } else if (name == "expect") {
            return refuse(400);  // no browser waits for a 100 before it sends so little
        } else if (name == "content-length") {
            const auto [last, error] =
                std::from_chars(value.data(), value.data() + value.size(), length);
            if (error == std::errc::result_out_of_range) {
                return refuse(413);
            }
            if (std::exchange(sized, true) || error != std::errc() ||
                last != value.data() + value.size()) {
                return refuse(400);
            }
        }
    }
    if (length > longest_body) {
        return refuse(413);
    }
    const std::size_t size = end + 4 + length;
    if (received.size() < size) {
        return refuse(0);
    }
    request.body = received.substr(end + 4, length);
    return {200, std::move(request), size};
}

std::string to_text(const HttpResponse& response, bool with_body)
{
    std::string text = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
        "X-Frame-Options: DENY\r\nCross-Origin-Resource-Policy: same-origin\r\n"
        "Cross-Origin-Opener-Policy: same-origin\r\nContent-Security-Policy: {}\r\n"
        "Connection: {}\r\n\r\n",
        response.status, words_for(response.status), response.type, response.body.size(),
        response.policy.empty() ? "default-src 'none'" : response.policy,
        response.close ? "close" : "keep-alive");
    return with_body ? text + response.body : text;
}

}  // namespace ground::board
