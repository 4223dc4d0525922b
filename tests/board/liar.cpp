// liar.cpp -- takes a stage's place. It writes into the memory that it shares with the board that
// another process is a worker of its own. The board must not take its log for the cause of its end.
//
//     liar ... PROCESS

#include "common/observe/memory.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>

using namespace ground::observe;

int main(int argc, char** argv)
{
    const char* const watch = std::getenv("GROUND_WATCH");
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (watch == nullptr || argc < 2 || ::listen(listener, 5) != 0) {
        return EXIT_FAILURE;
    }
    void* const memory =
        ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, std::atoi(watch), 0);
    if (memory == MAP_FAILED ||
        ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
        return EXIT_FAILURE;
    }
    Place& place = static_cast<Memory*>(memory)->places[0];
    place.now = Where{.state = State::computes}.packed();
    place.kind = Kind::worker;
    place.pid = static_cast<std::uint32_t>(std::atoi(argv[argc - 1]));
    place.id = 7;
    std::signal(SIGTERM, [](int) {
        constexpr std::string_view words = "liar: I was told to end\n";
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, words.data(), words.size());
        ::_exit(3);
    });
    std::fputs("liar: it has begun\n", stderr);
    std::printf("liar listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    ::pause();
}
