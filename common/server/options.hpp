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

// Where workers on other machines are to be met (--pool broker, and the workers themselves).
struct BrokerOptions {
    std::string url = "amqp://guest:guest@127.0.0.1:5672";  // with the password: not for the log
    std::string queue = "ground.fib";
    bool durable = false;  // what is in the queue survives a restart of the broker
    std::chrono::microseconds timeout{10'000'000};  // how long a request waits for its answer
};

// What a server is ready to bear, in the stages that can end what they have begun.
struct Limits {
    std::chrono::microseconds idle{0};     // of a conversation, between two requests; 0: for ever
    std::chrono::microseconds request{0};  // until a request has its reply; 0: for ever
    std::size_t waiting = 10'000;          // requests that nobody has begun to compute
};

// What keeps threads apart where they share numbers, in 02d_shared_state.
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
    std::optional<unsigned> inline_below;  // in 07b_cheap_inline; nothing: what it measures
    unsigned threads = 0;    // loops, in 09_all_cores; set to the number of cores if not given
    unsigned processes = 0;  // that many loops in processes of their own instead
    std::chrono::microseconds switch_interval{5000};  // of the interpreter lock, in 02b_threads_gil
};

// What a stage says about itself in --help: its name, and what the head of its file says.
struct About {
    const char* name;
    const char* teaches;
};
extern const About about;  // of the stage that this program is; made by stages/about.cmake

// The options that only some stages have.
struct Has {
    bool pool = false;          // --pool, --workers, and what --pool broker needs
    bool gil = false;           // --switch-interval
    bool guard = false;         // --guard
    bool limits = false;        // --idle-timeout, --request-timeout, --max-waiting
    bool inline_below = false;  // --inline-below
    bool loops = false;         // --threads, --processes
};

// The options of this run; also makes the process fit to serve: as many descriptors as it may have,
// none of 0, 1 and 2 closed, SIGPIPE ignored. Does not return if there is nothing to run: after
// --help the program exits with 0, after a mistake with one line on stderr that says what to do,
// and with 2.
//
// A password on the command line is overwritten there, so that ps does not show it.
[[nodiscard]] Options parse_options(int argc, char** argv, const About& stage, Has has = {});

// The same for a worker, which is no server: it only has to find the broker and the queue.
[[nodiscard]] Options parse_worker_options(int argc, char** argv, const About& stage);

}  // namespace ground
