#include "suite.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>

namespace ground::test {

namespace {

// What a server that is not ours needs for a number: it may be written in a slow language.
struct Speed {
    unsigned n;
    std::chrono::nanoseconds time;
};

Speed speed_of_foreign_server()
{
    constexpr std::chrono::milliseconds visible{20};
    constexpr unsigned largest = 42;
    const Server server;
    Client client(server);
    for (unsigned n = 15; n <= largest; ++n) {
        // A busy machine takes longer, and a server that spins uses more: the smaller is right.
        constexpr int times = 3;
        auto time = std::chrono::nanoseconds::max();
        const auto cpu_before = cpu_time_with_descendants(server);
        for (int i = 0; i < times; ++i) {
            const auto start = std::chrono::steady_clock::now();
            if (client.ask(fmt::format("{}\n", n)) != fmt::format("{}", fib_fast(n))) {
                throw std::runtime_error(fmt::format("a wrong reply to {}", n));
            }
            time =
                std::min<std::chrono::nanoseconds>(time, std::chrono::steady_clock::now() - start);
        }
        if (!stage().foreign()->port) {
            time = std::min<std::chrono::nanoseconds>(
                time, (cpu_time_with_descendants(server) - cpu_before) / times);
        }
        if (time >= visible) {
            return {n, time};
        }
    }
    throw DoesNotApply(fmt::format("fib({}) takes it less than {} ms, so no request is big",
                                   largest, visible.count()));
}

const Speed& foreign_speed()
{
    static const Speed speed = speed_of_foreign_server();
    return speed;
}

}  // namespace

void require_that_some_are_big()
{
    if (stage().foreign() != nullptr) {
        static_cast<void>(foreign_speed());
    }
}

void begin_with_a_line(Client& client)
{
    if (client.ask("1\n") != "1") {
        throw std::runtime_error("a wrong reply to 1");
    }
}

LongRequest::LongRequest(std::chrono::milliseconds at_least) : n_(30)
{
    if (stage().foreign() != nullptr) {
        auto [n, time] = foreign_speed();
        for (n_ = n; time < at_least && n_ < 50; ++n_) {
            time = time * 8 / 5;
        }
        return;
    }
    // The fastest of a few, because the machine may be busy with something else.
    auto time = std::chrono::nanoseconds::max();
    for (int i = 0; i < 5; ++i) {
        const auto start = thread_cpu_time();
        [[maybe_unused]] const volatile Number number = fib(n_);
        time = std::min(time, thread_cpu_time() - start);
    }
    // One more n costs 1.6 times as much.
    while (time < at_least && n_ < 44) {
        time = time * 8 / 5;
        ++n_;
    }
}

}  // namespace ground::test
