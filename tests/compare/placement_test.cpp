// Which program runs where, on machines that the other tests don't run on.

#include "clients/compare/measure/bench.hpp"

#include <doctest/doctest.h>

using namespace ground;

using Cpus = std::vector<int>;

TEST_CASE("placement: the clients get half of the CPUs, and perf a thread for each of these")
{
    const Placement two = place(Pin::apart, {0, 1});
    CHECK(two.server == Cpus{0});
    CHECK(two.client == Cpus{1});
    CHECK(two.client_threads == 1);
    const Placement three = place(Pin::apart, {0, 1, 2});
    CHECK(three.server == Cpus{0, 1});
    CHECK(three.client == Cpus{2});
    CHECK(three.client_threads == 1);
    const Placement eight = place(Pin::apart, {0, 1, 2, 3, 4, 5, 6, 9});
    CHECK(eight.server == Cpus{0, 1, 2, 3});
    CHECK(eight.client == Cpus{4, 5, 6, 9});
    CHECK(eight.client_threads == 4);
    CHECK(eight.words == "server on CPUs 0,1,2,3, clients on CPUs 4,5,6,9");
}

TEST_CASE("placement: if there is a single CPU, or if --pin together is given, both share it")
{
    for (const Placement& placement : {place(Pin::apart, {3}), place(Pin::together, {1, 2, 3})}) {
        CHECK(placement.server == Cpus{3});
        CHECK(placement.client == Cpus{3});
        CHECK(placement.client_threads == 1);
    }
}

TEST_CASE("placement: without pinning, perf also leaves CPUs to the server")
{
    const Placement placement = place(Pin::off, {0, 1, 2, 3});
    CHECK(placement.server.empty());
    CHECK(placement.client.empty());
    CHECK(placement.client_threads == 2);
}
