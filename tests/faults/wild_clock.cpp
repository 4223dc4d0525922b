// wild_clock.cpp -- to be preloaded: at every look, the time of day jumps back and forth by years.
//
// The monotonic clocks stay as they are, because a program should wait by these.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace {

constexpr time_t year = 365L * 24 * 60 * 60;

time_t jump() noexcept
{
    static std::atomic<unsigned> looks{0};
    constexpr time_t jumps[] = {0, 30 * year, -20 * year, year, -40 * year, 1};
    return jumps[looks++ % (sizeof jumps / sizeof *jumps)];
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept
{
    const auto result = static_cast<int>(::syscall(SYS_clock_gettime, clock, time));
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        time->tv_sec += jump();
    }
    return result;
}

int gettimeofday(timeval* __restrict time, void* __restrict /*zone*/) noexcept
{
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    *time = {now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t* result) noexcept
{
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != nullptr) {
        *result = now.tv_sec;
    }
    return now.tv_sec;
}

}  // extern "C"
