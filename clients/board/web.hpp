// web.hpp -- the board's page, served to the browsers of this machine and to nobody else.
//
// Whoever may use it can start programs. So it listens on the loopback alone, its address holds a
// token that nobody can guess, and what a browser says of where it comes from (Host, Origin) must
// be this page itself: a page of somebody else's that is open in the same browser gets nothing.
#pragma once

#include "clients/board/film.hpp"
#include "clients/board/session.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace ground::board {

class Web {
  public:
    // Listens on this port, or on a free one if it is 0, and serves from now on, in threads of its
    // own. Throws ClientError.
    Web(std::uint16_t port, const std::vector<StageEntry>& stages, Session& session, Film& film);
    // Ends the film: whoever watches is done.
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
