// bare_client.cpp -- the least that a closed-loop client on epoll can do: perf is compared to it.
//
//     bare_client PORT CONNECTIONS SECONDS    prints reqs/sec, and p50 and p99 in microseconds
//
// On purpose without any code of ours and without checks. It counts the same requests as perf:
// those sent after the first 100 ms, in which the server may still be accepting, and answered
// before the end. Latency is the time from just before the send to the return of the epoll_wait
// that saw the reply. That takes a clock reading for each send, some 25 ns of several microseconds.
// With one reading for each batch of events, the server's latency would include the time that this
// client spends on the other events of a batch.

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

struct Connection {
    int fd = -1;
    double sent = 0;  // when its request was

    bool open(int port)
    {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<in_port_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const int on = 1;
        fd = ::socket(AF_INET, SOCK_STREAM, 0);
        return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
               ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
    }
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
        epoll_event event{EPOLLIN, {.ptr = &connection}};
        if (!connection.open(std::atoi(argv[1])) ||
            ::epoll_ctl(epoll, EPOLL_CTL_ADD, connection.fd, &event) != 0 || !connection.ask()) {
            std::perror("bare_client: cannot connect");
            return EXIT_FAILURE;
        }
    }
    // A ring of the last four million. Its pages are touched before the clock starts.
    std::vector<double> latencies(1U << 22U);
    std::size_t requests = 0;
    const double begin = now() + 0.1;
    const double end = begin + std::atof(argv[3]);
    for (double time = now(); time < end;) {
        epoll_event events[64];
        const int ready = ::epoll_wait(epoll, events, 64, 100);
        time = now();
        for (int i = 0; i < ready; ++i) {
            Connection& connection = *static_cast<Connection*>(events[i].data.ptr);
            if (connection.sent >= begin && time < end) {
                latencies[requests++ % latencies.size()] = time - connection.sent;
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
    const auto percentile_us = [&](std::size_t percent) {
        return latencies.empty() ? 0 : 1e6 * latencies[latencies.size() * percent / 100];
    };
    std::printf("%.0f %.1f %.1f\n", static_cast<double>(requests) / (end - begin),
                percentile_us(50), percentile_us(99));
    return EXIT_SUCCESS;
}
