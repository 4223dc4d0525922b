// 06c_monkey_patch.cpp -- makes an existing program's threads green, with its source unchanged.
//
// Changed since 06b_greenlets: no program is written. This library is loaded into the unchanged
//         02_threads. It replaces the functions by which that program starts threads, accepts,
//         receives and sends.
// Buys:   the source of 02, and even its binary, at the cost of 06b.
// Costs:  one core; a blocking function that is not replaced stops all threads, without a message.
// Leaves: other programs call other functions. common/monkey replaces over a hundred and can run
//         CPython. And the source does not show where it waits; in 07_coroutines every co_await
//         shows it.

#include "common/wait/greenlet.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <exception>

namespace {

using ground::Greenlet;

// All threads of the program are greenlets. A greenlet that waits is in none of our lists: epoll
// keeps its address and returns that with the event.
class Hub {
  public:
    void spawn(Greenlet* greenlet) { ready_.push_back(greenlet); }
    Greenlet& greenlet() { return greenlet_; }

    // Pauses the caller until the descriptor is ready. Only one greenlet at a time may wait for a
    // descriptor. In 02 each socket has a thread of its own.
    void wait_for(int fd, unsigned events)
    {
        epoll_event event{events | EPOLLONESHOT, {.ptr = &Greenlet::current()}};
        if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == -1 &&  // new for epoll
            ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == -1) {
            std::terminate();  // nothing would wake the greenlet
        }
        greenlet_.switch_to();
    }

  private:
    void run()
    {
        for (;;) {
            while (ready_.empty()) {
                poll();
            }
            Greenlet* const next = ready_.front();
            ready_.pop_front();
            next->switch_to();
            if (next->dead()) {
                delete next;
            }
        }
    }

    void poll()
    {
        std::array<epoll_event, 256> events;
        const int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
        for (int i = 0; i < count; ++i) {
            ready_.push_back(static_cast<Greenlet*>(events[static_cast<std::size_t>(i)].data.ptr));
        }
    }

    int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    std::deque<Greenlet*> ready_;
    Greenlet greenlet_{[this] { run(); }};
};

// Made at the first call, and never destroyed, because the program needs it until it ends.
Hub& hub()
{
    static Hub& the_hub = *new Hub;
    return the_hub;
}

// Makes a call that fails with EAGAIN if it would have to block. While it fails like this, waits in
// the hub and tries again.
template <typename Try>
ssize_t try_and_wait(int fd, unsigned events, Try attempt)
{
    for (;;) {
        const ssize_t result = attempt();
        if (result != -1 || errno != EAGAIN) {
            return result;
        }
        hub().wait_for(fd, events);
    }
}

}  // namespace

// The program calls these in place of libc's, because the dynamic loader finds them first. Where
// libc would make a system call, they make it themselves.
extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t*, void* (*start)(void*),
                   void* argument) noexcept
try {
    auto* const greenlet = new Greenlet([=] { start(argument); }, hub().greenlet());
    hub().spawn(greenlet);
    *thread = reinterpret_cast<pthread_t>(greenlet);
    return 0;
} catch (...) {  // no memory for another stack
    return EAGAIN;
}

// libc frees a detached thread when the thread ends. Here every thread is freed when it ends,
// because 02 joins none.
int pthread_detach(pthread_t) noexcept { return 0; }

int accept(int fd, sockaddr* address, socklen_t* size)
{
    hub().wait_for(fd, EPOLLIN);  // accept() has no flag like MSG_DONTWAIT
    return static_cast<int>(::syscall(SYS_accept4, fd, address, size, 0));
}

ssize_t recv(int fd, void* data, size_t size, int flags)
{
    return try_and_wait(fd, EPOLLIN, [=] {
        return ::syscall(SYS_recvfrom, fd, data, size, flags | MSG_DONTWAIT, nullptr, nullptr);
    });
}

ssize_t send(int fd, const void* data, size_t size, int flags)
{
    return try_and_wait(fd, EPOLLOUT, [=] {
        return ::syscall(SYS_sendto, fd, data, size, flags | MSG_DONTWAIT, nullptr, 0);
    });
}

}  // extern "C"
