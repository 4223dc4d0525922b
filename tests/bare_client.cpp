// bare_client.cpp -- the least that a closed-loop client on epoll can do: what perf is compared to.
//
//     bare_client PORT CONNECTIONS SECONDS     prints reqs/sec, and p50 and p99 of the latency in
//     us
//
// On purpose without any code of ours, without checks, and for fib(1) only. What counts is what
// perf counts: a request that was sent after the first 100 ms, in which the server may still be
// accepting, and whose reply came before the end; latency is the time from just before its send to
// the return of the epoll_wait that saw the reply. One clock reading for each batch of events is
// not enough for that: a full client would find in the server's latency how long it had itself been
// busy with the rest of the batch. The reading for each send costs some 30 ns of several
// microseconds.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

double now()  // in seconds
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
        std::perror("bare_client: connect");
        std::exit(EXIT_FAILURE);
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

struct Connection {
    int fd = -1;
    double sent = 0;

    bool ask()
    {
        sent = now();
        return ::send(fd, "1\n", 2, MSG_NOSIGNAL) == 2;
    }
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 4) {
        std::fprintf(stderr, "usage: bare_client PORT CONNECTIONS SECONDS\n");
        return 2;
    }
    std::vector<Connection> connections(static_cast<std::size_t>(std::atoi(argv[2])));
    const int epoll = ::epoll_create1(0);
    for (Connection& connection : connections) {
        connection.fd = connect_to(std::atoi(argv[1]));
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &connection;
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, connection.fd, &event);
    }
    // A ring of the last four million; all of it written to now, and not by a page fault then.
    std::vector<float> latencies(1U << 22U);
    std::size_t requests = 0;
    const double begin = now() + 0.1;
    const double end = begin + std::atof(argv[3]);
    double time = now();
    for (Connection& connection : connections) {
        connection.ask();
    }
    while (time < end) {
        epoll_event events[64];
        const int ready = ::epoll_wait(epoll, events, 64, 100);
        time = now();
        for (int i = 0; i < ready; ++i) {
            Connection& connection = *static_cast<Connection*>(events[i].data.ptr);
            if (connection.sent >= begin && time <= end) {
                latencies[requests++ % latencies.size()] =
                    static_cast<float>(time - connection.sent);
            }
            char reply[100];
            if (::recv(connection.fd, reply, sizeof reply, 0) <= 0 || !connection.ask()) {
                std::fprintf(stderr, "bare_client: the server closed a connection\n");
                return EXIT_FAILURE;
            }
        }
    }
    latencies.resize(std::min(requests, latencies.size()));
    std::sort(latencies.begin(), latencies.end());
    const auto percentile = [&](std::size_t percent) {
        return latencies.empty() ? 0 : 1e6 * latencies[latencies.size() * percent / 100];
    };
    std::printf("%.0f %.1f %.1f\n", static_cast<double>(requests) / (end - begin), percentile(50),
                percentile(99));
    return EXIT_SUCCESS;
}
