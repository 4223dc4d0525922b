#include "common/wait/selector.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using namespace ground;
using namespace std::chrono_literals;

namespace {

int calls_of_epoll_ctl = 0;

}  // namespace

// The selector's, in this program.
extern "C" int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept
{
    ++calls_of_epoll_ctl;
    return static_cast<int>(::syscall(SYS_epoll_ctl, epoll, operation, fd, event));
}

namespace {

// Two ends of a connection.
struct Pair {
    Pair()
    {
        int ends[2];
        check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
              "socketpair");
        near = Descriptor(ends[0]);
        far = Descriptor(ends[1]);
    }
    void poke() { REQUIRE(::send(far.get(), "x", 1, MSG_NOSIGNAL) == 1); }
    [[nodiscard]] int fd() const { return near.get(); }

    Descriptor near;
    Descriptor far;
};

// "a:r b:rw", in alphabetical order
std::string trace(const auto& list)
{
    std::vector<std::string> words;
    for (const auto [key, events] : list) {
        words.push_back(key.data + (contains(events, Events::read) ? ":r" : ":") +
                        (contains(events, Events::write) ? "w" : ""));
    }
    std::sort(words.begin(), words.end());
    std::string line;
    for (const std::string& word : words) {
        line += (line.empty() ? "" : " ") + word;
    }
    return line;
}

std::string ready(Selector<std::string>& selector) { return trace(selector.select(0s)); }

}  // namespace

TEST_CASE("selector: reports which descriptors are ready for what, and only what is waited for")
{
    Pair a;
    Pair b;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read, "a");
    selector.register_fd(b.fd(), Events::read | Events::write, "b");
    CHECK(ready(selector) == "b:w");
    a.poke();
    b.poke();
    CHECK(ready(selector) == "a:r b:rw");
    CHECK(ready(selector) == "a:r b:rw");  // level-triggered: it has not been read
}

TEST_CASE("selector: modify() takes effect at the next select(), also from and to no events")
{
    Pair a;
    a.poke();
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::none, "a");
    CHECK(ready(selector) == "");
    selector.modify(a.fd(), Events::read);
    CHECK(ready(selector) == "a:r");
    selector.modify(a.fd(), Events::write, "A");
    CHECK(ready(selector) == "A:w");
    selector.modify(a.fd(), Events::none);
    CHECK(ready(selector) == "");
}

TEST_CASE(
    "selector: to stop waiting and begin again costs no system call, unless the descriptor is "
    "ready")
{
    Pair a;
    Pair other;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read, "a");
    selector.register_fd(other.fd(), Events::read, "other");
    calls_of_epoll_ctl = 0;
    for (int i = 0; i < 10; ++i) {
        selector.modify(a.fd(), Events::none);
        other.poke();
        CHECK(ready(selector) == "other:r");
        selector.modify(a.fd(), Events::read);
    }
    CHECK(calls_of_epoll_ctl == 0);
    selector.modify(a.fd(), Events::none);
    a.poke();
    CHECK(ready(selector) == "other:r");  // the kernel has reported it, and now knows
    CHECK(calls_of_epoll_ctl == 1);
    CHECK(ready(selector) == "other:r");
    CHECK(calls_of_epoll_ctl == 1);
    selector.modify(a.fd(), Events::read);
    CHECK(calls_of_epoll_ctl == 2);
    CHECK(ready(selector) == "a:r other:r");
}

TEST_CASE("selector: a descriptor that is no longer waited for does not end a select() for others")
{
    Pair a;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read | Events::write, "a");
    const std::string much(64 * 1024, 'x');
    while (::send(a.fd(), much.data(), much.size(), MSG_NOSIGNAL) > 0) {
    }
    selector.modify(a.fd(), Events::write);
    a.poke();
    calls_of_epoll_ctl = 0;
    CHECK(ready(selector) == "");
    CHECK(calls_of_epoll_ctl == 1);  // or the kernel would report it again and again
    CHECK(ready(selector) == "");
    CHECK(calls_of_epoll_ctl == 1);
}

TEST_CASE("selector: a descriptor that the kernel can't watch throws at once, and select() goes on")
{
    // epoll knows no regular files. (Without memory it refuses anything, in the same way.)
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), std::fclose);
    REQUIRE(file);
    const int fd = ::fileno(file.get());
    Pair a;
    a.poke();
    Selector<std::unique_ptr<int>> selector;
    selector.register_fd(a.fd(), Events::read, std::make_unique<int>(1));
    selector.register_fd(fd, Events::none, std::make_unique<int>(2));
    auto data = std::make_unique<int>(3);
    CHECK_THROWS_AS(selector.modify(fd, Events::read, std::move(data)), std::system_error);
    CHECK(data);  // NOLINT(bugprone-use-after-move): it has not been taken
    CHECK(*selector.get_key(fd).data == 2);
    CHECK(selector.get_key(fd).events == Events::none);
    CHECK_FALSE(selector.select(0s).empty());
    CHECK_NOTHROW(selector.unregister(fd));
}

TEST_CASE("selector: a broken connection is ready for any event that is waited for")
{
    Pair a;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read, "a");
    a.far.reset();
    CHECK(ready(selector) == "a:r");
    selector.modify(a.fd(), Events::write);
    CHECK(ready(selector) == "a:w");
    selector.modify(a.fd(), Events::none);
    CHECK(ready(selector) == "");
}

TEST_CASE("selector: a descriptor without events does not end a select(), not even by breaking")
{
    Pair broken;
    Pair other;
    Selector<std::string> selector;
    selector.register_fd(broken.fd(), Events::read, "broken");
    selector.register_fd(other.fd(), Events::read, "other");
    selector.modify(broken.fd(), Events::none);
    broken.far.reset();
    // If the kernel still knew of it, this would return at once, with nothing, again and again.
    std::jthread later([&] { other.poke(); });
    CHECK(trace(selector.select()) == "other:r");
}

TEST_CASE("selector: an entry is not called after an earlier callback has unregistered it")
{
    std::vector<Pair> pairs(3);
    Selector<std::string> selector;
    for (Pair& pair : pairs) {
        pair.poke();
        selector.register_fd(pair.fd(), Events::read, "");
    }
    int called = 0;
    for (const auto [key, events] : selector.select()) {
        ++called;
        for (const Pair& pair : pairs) {
            if (pair.fd() != key.fd) {
                selector.unregister(pair.fd());
            }
        }
    }
    CHECK(called == 1);
    int left = 0;
    for ([[maybe_unused]] const auto ready : selector.select(0s)) {
        ++left;
    }
    CHECK(left == 1);
}

TEST_CASE("selector: an entry that an earlier one in the list modifies gets its new events")
{
    std::vector<Pair> pairs(2);
    Selector<std::string> selector;
    for (Pair& pair : pairs) {
        pair.poke();
        selector.register_fd(pair.fd(), Events::read | Events::write, "");
    }
    std::vector<Events> seen;
    for (const auto [key, events] : selector.select()) {
        seen.push_back(events);
        for (const Pair& pair : pairs) {
            selector.modify(pair.fd(), Events::write);
        }
    }
    CHECK(seen == std::vector<Events>{Events::read | Events::write, Events::write});
}

TEST_CASE(
    "selector: a descriptor's number that is reused within a list is not mistaken for the old one")
{
    std::vector<Pair> pairs(2);
    Selector<std::string> selector;
    for (Pair& pair : pairs) {
        pair.poke();
        selector.register_fd(pair.fd(), Events::read, "old");
    }
    std::vector<std::string> called;
    for (const auto [key, events] : selector.select()) {
        called.push_back(key.data);
        Pair& other = pairs[0].fd() == key.fd ? pairs[1] : pairs[0];
        const int number = other.fd();
        selector.unregister(number);
        other.near.reset();
        REQUIRE(::fcntl(key.fd, F_DUPFD_CLOEXEC, number) == number);
        other.near = Descriptor(number);
        selector.register_fd(number, Events::write, "new");
    }
    CHECK(called == std::vector<std::string>{"old"});
}

TEST_CASE("selector: an entry that unregisters itself lives until the next select(), and no longer")
{
    struct Conversation {
        Selector<std::unique_ptr<Conversation>>& selector;
        Pair pair;
        int& alive;
        ~Conversation() { --alive; }
    };
    int alive = 1;
    Selector<std::unique_ptr<Conversation>> selector;
    auto owned = std::unique_ptr<Conversation>(new Conversation{selector, Pair(), alive});
    owned->pair.poke();
    const int fd = owned->pair.fd();
    selector.register_fd(fd, Events::read, std::move(owned));
    for (const auto [key, events] : selector.select()) {
        Conversation& self = *key.data;
        self.selector.modify(fd, Events::write);  // a change that must not be applied
        self.selector.unregister(fd);
        CHECK(alive == 1);
        CHECK(self.pair.fd() == fd);
    }
    CHECK(alive == 1);
    CHECK(selector.select(0s).empty());
    CHECK(alive == 0);
}

TEST_CASE("selector: the destructor of an entry's data may unregister another entry")
{
    struct Owner {
        Selector<std::unique_ptr<Owner>>& selector;
        int other;
        ~Owner()
        {
            if (other != -1) {
                selector.unregister(other);
            }
        }
    };
    Pair a;
    Pair b;
    b.poke();
    Selector<std::unique_ptr<Owner>> selector;
    selector.register_fd(b.fd(), Events::read, nullptr);
    selector.register_fd(a.fd(), Events::read, std::unique_ptr<Owner>(new Owner{selector, b.fd()}));
    selector.unregister(a.fd());
    CHECK(selector.select(0s).empty());
    CHECK_FALSE(selector.is_registered(b.fd()));
}

TEST_CASE("selector: select() returns when its time is over, and not before")
{
    Pair a;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read, "a");
    const auto begin = std::chrono::steady_clock::now();
    CHECK(selector.select(20'500us).empty());
    CHECK(std::chrono::steady_clock::now() - begin >= 20'500us);
    CHECK(selector.select(-1s).empty());
    a.poke();
    CHECK_FALSE(selector.select(std::chrono::nanoseconds::max()).empty());
}

TEST_CASE("selector: a signal does not end a select()")
{
    static_cast<void>(std::signal(SIGUSR1, [](int) {}));
    Pair a;
    Selector<std::string> selector;
    selector.register_fd(a.fd(), Events::read, "a");
    const pthread_t self = ::pthread_self();
    std::jthread other([&] {
        for (int i = 0; i < 100; ++i) {
            ::pthread_kill(self, SIGUSR1);
            std::this_thread::yield();
        }
        a.poke();
    });
    CHECK(trace(selector.select()) == "a:r");
    static_cast<void>(std::signal(SIGUSR1, SIG_DFL));
}

TEST_CASE("selector: signals do not make the time of a select() longer")
{
    static std::atomic<int> signals;
    static int bell;
    const Descriptor owner(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
    signals = 0;
    bell = owner.get();
    static_cast<void>(std::signal(SIGALRM, [](int) {
        if (++signals == 1000) {
            ::eventfd_write(bell, 1);  // at least five seconds have passed
        }
    }));
    Selector<std::string> selector;
    selector.register_fd(bell, Events::read, "bell");
    const itimerval often{{0, 5'000}, {0, 5'000}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    CHECK(trace(selector.select(50ms)) == "");
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    static_cast<void>(std::signal(SIGALRM, SIG_DFL));
    CHECK(signals > 0);
}

TEST_CASE("selector: another thread ends a select() through an eventfd")
{
    const Descriptor bell(check(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd"));
    Selector<std::string> selector;
    selector.register_fd(bell.get(), Events::read, "bell");
    std::jthread other([&] { ::eventfd_write(bell.get(), 1); });
    CHECK(trace(selector.select()) == "bell:r");
}

TEST_CASE("selector: ready descriptors that do not fit into one list come with the next")
{
    std::vector<Pair> pairs(300);
    Selector<std::string> selector;
    for (Pair& pair : pairs) {
        pair.poke();
        selector.register_fd(pair.fd(), Events::read, "");
    }
    std::size_t seen = 0;
    while (seen < pairs.size()) {
        for (const auto [key, events] : selector.select()) {
            selector.unregister(key.fd);
            ++seen;
        }
    }
    CHECK(seen == pairs.size());
    CHECK(selector.select(0s).empty());
}

TEST_CASE("selector: mistakes throw, and change nothing")
{
    Pair a;
    Selector<std::string> selector;
    CHECK_THROWS_AS(selector.modify(a.fd(), Events::read), std::out_of_range);
    CHECK_THROWS_AS(selector.unregister(a.fd()), std::out_of_range);
    CHECK_THROWS_AS(selector.register_fd(-1, Events::read, ""), std::system_error);
    CHECK_FALSE(selector.is_registered(-1));
    selector.register_fd(a.fd(), Events::read, "a");
    CHECK_THROWS_AS(selector.register_fd(a.fd(), Events::read, "b"), std::invalid_argument);
    a.poke();
    CHECK(ready(selector) == "a:r");
    const int fd = a.fd();
    a.near.reset();
    CHECK_NOTHROW(selector.unregister(fd));  // closed too early: forgiven, as in Python
}
