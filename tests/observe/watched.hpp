// watched.hpp -- a stage that is watched, and whose next steps the test decides.
#pragma once

#include "../suite.hpp"
#include "common/observe/watcher.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground::test {

namespace observe = ground::observe;

// A Watcher, and the server that it watches. Each query renews the lease.
class Watched {
  public:
    explicit Watched(const Server::Arguments& arguments = {});

    [[nodiscard]] Server& server() noexcept { return *server_; }
    [[nodiscard]] observe::Watcher& watcher() noexcept { return watcher_; }

    // What is there now, if anything: the conversation with this client, or the first that matches.
    [[nodiscard]] std::optional<observe::Seen> conversation(const Client& client);
    [[nodiscard]] std::optional<observe::Seen> find(
        const std::function<bool(const observe::Seen&)>& is_meant);

    // Waits until it is in this state, and at a line that contains this text.
    observe::Seen wait_for(const Client& client, observe::State state, std::string_view line = {});
    observe::Seen wait_for(observe::Kind kind, observe::State state, std::string_view line = {});

    // The text of the line where it is, or "" if that is not known.
    [[nodiscard]] std::string line_of(const observe::Where& where);

    // While paused: steps all, one at a time, and this conversation before others, until the
    // condition holds. Returns the lines at which it was held, one after another.
    std::vector<std::string> step_until(const Client& client,
                                        const std::function<bool()>& condition);

  private:
    observe::Seen wait_for(const std::string& who,
                           const std::function<std::optional<observe::Seen>()>& look,
                           observe::State state, std::string_view line);

    observe::Watcher watcher_;
    std::optional<Server> server_;
};

// Where the stage does what: beginnings of lines of its source, without the leading blanks.
struct Lines {
    std::string accepts;             // where it waits for a newcomer, or for any socket
    std::string receives;            // where a conversation waits for a request
    std::string computes;            // where it waits for a result, or computes it itself
    std::vector<std::string> steps;  // of a request that it has received, until it waits again
    std::optional<std::string> begins = {};  // where it waits for its first, if not as for others
};
[[nodiscard]] Lines lines();

// The state of this stage's conversations while their request is computed.
[[nodiscard]] inline observe::State computing_state()
{
    return stage().computes_by_itself() ? observe::State::computes : observe::State::awaits;
}

}  // namespace ground::test
