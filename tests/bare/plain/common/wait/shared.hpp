// The standard library's types under the names of common/wait/shared.hpp, without seams: to measure
// what these cost. Found before the other one by seams_05, which is 05_futures otherwise.
#pragma once

#include <mutex>

namespace ground {

using Mutex = std::mutex;

class [[nodiscard]] Lock : public std::unique_lock<std::mutex> {
  public:
    explicit Lock(Mutex& mutex) : std::unique_lock<std::mutex>(mutex) {}
};

}  // namespace ground
