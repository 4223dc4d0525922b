// crowd.hpp -- the clients that the board makes. They talk to the stage over plain sockets, like
// any other client.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground::board {

// The kinds of clients. They differ only in how they ask.
enum class Role {
    client,  // a small request, and then it thinks for half a second
    hog,     // one big request after another
    idle,    // connects, and says nothing
    hand,    // asks what a person types
    phone,   // asks when its phone says so: see room.hpp
};
inline constexpr std::array<std::string_view, 5> role_names{"client", "hog", "idle", "hand",
                                                            "phone"};
inline constexpr unsigned small_request = 20;
inline constexpr unsigned big_request = 42;
inline constexpr std::size_t most_clients = 1000;

struct ClientSeen {
    unsigned number = 0;  // counts up from 1; a client keeps it when the stage changes
    Role role = Role::client;
    std::uint16_t port = 0;  // of its end of the connection; 0: it has none
};

// A line of the conversation by hand.
struct Line {
    unsigned number = 0;  // of the client
    bool reply = false;
    std::string text;
    double milliseconds = 0;  // how long a reply took
};

// What has happened since the last take(), and how things stand.
struct Tally {
    std::vector<ClientSeen> changed;
    std::vector<unsigned> gone;
    std::vector<Line> lines;
    std::vector<double> latencies;   // of the replies to small requests, in milliseconds
    std::size_t clients = 0;         // now, with and without a connection
    std::size_t waiting = 0;         // for a reply
    double longest_wait_so_far = 0;  // for a small request's reply, in milliseconds
};

// Told what the server has replied to a phone, or that the connection has ended instead.
using PhoneListener = std::function<void(const Line&)>;

// All clients run in one thread. Any other thread may call the functions.
class Crowd {
  public:
    Crowd();
    ~Crowd();
    Crowd(const Crowd&) = delete;
    Crowd& operator=(const Crowd&) = delete;

    // All clients leave their connections, and connect to this port of the loopback. 0: there is no
    // server.
    void aim(std::uint16_t port);
    // Returns how many have come: fewer than asked for if there would be more than most_clients.
    std::size_t come(Role role, std::size_t count);
    // Sends a request by hand, from the client that was last made for this, or from a new one.
    bool ask(const std::string& text);
    // This client leaves, or the one that came last. False if there is none. Phones stay, unless
    // one is named.
    bool leave(std::optional<unsigned> number);
    void all_leave();

    // A client for a phone: its number, or nothing if there are too many clients.
    std::optional<unsigned> phone_comes();
    // Sends this request as soon as there is a connection. The caller waits for the reply before it
    // calls this again.
    void phone_asks(unsigned number, unsigned n);
    // Called on the crowd's thread, without a lock. When this returns, the previous listener is no
    // longer called.
    void listen_to_phones(PhoneListener listener);

    [[nodiscard]] Tally take();
    // All clients, for a viewer that has not seen the changes.
    [[nodiscard]] std::vector<ClientSeen> all() const;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ground::board
