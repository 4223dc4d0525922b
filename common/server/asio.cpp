// Asio's own implementation, compiled once for the whole project (ASIO_SEPARATE_COMPILATION).
#ifdef ASIO_HAS_IO_URING
#include <liburing.h>
#include <poll.h>

#include <cerrno>

// Linux 6.18 counts a ring as locked memory of its user, unless that is root. A user may lock 8 MiB
// (ulimit -l), which is five of Asio's rings. The kernel frees the ring of a process only a moment
// after the process has ended. So a server that starts in that moment waits for the memory.
namespace {

int wait_for_ring(unsigned entries, io_uring* ring, unsigned flags)
{
    int result = 0;
    for (int tries = 0; tries < 100; ++tries) {
        result = ::io_uring_queue_init(entries, ring, flags);
        if (result != -ENOMEM) {
            break;
        }
        ::poll(nullptr, 0, 20);
    }
    return result;
}

}  // namespace
#define io_uring_queue_init wait_for_ring
#endif

#include <asio/impl/src.hpp>
