// sleeps_before_replies.cpp -- 02, but each reply comes after a while. Keeps its promises.
//
// Changed since 02_threads: a thread sleeps before it sends. No step of another thread wakes it.
// Buys:   nothing.
// Costs:  time.

#include "common/server/net.hpp"

#include <chrono>
#include <string_view>
#include <thread>

static void send_later(ground::tcp::socket& client, std::string_view text)
{
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ground::send(client, text);
}

#define send send_later
#include "stages/02_threads.cpp"
