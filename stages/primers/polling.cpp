// polling.cpp -- how to learn of a click: look all the time, look now and then, or be called.

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <functional>
#include <string_view>
#include <thread>

using namespace std::chrono_literals;

namespace {

// Runs a way to wait for a click, which comes after 0.3 s. `wait` returns how often it has looked
// in vain.
void watch(std::string_view way, std::function<long(std::atomic<bool>&)> wait)
{
    std::atomic<bool> clicked = false;
    std::thread user([&] {
        std::this_thread::sleep_for(300ms);
        clicked = true;
        clicked.notify_one();
    });
    const std::clock_t start = std::clock();
    const long looks = wait(clicked);
    const double cpu = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    fmt::print("{}: looked {} times in vain, {:.2f} s of CPU\n", way, looks, cpu);
    user.join();
}

}  // namespace

int main()
{
    watch("all the time", [](std::atomic<bool>& clicked) {
        long looks = 0;
        for (; !clicked; ++looks) {
        }
        return looks;
    });
    watch("now and then", [](std::atomic<bool>& clicked) {
        long looks = 0;
        for (; !clicked; ++looks) {
            std::this_thread::sleep_for(100ms);  // may learn of it that much later
        }
        return looks;
    });
    watch("be called", [](std::atomic<bool>& clicked) {
        clicked.wait(false);
        return 0L;
    });
}
