// message_loop.cpp -- a queue of messages and a handler for each kind: what a window does all day.
//
// A handler must not wait, because no other message would be handled meanwhile. It starts the long
// work and returns. The end of the work is another message. (Here that comes at once. In
// 04b_callbacks it comes from epoll.)

#include <fmt/format.h>

#include <deque>
#include <functional>
#include <map>
#include <string>

namespace {

struct Message {
    std::string kind;
    std::string what;
};

}  // namespace

int main()
{
    std::deque<Message> messages{{"key", "a"}, {"click", "open"}, {"key", "b"}, {"click", "close"}};
    bool open = true;

    std::map<std::string, std::function<void(const std::string&)>> handlers;
    handlers["key"] = [](const std::string& key) { fmt::print("key {}\n", key); };
    handlers["click"] = [&](const std::string& button) {
        fmt::print("click on {}\n", button);
        messages.push_back({button == "open" ? "read" : "closed", "poem.txt"});
    };
    handlers["read"] = [](const std::string& file) { fmt::print("{} has been read\n", file); };
    handlers["closed"] = [&](const std::string& file) {
        fmt::print("{} has been closed\n", file);
        open = false;
    };

    while (open) {
        const Message message = messages.front();
        messages.pop_front();
        handlers.at(message.kind)(message.what);
    }
}
