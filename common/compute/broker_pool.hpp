// broker_pool.hpp -- the pool as a queue at a broker, from which workers on any machine take
// requests.
//
//     server ──── request ────> queue ────> 10_worker     on this machine
//       ^                                   10_worker     on another one
//       └── reply ── broker <── reply ──────┘
//
// A server knows no worker, and a worker knows no server. A request carries the address for its
// reply (reply_to) and a number that the reply repeats (correlation_id).
//
// What is promised:
// - Each future completes, --broker-timeout after submit() at the latest: with the number, or with
//   an error that says what is wrong.
// - A request may be computed more than once. If a worker dies after computing and before its
//   acknowledgement, another worker gets the request. fib() has no effects, so that does no harm.
//   The first reply counts.
// - When the connection is lost, all requests that have been sent fail at once: the server can't
//   know whether they arrived, or whether their replies are lost. Requests that have not been sent
//   yet wait for the next connection.
//
// waiting() counts only requests that have not been sent yet. Up to 1,024 other requests are in the
// queue or with workers, and only the broker knows how many of those have not been begun. So a
// server that refuses by waiting() (--max-waiting) refuses 1,024 requests later than with the other
// pools. Future::cancel() takes back the same requests that waiting() counts.
#pragma once

#include "common/compute/pool.hpp"

#include <memory>

namespace ground {

// Throws nothing. If there is no broker, or the broker refuses us, the program says so in one line
// and exits with 1. Starts threads.
[[nodiscard]] std::unique_ptr<Pool> make_broker_pool(const Options& options);

}  // namespace ground
