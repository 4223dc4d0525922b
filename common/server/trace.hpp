// trace.hpp -- what a server did, as a file for ui.perfetto.dev and chrome://tracing (--trace
// FILE).
#pragma once

#include <string>

namespace ground::observe {

// Forks. The child returns and is the server from now on. The parent does not return: it writes
// what happens in the server to the file, passes SIGINT and SIGTERM on, as SIGTERM, and ends as the
// server has ended. If the parent is killed, so is the server. What was too fast to be written is
// told of in a line at the end ("12 events lost ...").
//
// The file has a track for each conversation, thread and worker, with a slice for whatever somebody
// did or waited for, and an arrow from each request that went to the pool over the worker to the
// reply: an array in Google's Trace Event Format.
//
// If the file can't be written it says so in one line on stderr and ends with 1. Call it before
// there are threads or children.
void trace_to(const std::string& file, const std::string& stage);

}  // namespace ground::observe
