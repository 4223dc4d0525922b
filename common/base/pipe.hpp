// pipe.hpp -- both ends of a pipe. Programs that this one starts do not inherit them.
#pragma once

#include "common/base/descriptor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>

namespace ground {

struct Pipe {
    Descriptor read_end;
    Descriptor write_end;

    // Throws std::system_error if there are no descriptors left.
    Pipe()
    {
        std::array<int, 2> ends{};
        check(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
        read_end = Descriptor(ends[0]);
        write_end = Descriptor(ends[1]);
    }
};

}  // namespace ground
