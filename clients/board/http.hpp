// http.hpp -- as much of HTTP/1.1 as phones need: one request at a time, out of bytes that any
// program may have sent.
//
// cpp-httplib, which serves the board's own page, holds a thread for as long as a connection lasts
// and reads a head however long it is. For a room full of phones, both are too much. The result of
// a function here depends only on the bytes that it gets, so a test can try it with any bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ground::board {

inline constexpr std::size_t longest_head = 4096;  // with its last, empty line
inline constexpr std::size_t longest_body = 512;

struct HttpRequest {
    std::string method;
    std::string path;   // without the query
    std::string query;  // what follows the '?'
    std::string host;
    std::optional<std::string> origin;
    std::string content_type;
    std::string authorization;
    std::string body = {};
    bool keep_alive = true;
};

// Takes one request from the beginning of `received`, or says that more bytes are needed: then
// status is 0 and there is no request. A status of 400 and above ends the connection.
struct HttpRead {
    int status = 0;
    std::optional<HttpRequest> request;
    std::size_t size = 0;  // of the request in bytes
};
[[nodiscard]] HttpRead read_request(std::string_view received);

struct HttpResponse {
    int status = 200;
    std::string type = "application/json";
    std::string body = {};
    std::string policy = {};  // Content-Security-Policy; empty: nothing may be loaded
    bool close = false;
};
[[nodiscard]] std::string to_text(const HttpResponse& response, bool with_body = true);

}  // namespace ground::board
