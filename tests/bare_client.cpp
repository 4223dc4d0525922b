// bare_client.cpp -- the least that a closed-loop client on epoll can do: what perf is compared to.
//
// On purpose without any code of ours, without checks and without statistics.
//
//     bare_client PORT CONNECTIONS SECONDS        prints requests per second

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

double now()
{
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

int connect_to(int port)
{
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<in_port_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        std::perror("connect");
        std::exit(EXIT_FAILURE);
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 4) {
        std::fprintf(stderr, "usage: bare_client PORT CONNECTIONS SECONDS\n");
        return 2;
    }
    const int connections = std::atoi(argv[2]);
    const int epoll = ::epoll_create1(0);
    for (int i = 0; i < connections; ++i) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = connect_to(std::atoi(argv[1]));
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        if (::send(event.data.fd, "1\n", 2, MSG_NOSIGNAL) != 2) {
            return EXIT_FAILURE;
        }
    }
    long requests = 0;
    const double begin = now();
    double end = begin;
    const double until = begin + std::atof(argv[3]);
    while (end < until) {
        epoll_event events[64];
        const int ready = ::epoll_wait(epoll, events, 64, 100);
        end = now();
        for (int i = 0; i < ready; ++i) {
            char reply[100];
            if (::recv(events[i].data.fd, reply, sizeof reply, 0) <= 0 ||
                ::send(events[i].data.fd, "1\n", 2, MSG_NOSIGNAL) != 2) {
                return EXIT_FAILURE;
            }
            ++requests;
        }
    }
    std::printf("%.0f\n", static_cast<double>(requests) / (end - begin));
    return EXIT_SUCCESS;
}
