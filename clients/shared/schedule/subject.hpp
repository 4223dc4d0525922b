// subject.hpp -- the server that is scheduled: a stage or a wrong turn, with its options.
#pragma once

#include "clients/shared/catalogue.hpp"
#include "clients/shared/schedule/schedule_file.hpp"
#include "clients/shared/schedule/source.hpp"
#include "clients/shared/schedule/story.hpp"

#include <string>
#include <vector>

namespace ground::explore {

// A server, and what is known of it.
struct Subject {
    Server server;
    StageEntry stage;
    Source source;
    bool counts = false;
    std::string story;  // the one to play, unless another one is asked for
};

// `directory` is that of the stages. `options` come after those that a wrong turn has. A stage that
// computes in a pool gets one worker, a thread, and a stage with several loops gets one, unless the
// options say otherwise: with more, the kernel decides which of them takes a request or a client.
// Throws ClientError if there is no such stage or wrong turn, or if it is not built.
[[nodiscard]] Subject find_subject(const std::string& directory, const std::string& name,
                                   bool wrong, const std::vector<std::string>& options);

// A program of one's own that is built on common/, started by this command, with the options of a
// stage for a server of its kind. `as` is the stage that it is like, or empty. Throws ClientError
// if there is no such stage, if it does not start, or if it is not built on common/.
[[nodiscard]] Subject own_subject(const std::string& directory, const std::string& as,
                                  std::vector<std::string> command);

// That of a schedule that was read from `file`. Throws ClientError also if the source has changed.
[[nodiscard]] Subject find_subject(const std::string& directory, const ScheduleFile& schedule,
                                   const std::string& file);

// The story of this name; without one, those that are explored by default. Throws ClientError if
// there is no such story.
[[nodiscard]] std::vector<Story> choose_stories(const Subject& subject, const std::string& name);

}  // namespace ground::explore
