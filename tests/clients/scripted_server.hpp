// scripted_server.hpp -- a server that does what a test tells it to, right or wrong.
#pragma once

#include "common/base/descriptor.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace ground {

// One connection, seen from the server. Everything blocks.
class Peer {
  public:
    Peer(Descriptor socket, std::size_t number) : socket_(std::move(socket)), number_(number) {}

    // How many connections have come before this one.
    [[nodiscard]] std::size_t number() const noexcept { return number_; }

    // The next line, without its LF. Nothing at the end.
    [[nodiscard]] std::optional<std::string> line();

    // Whatever comes next. Empty at the end.
    [[nodiscard]] std::string bytes();

    void send(std::string_view text);
    void hang_up();  // now, not when the script returns
    void reset();    // the connection ends with RST, not FIN, when the script returns

  private:
    friend class ScriptedServer;

    Descriptor socket_;
    std::size_t number_;
    std::string buffer_;
};

// Runs the script for each connection, in a thread of its own. When it returns, the connection is
// closed. The script must not assert, because it is not on the test's thread.
class ScriptedServer {
  public:
    using Script = std::function<void(Peer&)>;

    explicit ScriptedServer(Script script);
    ~ScriptedServer();
    ScriptedServer(const ScriptedServer&) = delete;
    ScriptedServer& operator=(const ScriptedServer&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    [[nodiscard]] std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  private:
    struct Client {
        Peer peer;
        std::thread thread;
    };

    void serve();

    Script script_;
    Descriptor listener_;
    std::uint16_t port_ = 0;
    std::mutex mutex_;
    bool stopping_ = false;      // guarded by mutex_
    std::list<Client> clients_;  // guarded by mutex_, as is the closing of their sockets
    std::thread thread_;
};

// Answers every number correctly and ignores blank lines, as a stage does. Sends no [Error]s.
void answer(Peer& peer);

// A port on which nothing listens. It is taken, so that no other program can listen there.
class DeafPort {
  public:
    DeafPort();
    [[nodiscard]] std::string number() const { return std::to_string(port_); }

  private:
    Descriptor socket_;
    std::uint16_t port_;
};

}  // namespace ground
