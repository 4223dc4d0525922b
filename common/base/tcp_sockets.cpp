#include "common/base/tcp_sockets.hpp"

#include "common/base/descriptor.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

namespace ground {

namespace {

struct Request {
    nlmsghdr header{};
    inet_diag_req_v2 wanted{};
};

// Appends what one answer holds. Returns whether there are more answers.
bool take(const char* answer, std::size_t size, std::vector<TcpSocket>& sockets)
{
    while (size >= sizeof(nlmsghdr)) {
        nlmsghdr header{};
        std::memcpy(&header, answer, sizeof header);
        if (header.nlmsg_type != SOCK_DIAG_BY_FAMILY || header.nlmsg_len > size ||
            header.nlmsg_len < NLMSG_HDRLEN + sizeof(inet_diag_msg)) {
            return false;  // the end, or an error
        }
        inet_diag_msg socket{};
        std::memcpy(&socket, answer + NLMSG_HDRLEN, sizeof socket);
        sockets.push_back({ntohs(socket.id.idiag_sport), ntohs(socket.id.idiag_dport),
                           socket.idiag_rqueue, socket.idiag_inode});
        const std::size_t step = std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), size);
        answer += step;
        size -= step;
    }
    return true;
}

}  // namespace

std::vector<TcpSocket> tcp_sockets(std::uint16_t local_port, unsigned states)
{
    std::vector<TcpSocket> sockets;
    const Descriptor kernel(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    for (const auto family : {AF_INET, AF_INET6}) {
        Request request;
        request.header.nlmsg_len = sizeof request;
        request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
        request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        request.wanted.sdiag_family = static_cast<std::uint8_t>(family);
        request.wanted.sdiag_protocol = IPPROTO_TCP;
        request.wanted.idiag_states = states;
        request.wanted.id.idiag_sport = htons(local_port);
        if (::send(kernel.get(), &request, sizeof request, 0) == -1) {
            break;
        }
        std::array<char, 32 * 1024> answer;  // the kernel does not send more at once
        ssize_t size = 0;
        do {
            size = ::recv(kernel.get(), answer.data(), answer.size(), 0);
        } while (size > 0 && take(answer.data(), static_cast<std::size_t>(size), sockets));
    }
    return sockets;
}

}  // namespace ground
