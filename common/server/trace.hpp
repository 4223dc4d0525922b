// trace.hpp -- what a server did, as a file for ui.perfetto.dev and chrome://tracing (--trace
// FILE).
#pragma once

#include <cstddef>
#include <string>

namespace ground::observe {

// Forks. The child returns and is the server from now on. The parent does not return: it writes
// what happens in the server to the file, passes SIGINT and SIGTERM on, as SIGTERM, and SIGHUP as
// such, and ends as the server has ended. If the parent is killed, so is the server. What was too
// fast to be written is told of in a line at the end ("12 events lost ..."). When the file has
// become so large it gets its end, a line says so, and the server goes on without it.
//
// The file has a track for each conversation, thread and worker, with a slice for whatever somebody
// did or waited for, and an arrow from each request that went to the pool over the worker to the
// reply: an array in Google's Trace Event Format. The name of a client's track says the largest
// number that it has asked for.
//
// If the file can't be written it says so in one line on stderr and ends with 1. Call it before
// there are threads or children.
inline constexpr std::size_t most_trace_bytes = 200'000'000;  // viewers take a while for more
void trace_to(const std::string& file, const std::string& stage,
              std::size_t most_bytes = most_trace_bytes);

}  // namespace ground::observe
