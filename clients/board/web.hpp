// web.hpp -- the board's page, served only to the browsers of this machine.
//
// The page can start programs. So the board listens on the loopback alone, and the page's address
// contains a token that can't be guessed. A request must say that it comes from this page itself
// (Host, Origin). Another page that is open in the same browser gets nothing.
//
// In a container "this machine" is the one outside, whose port is forwarded. There the board
// listens on all addresses, and everything else stays as it is. A code space forwards under a name
// of its own. The environment gives this name, and requests to exactly this name are accepted, too.
#pragma once

#include "clients/board/film.hpp"
#include "clients/board/room.hpp"
#include "clients/board/session.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace ground::board {

// What the page shows: a server and its film, or two of them side by side.
struct Shown {
    Session& session;
    Film& film;
};

class Web {
  public:
    // Listens on this port, or on a free one if it is 0, and serves from now on, in threads of its
    // own. Throws ClientError.
    Web(std::uint16_t port, bool in_container, const std::vector<StageEntry>& stages,
        std::vector<Shown> shown, Room& room);
    // Ends the films, and so the replies to the pages that watch.
    ~Web();
    Web(const Web&) = delete;
    Web& operator=(const Web&) = delete;

    // "http://127.0.0.1:41234/0123456789abcdef0123456789abcdef/"
    [[nodiscard]] const std::string& address() const noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ground::board
