// options.hpp -- the command line that every stage has.
#pragma once

#include "common/server/protocol.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace ground {

// Who computes, in the stages that have a pool.
enum class PoolKind { processes, threads, inline_, broker };

// How servers and workers find each other (--pool broker, and the workers themselves).
struct BrokerOptions {
    std::string url = "amqp://guest:guest@127.0.0.1:5672";  // contains the password: do not log it
    std::string queue = "ground.fib";
    bool durable = false;  // requests in the queue survive a restart of the broker
    std::chrono::microseconds timeout{10'000'000};  // how long a request waits for its reply
};

// The limits of a server, in the stages that can cancel a wait.
struct Limits {
    std::chrono::microseconds idle{0};     // between two requests of a client; 0: for ever
    std::chrono::microseconds request{0};  // until a request has its reply; 0: for ever
    std::size_t waiting = 10'000;          // requests that no worker has begun to compute
};

// What protects the numbers that threads share, in 02d_shared_state.
enum class Guard { mutex, none, atomic };

struct Options {
    std::string stage;  // "02_threads"
    std::string host = "127.0.0.1";
    std::uint16_t port = 25000;  // 0: the kernel picks a free one
    Rules rules;
    bool quiet = false;  // say nothing about single connections
    PoolKind pool = PoolKind::processes;
    Guard guard = Guard::mutex;
    unsigned workers = 0;  // set to the number of cores if not given
    Limits limits;
    BrokerOptions broker;
    std::optional<unsigned> inline_below;  // in 07b_cheap_inline; nothing: it measures
    unsigned threads = 0;    // loops, in 09_all_cores; set to the number of cores if not given
    unsigned processes = 0;  // if not 0: that many loops, each in a process of its own
    std::chrono::microseconds switch_interval{5000};  // of the interpreter lock, in 02b_threads_gil
};

// What a stage says about itself in --help: its name, and the head of its file.
struct About {
    const char* name;
    const char* teaches;
};
extern const About about;  // about this program's stage; made by stages/about.cmake

// The options that only some stages have.
struct Has {
    bool pool = false;          // --pool, --workers, and what --pool broker needs
    bool gil = false;           // --switch-interval
    bool guard = false;         // --guard
    bool limits = false;        // --idle-timeout, --request-timeout, --max-waiting
    bool inline_below = false;  // --inline-below
    bool loops = false;         // --threads, --processes
};

// Returns the options of this run. It also prepares the process: it raises the limit on
// descriptors, opens 0, 1 and 2 if they are closed, and ignores SIGPIPE. After --help it does not
// return: the program exits with 0. After a mistake the program exits with 2, and one line on
// stderr says what to do.
//
// A password on the command line is overwritten there, so that ps does not show it.
[[nodiscard]] Options parse_options(int argc, char** argv, const About& stage, Has has = {});

// The same for a worker, which only has to find the broker and the queue.
[[nodiscard]] Options parse_worker_options(int argc, char** argv, const About& stage);

}  // namespace ground
