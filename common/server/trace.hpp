// trace.hpp -- writes what a server does into a file for ui.perfetto.dev (--trace FILE).
#pragma once

#include <cstddef>
#include <string>

namespace ground::observe {

// Forks. The child returns and is the server from now on. The parent does not return. It writes
// what happens in the server to the file. It passes SIGINT and SIGTERM on as SIGTERM, and SIGHUP as
// SIGHUP. It ends as the server has ended. If the parent is killed, so is the server. If events
// came too fast to be written, a line at the end says so ("12 events lost ..."). When the file has
// most_trace_bytes it ends, a line says so, and the server continues without it.
//
// The file is an array in Google's Trace Event Format, which chrome://tracing also reads. It has a
// track for each conversation, thread and worker. A track has a slice for each thing that was done
// or waited for. An arrow leads from each request to the worker of the pool that computes it, and
// on to the reply. The name of a client's track contains the largest number that it has asked for.
//
// If the file can't be written, the program says so in one line on stderr and ends with 1. Call
// this before there are threads or children.
inline constexpr std::size_t most_trace_bytes = 200'000'000;  // viewers are slow with more
void trace_to(const std::string& file, const std::string& stage,
              std::size_t most_bytes = most_trace_bytes);

}  // namespace ground::observe
