// start_thread.hpp -- starts a thread for a client, or for the server itself.
#pragma once

#include "common/observe/seams.hpp"
#include "common/server/log.hpp"
#include "common/server/net.hpp"
#include "common/server/options.hpp"

#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

namespace ground {

// Runs handle(client, arguments...) on a new thread, which is never joined. The arguments are
// copied, as by std::thread. To pass x itself, pass std::ref(x). If no thread can be started,
// the client gets an error, and its connection is closed.
template <typename Handle, typename... Arguments>
void start_thread(Handle handle, tcp::socket client, Arguments... arguments)
{
    // Shared: if no thread can be started, this function still needs the socket for the error.
    const auto shared = std::make_shared<tcp::socket>(std::move(client));
    try {
        std::thread([handle, shared, arguments...] {
            observe::runs_now(observe::client(*shared));
            std::invoke(handle, std::move(*shared), arguments...);
        }).detach();
    } catch (const std::exception&) {
        refuse(*shared, "server full, no more threads");
    }
}

// Starts a thread that the server needs. If that fails, it says so in one line on stderr, and
// the program exits with status 1.
template <typename Run>
[[nodiscard]] std::thread start_own_thread(const Options& options, Run run)
try {
    return std::thread(std::move(run));
} catch (const std::exception& error) {
    log("{}: can't start {} threads: {}; try fewer --threads", options.stage, options.threads,
        error.what());
    std::_Exit(EXIT_FAILURE);
}

}  // namespace ground
