// load.hpp -- the load generator: epoll, any number of connections, one thread or a few.
//
// A closed loop: each connection keeps `pipeline` requests in flight, and sends the next one when a
// reply has come. Latency counts from when a request is handed to the kernel until epoll reports
// its reply.
//
// An open loop (--rate): requests are due at fixed times, and latency counts from then. A request
// that finds every connection's pipeline full waits in a queue. So a server that stalls is charged
// for all requests that were due meanwhile. A loop that starts its clock when it sends leaves them
// out; Gil Tene named that coordinated omission. The latency counted from the send is measured,
// too, for comparison.
//
// --reconnect: a new connection for each request. Sending then begins with connecting.
//
// --threads: several loops of this kind, each with its own connections (part.hpp). They begin to
// send together, when all connections of all loops are there. From then on they are independent. A
// single loop runs on the thread that has called run_load(). Several have threads of their own, and
// the caller's thread collects what they count.
#pragma once

#include "clients/perf/perf_options.hpp"
#include "clients/shared/histogram.hpp"
#include "clients/shared/target.hpp"
#include "common/server/fib.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ground {

using Clock = std::chrono::steady_clock;

// What went wrong, and how often.
struct LoadErrors {
    std::uint64_t connect = 0;     // connections that could not be made
    std::uint64_t read = 0;        // connections that broke, or that the server closed
    std::uint64_t reply = 0;       // "[Error] ..."
    std::uint64_t wrong = 0;       // replies that are neither an error nor the right number
    std::uint64_t unanswered = 0;  // requests without a reply, at the end or because of `read`
    std::string example;           // the first error, in words
};

// One interval of the run: what a line of the live view shows.
struct Interval {
    double at_s = 0;      // when it ended, counted from the beginning of the measuring
    double length_s = 0;  // how long it was
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;  // replies that were not right, connections that broke or failed
    std::uint64_t p50_ns = 0;
    std::uint64_t p99_ns = 0;
    double silence_s = 0;  // how long ago the last reply was
    bool warmup = false;   // not part of the measuring
    // With --histograms all latencies: see Histogram::buckets().
    std::vector<std::pair<std::uint64_t, std::uint64_t>> latencies_ns;

    [[nodiscard]] double rate() const noexcept { return static_cast<double>(requests) / length_s; }
};

// What was measured. Nothing before the end of the warm-up is part of it, except errors, which
// count whenever they happened.
struct LoadResult {
    double duration_s = 0;
    std::uint64_t requests = 0;  // answered rightly
    std::uint64_t bytes_read = 0;
    Histogram latency_ns;
    Histogram latency_from_send_ns;  // only in an open loop: elsewhere it is the same
    Histogram rate;                  // requests per second, sampled every tenth of a second
    std::vector<Interval> intervals;
    LoadErrors errors;
    std::uint64_t connects = 0;     // connections made meanwhile
    std::uint64_t connections = 0;  // begun since the start, without those that are to stay idle
    std::uint64_t idle_open = 0;    // idle connections that were still open at the end
    std::uint64_t idle_closed = 0;  // idle connections that the server had closed by then
    std::uint64_t unsent = 0;       // due in an open loop, but still in the queue at the end
    double longest_wait_s = 0;      // of the unsent and the unanswered requests, at the end
    std::uint64_t starved = 0;      // connections that sent a request and never had a reply
    double client_cpu_s = 0;        // user and system time of this process
    unsigned client_cpus = 1;       // how many CPUs it could have used at the same time
    bool stopped = false;           // by stop_fd

    [[nodiscard]] double rate_mean() const noexcept
    {
        return duration_s > 0 ? static_cast<double>(requests) / duration_s : 0;
    }
};

// Is told how the run goes. One call at a time. With several threads, on_reply() is called on the
// thread that has had the reply, which waits until it returns.
class LoadObserver {
  public:
    virtual ~LoadObserver() = default;
    virtual void on_interval(const Interval& interval) = 0;
    virtual void on_reply(unsigned n, Number fib, Nanoseconds latency) = 0;
};

// Runs the load until it is done, or until stop_fd is readable. `first` is a connection to the
// address, and becomes the first of all connections. Throws std::system_error if the kernel denies
// what the generator itself needs. Trouble with the server is in the result.
[[nodiscard]] LoadResult run_load(const PerfOptions& options, Connected first, int stop_fd,
                                  LoadObserver& observer);

}  // namespace ground
