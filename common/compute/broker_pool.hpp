// broker_pool.hpp -- the pool as a queue at a broker, from which workers on any machine take.
//
//     server ──── request ────> queue ────> 10_worker     on this machine
//       ^                                   10_worker     on another one
//       └── reply ── broker <── reply ──────┘
//
// The server knows no worker, and no worker a server. A request carries the address that its answer
// goes to (reply_to) and a number that the answer repeats (correlation_id).
//
// What is promised:
// - Each future completes, --broker-timeout after submit() at the latest: with the number, or with
//   an error that says what is wrong.
// - A request may be computed more than once: a worker that dies after it has computed, and before
//   it has acknowledged, leaves it to another one. fib() does not mind. The first answer counts.
// - When the connection is lost, what is under way fails at once: nobody can know whether it
//   arrived, or whether its answer is lost. What has not been sent yet waits for the next
//   connection.
//
// waiting() counts only what has not been sent yet: no more than 1,024 requests are in the queue or
// with workers, and how many of those nobody has begun only the broker knows. So a server that
// refuses by waiting() (--max-waiting) begins to refuse so many requests later than with the other
// pools. Future::cancel() takes back the same ones that waiting() counts.
#pragma once

#include "common/compute/pool.hpp"

#include <memory>

namespace ground {

// Throws nothing: if there is no broker, or it does not want us, says so in one line and exits with
// 1. Starts threads.
[[nodiscard]] std::unique_ptr<Pool> make_broker_pool(const Options& options);

}  // namespace ground
