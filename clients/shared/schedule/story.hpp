// story.hpp -- what the clients do while explore chooses each step, and what must hold then.
#pragma once

#include "clients/shared/catalogue.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ground::explore {

// One thing that a client does.
struct Doing {
    enum class Kind { sends, leaves } kind = Kind::sends;
    std::string text;               // what it sends, without the line ends at the end
    std::size_t after_replies = 0;  // it waits for so many replies before
};

struct Guest {
    std::vector<Doing> doings;
    std::vector<std::string> replies;  // that are promised, in this order
    // It connects when all the others have their replies. If it is not answered as promised, this
    // promise is broken.
    std::string promise = {};

    [[nodiscard]] bool is_last() const noexcept { return !promise.empty(); }
};

struct Story {
    std::string name;
    std::string about;  // "two clients ask for one number each"
    std::vector<Guest> guests;
};

// All stories, as they are for this stage. If the stage counts its requests, a newcomer asks for
// the count at the end. The first `by_default` stories are played unless one is named.
[[nodiscard]] std::vector<Story> stories_for(const StageEntry& stage, bool counts);
inline constexpr std::size_t by_default = 2;

}  // namespace ground::explore
