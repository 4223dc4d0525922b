#include "clients/shared/schedule/story.hpp"

#include "common/server/fib.hpp"

#include <fmt/format.h>

namespace ground::explore {

namespace {

std::string line(unsigned n) { return std::to_string(fib_fast(n)); }

// Sends all of these numbers at once.
Guest asks(const std::vector<unsigned>& numbers)
{
    Guest guest;
    std::string text;
    for (const unsigned n : numbers) {
        text += fmt::format("{}{}", text.empty() ? "" : "\n", n);
        guest.replies.push_back(line(n));
    }
    guest.doings.push_back({Doing::Kind::sends, text, 0});
    return guest;
}

// Sends a number, and the next one when it has the reply.
Guest asks_in_turn(const std::vector<unsigned>& numbers)
{
    Guest guest;
    for (const unsigned n : numbers) {
        guest.doings.push_back({Doing::Kind::sends, std::to_string(n), guest.replies.size()});
        guest.replies.push_back(line(n));
    }
    return guest;
}

// It may have its reply before it leaves.
Guest asks_and_leaves(unsigned n)
{
    return {{{Doing::Kind::sends, std::to_string(n), 0}, {Doing::Kind::leaves, "", 0}}, {line(n)}};
}

Guest asks_at_the_end(const std::string& question, const std::string& answer,
                      const std::string& promise)
{
    return {{{Doing::Kind::sends, question, 0}}, {answer}, promise};
}

}  // namespace

std::vector<Story> stories_for(const StageEntry& stage, bool counts)
{
    std::vector<Story> stories{
        {"two", "two clients ask for one number each", {asks({7}), asks({8})}},
        {"same", "two clients ask for the same number", {asks({7}), asks({7})}},
        {"twice", "two clients ask for two numbers each", {asks({7, 8}), asks({9, 10})}},
        {"turns",
         "two clients ask for two numbers each, the second when they have the first",
         {asks_in_turn({7, 8}), asks_in_turn({9, 10})}},
        {"three", "three clients ask for one number each", {asks({7}), asks({8}), asks({9})}},
        {"leaves",
         "one client asks and leaves, the other one asks and waits",
         {asks_and_leaves(7), asks({8})}},
    };
    // A server of which nothing is known may serve one client at a time.
    const bool one_at_a_time = stage.model == "one client at a time" || stage.model.empty();
    for (Story& story : stories) {
        std::size_t requests = 0;
        for (Guest& guest : story.guests) {
            requests += guest.replies.size();
            if (one_at_a_time && guest.doings.back().kind != Doing::Kind::leaves) {
                guest.doings.push_back({Doing::Kind::leaves, "", guest.replies.size()});
            }
        }
        // A request of a client that has left may be counted or not.
        if (counts && story.name != "leaves") {
            story.guests.push_back(asks_at_the_end("count", std::to_string(requests),
                                                   "every request that was answered is counted"));
        } else {
            story.guests.push_back(asks_at_the_end("5", "5", "afterwards a newcomer is answered"));
        }
    }
    return stories;
}

}  // namespace ground::explore
