// select.hpp -- select(2) as Python's select module has it: lists in, lists out.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"

#include <sys/select.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <vector>

namespace ground {

// Whether select() can wait for this descriptor. FD_SET does not check: for a larger descriptor it
// writes behind the end of the set.
[[nodiscard]] inline bool is_selectable(int fd) noexcept { return fd >= 0 && fd < FD_SETSIZE; }

struct Selected {
    std::vector<int> can_recv;
    std::vector<int> can_send;
};

// Sleeps until a descriptor in to_recv can be read or one in to_send can be written, and returns
// those that can. (The descriptors are the keys of the maps.) At every call the kernel looks at all
// of them. Throws std::out_of_range if one of them is not selectable.
template <typename Map>
[[nodiscard]] Selected select(const Map& to_recv, const Map& to_send, Here here = Here::at())
{
    observe::waits_are_for_send(to_send);
    const observe::Seam seam(observe::selects, observe::this_thread, here);
    int highest = -1;
    const auto set_of = [&highest](const Map& map) {
        fd_set set;
        FD_ZERO(&set);
        for (const auto& [fd, value] : map) {
            if (!is_selectable(fd)) {
                throw std::out_of_range("descriptor beyond FD_SETSIZE");
            }
            FD_SET(fd, &set);
            highest = std::max(highest, fd);
        }
        return set;
    };
    const auto members = [](const Map& map, const fd_set& set) {
        std::vector<int> fds;
        for (const auto& [fd, value] : map) {
            if (FD_ISSET(fd, &set)) {
                observe::is_ready(observe::client(fd));
                fds.push_back(fd);
            }
        }
        return fds;
    };
    fd_set recv_set = set_of(to_recv);
    fd_set send_set = set_of(to_send);
    while (::select(highest + 1, &recv_set, &send_set, nullptr, nullptr) == -1) {
        if (errno != EINTR) {  // a signal leaves the sets as they were
            check(-1, "select");
        }
    }
    return {members(to_recv, recv_set), members(to_send, send_set)};
}

}  // namespace ground
