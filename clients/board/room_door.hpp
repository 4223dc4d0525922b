// room_door.hpp -- the room's own HTTP, the only part of the board that other machines can reach.
//
// It serves one page and six requests, and knows nothing of the board's page, its token and its
// commands: those have another listener, on the loopback. It has one thread for all phones. A phone
// asks for its next state, and the reply is held back until there is one, or for some seconds. That
// costs a descriptor for each phone, and no thread. And the board notices that a phone is gone,
// because it does not ask again.
#pragma once

#include "clients/board/room.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace ground::board {

struct RoomPlace {
    std::string listen;      // the address to listen on
    std::string address;     // what phones use: the same, except in a container
    std::uint16_t port = 0;  // 0: a free one
};

// "192.0.2.7", "192.0.2.7:8080", or "": this machine's own address towards the others. In a
// container it listens on all of the container's addresses, and `address` must say which one phones
// use. Throws ClientError.
[[nodiscard]] RoomPlace room_place(const std::string& address, bool in_container);

struct RoomDoorLimits {
    std::size_t connections = 900;
    std::size_t per_address = 16;
    double requests_per_second = 40;  // from one address
    double requests_at_once = 120;
    double joins_per_second = 1;  // from one address, or one phone could take all that the room has
    double joins_at_once = 8;
    std::chrono::milliseconds to_ask{5'000};     // from the first byte of a request to its last
    std::chrono::milliseconds to_begin{15'000};  // until a connection is used, or used again
    std::chrono::milliseconds to_take{5'000};    // a reply
    std::chrono::milliseconds held{8'000};       // a reply that has nothing new to say
};

class RoomDoor {
  public:
    // Listens, opens the room, and serves from now on in a thread of its own. Throws ClientError.
    RoomDoor(Room& room, const RoomPlace& place, RoomDoorLimits limits = {});
    // Closes the room and all connections.
    ~RoomDoor();
    RoomDoor(const RoomDoor&) = delete;
    RoomDoor& operator=(const RoomDoor&) = delete;

    // "http://192.0.2.7:8080/"
    [[nodiscard]] const std::string& address() const noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ground::board
