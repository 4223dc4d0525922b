// chat.cpp -- a chat server in gevent's pattern: a green thread for each direction of each client.
//
// A line that one client sends goes to all the others. For every client one thread reads and
// another one writes, each in a short loop that waits wherever it must. Lines for a client wait in
// its queue. The queue is bounded: a client that does not read delays no other client and fills no
// memory. Lines that do not fit are dropped, and the client is told how many it has missed.
//
//     chat [PORT]        then, in some terminals: nc 127.0.0.1 25000

#include "common/green/hub.hpp"
#include "common/green/socket.hpp"
#include "common/green/tools.hpp"
#include "common/server/log.hpp"
#include "common/server/signals.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <list>
#include <string>
#include <string_view>

using namespace ground;

namespace {

constexpr std::size_t longest_line = 500;
constexpr std::size_t longest_queue = 100;

struct Client {
    green::Socket socket;
    green::Queue<std::string> lines{longest_queue};  // on their way to this client
    std::size_t missed = 0;                          // since the queue was full

    // Never waits, because the sender would wait as well.
    void tell(const std::string& line)
    {
        if (missed > 0 || !lines.try_put(line)) {
            ++missed;
        }
    }
};

using Room = std::list<Client*>;

// Ends when it is killed, or when the client has gone. read() also notices that.
void write(Client& client)
try {
    for (;;) {
        client.socket.send(client.lines.get());
        if (client.missed > 0 && client.lines.empty()) {
            client.socket.send(fmt::format("[{} lines missed]\n", client.missed));
            client.missed = 0;
        }
    }
} catch (const std::system_error& error) {
    log("{}", error.what());
}

void read(Client& client, Room& room)
{
    std::array<char, longest_line> buffer;
    std::string line;
    while (const std::size_t size = client.socket.recv(buffer)) {
        for (const char c : std::string_view(buffer.data(), size)) {
            line += c;
            if (c == '\n' || line.size() == longest_line) {
                for (Client* const other : room) {
                    if (other != &client) {
                        other->tell(line);
                    }
                }
                line.clear();
            }
        }
    }
}

void talk(green::Socket socket, Room& room)
{
    Client client{std::move(socket)};
    const green::Thread writer = green::spawn([&client] { write(client); });
    const auto place = room.insert(room.end(), &client);
    try {
        read(client, room);
    } catch (const std::system_error& error) {
        log("{}", error.what());  // the connection was lost
    }
    room.erase(place);
    writer.kill();
}

}  // namespace

int main(int argc, char** argv)
{
    Options options;
    options.stage = "chat";
    const std::string_view port = argc > 1 ? argv[1] : "25000";
    if (std::from_chars(port.begin(), port.end(), options.port).ptr != port.end() || argc > 2) {
        log("usage: chat [PORT]");
        return 2;
    }
    exit_on_signals();
    Listener listener(options);
    Room room;
    for (;;) {
        green::spawn(talk, green::accept(listener), std::ref(room));
    }
}
