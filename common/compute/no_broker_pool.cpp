// no_broker_pool.cpp -- in place of broker_pool.cpp if CMake has not found librabbitmq.
#include "common/compute/broker_pool.hpp"
#include "common/server/log.hpp"

#include <cstdlib>

namespace ground {

std::unique_ptr<Pool> make_broker_pool(const Options& options)
{
    log("{}: built without librabbitmq, so there is no --pool broker; apt-get install "
        "librabbitmq-dev, then configure and build again",
        options.stage);
    std::exit(EXIT_FAILURE);
}

}  // namespace ground
