#include "clients/perf/schedule.hpp"

#include <doctest/doctest.h>

using namespace ground;
using namespace std::chrono_literals;

namespace {

const Schedule::Time begin(1000s);

Schedule started(double rate)
{
    Schedule schedule(rate);
    schedule.start(begin);
    return schedule;
}

}  // namespace

TEST_CASE("schedule: nothing is due before the start, and the first request is due at once")
{
    Schedule schedule(100);
    CHECK(schedule.due(begin) == 0);
    schedule.start(begin);
    CHECK(schedule.due(begin) == 1);
    CHECK(schedule.due(begin - 1ns) == 0);
}

TEST_CASE("schedule: requests are due at equal distances, whenever they are taken")
{
    Schedule schedule = started(100);
    CHECK(schedule.take() == begin);
    CHECK(schedule.next() == begin + 10ms);
    CHECK(schedule.due(begin + 10ms - 1ns) == 0);
    CHECK(schedule.due(begin + 10ms) == 1);
    CHECK(schedule.due(begin + 95ms) == 9);  // none was taken for a while: they wait
    CHECK(schedule.take() == begin + 10ms);
    CHECK(schedule.take() == begin + 20ms);
    CHECK(schedule.due(begin + 95ms) == 7);
}

TEST_CASE("schedule: a new start empties the queue")
{
    Schedule schedule = started(100);
    CHECK(schedule.due(begin + 1s) == 101);
    schedule.start(begin + 1s);
    CHECK(schedule.due(begin + 1s) == 1);
    CHECK(schedule.take() == begin + 1s);
}

TEST_CASE("schedule: at next() a request is due and just before it none, at any rate")
{
    for (const double rate : {0.5, 3.0, 7.0, 999.0, 1e6 / 3, 9999991.0}) {
        CAPTURE(rate);
        Schedule schedule = started(rate);
        for (int i = 0; i < 100'000; ++i) {
            const bool exact =
                schedule.due(schedule.next()) == 1 && schedule.due(schedule.next() - 1ns) == 0;
            const Schedule::Time due = schedule.next();
            if (!exact || schedule.take() != due || schedule.next() <= due) {
                FAIL("request " << i);
            }
        }
    }
}

TEST_CASE("schedule: does not drift")
{
    Schedule schedule = started(3);
    for (int i = 0; i < 3 * 3600; ++i) {
        static_cast<void>(schedule.take());
    }
    CHECK(schedule.next() == begin + 1h);
}
