// fake_server.cpp -- started like a stage, but with a flaw. The build decides which one.
#include "common/base/descriptor.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace {

enum class Flaw {
    hangs,    // accepts, and never replies
    dies,     // ends with the first request
    silent,   // never says where it listens
    refuses,  // does not start, and says why
    lingers,  // answers fib(1), and leaves a process behind that ignores SIGTERM
    stalls,   // answers each client's fib(1) ten times, and then no more
};

constexpr Flaw flaw = Flaw::FLAW;

void serve(int listener)
{
    const ground::Descriptor client(ground::check(::accept(listener, nullptr, nullptr), "accept"));
    std::array<char, 128> buffer;
    for (int replies = 0; ::read(client.get(), buffer.data(), buffer.size()) > 0; ++replies) {
        if (flaw == Flaw::dies) {
            std::fputs("fake: out of luck\n", stderr);
            std::_Exit(3);
        }
        const bool answers = flaw == Flaw::lingers || (flaw == Flaw::stalls && replies < 10);
        if (answers && ::write(client.get(), "1\n", 2) != 2) {
            return;
        }
    }
}

}  // namespace

int main()
{
    ::signal(SIGPIPE, SIG_IGN);
    if (flaw == Flaw::refuses) {
        std::fputs("fake: today is my day off\n", stderr);
        return EXIT_FAILURE;
    }
    if (flaw == Flaw::silent) {
        for (;;) {
            ::pause();
        }
    }
    if (flaw == Flaw::lingers && ground::check(::fork(), "fork") == 0) {
        ::signal(SIGTERM, SIG_IGN);
        for (;;) {
            ::pause();
        }
    }
    const ground::Descriptor listener(ground::check(::socket(AF_INET, SOCK_STREAM, 0), "socket"));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    ground::check(::bind(listener.get(), generic, size), "bind");
    ground::check(::listen(listener.get(), 64), "listen");
    ground::check(::getsockname(listener.get(), generic, &size), "getsockname");
    std::printf("fake listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    for (;;) {
        serve(listener.get());
    }
}
