// switches.cpp -- the cost of pausing and resuming, and of being paused: kernel threads, greenlets
// and coroutines beside each other, as a Markdown table. scripts/measure/switches runs it.
//
//     switches [MOST]        paused conversations to try for, of each kind (40000)

#include "common/wait/coroutine.hpp"
#include "common/wait/greenlet.hpp"

#include <fmt/format.h>

#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <exception>
#include <fstream>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

using ground::Coroutine;
using ground::Greenlet;

namespace {

struct Wait {
    int what = 0;
};
using Task = Coroutine<Wait>;

// The data of a conversation, on its stack or in its coroutine frame.
struct Conversation {
    std::array<char, 128> buffer;
    Conversation() { buffer.fill('x'); }
    // The compiler must not see that it is never read.
    ~Conversation() { asm volatile("" : : "r"(buffer.data()) : "memory"); }
    Conversation(const Conversation&) = delete;
    Conversation& operator=(const Conversation&) = delete;
};

Task coroutine()
{
    Conversation conversation;
    for (;;) {
        co_await Wait{};
    }
}

void greenlet()
{
    Conversation conversation;
    for (;;) {
        Greenlet::current().parent()->switch_to();
    }
}

// The CPU time of the process. All of it runs on one CPU, and other programs there do not count.
double cpu_time()
{
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

// 1 for figures to trust; a larger number for fewer switches.
int part = 1;

// Nanoseconds for each of this many; the median of some runs.
template <typename F>
double nanoseconds(int number, F f)
{
    std::array<double, 7> runs{};
    for (double& run : runs) {
        const double begin = cpu_time();
        f(number);
        run = (cpu_time() - begin) / number;
    }
    std::nth_element(runs.begin(), runs.begin() + runs.size() / 2, runs.end());
    return runs[runs.size() / 2];
}

// Each figure is half of a switch there and back.
double switch_of_coroutine()
{
    Task task = coroutine();
    return nanoseconds(5'000'000 / part,
                       [&](int n) {
                           for (int i = 0; i < n; ++i) {
                               task.next();
                           }
                       }) /
           2;
}

double switch_of_greenlet()
{
    Greenlet other(greenlet);
    return nanoseconds(5'000'000 / part,
                       [&](int n) {
                           for (int i = 0; i < n; ++i) {
                               other.switch_to();
                           }
                       }) /
           2;
}

double switch_of_thread()
{
    std::binary_semaphore there(0);
    std::binary_semaphore back(0);
    bool end = false;
    std::thread other([&] {
        for (;;) {
            there.acquire();
            if (end) {
                return;
            }
            back.release();
        }
    });
    const double result = nanoseconds(100'000 / part, [&](int n) {
        for (int i = 0; i < n; ++i) {
            there.release();
            back.acquire();
        }
    });
    end = true;
    there.release();
    other.join();
    return result / 2;
}

// A number after this word in a file of /proc. The file has it in kB; returns bytes.
double proc(const char* file, const std::string& word)
{
    std::ifstream in(file);
    for (std::string name; in >> name;) {
        if (name == word) {
            double kilobytes = 0;
            in >> kilobytes;
            return kilobytes * 1024;
        }
    }
    return 0;
}

struct Memory {
    double user = proc("/proc/self/status", "VmRSS:");
    double kernel = proc("/proc/self/status", "VmPTE:") + proc("/proc/meminfo", "KernelStack:");
};

struct Held {
    double user = 0;
    double kernel = 0;
    int number = 0;
};

// Makes as many as asked for, or as there can be, and measures those. It runs in a process of its
// own, which leaves nothing behind.
template <typename Make>
Held hold(int most, Make make)
{
    std::array<int, 2> pipe{};
    if (::pipe(pipe.data()) != 0) {
        std::perror("pipe");
        std::exit(EXIT_FAILURE);
    }
    const pid_t child = ::fork();
    if (child == 0) {
        Held held;
        const Memory before;
        try {
            for (; held.number < most; ++held.number) {
                make();
            }
        } catch (const std::exception&) {
            // There can't be more.
        }
        const Memory after;
        held.user = (after.user - before.user) / held.number;
        held.kernel = (after.kernel - before.kernel) / held.number;
        const ssize_t written = ::write(pipe[1], &held, sizeof held);
        ::_exit(written == sizeof held ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    ::close(pipe[1]);
    Held held;
    if (::read(pipe[0], &held, sizeof held) != sizeof held) {
        std::fputs("switches: one kind could not be measured\n", stderr);
    }
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    return held;
}

void row(const char* kind, double switch_time, const Held& held, int most)
{
    fmt::print("| {} | {:.1f} ns | {:.1f} kB | {:.1f} kB | {}{} |\n", kind, switch_time,
               held.user / 1000, held.kernel / 1000, held.number == most ? "at least " : "",
               held.number);
}

}  // namespace

int main(int argc, char** argv)
{
    const int most = argc > 1 ? std::max(1, std::atoi(argv[1])) : 40'000;
    part = argc > 2 ? std::max(1, std::atoi(argv[2])) : 1;

    std::deque<Task> tasks;
    const Held coroutines = hold(most, [&] {
        tasks.push_back(coroutine());
        tasks.back().next();
    });
    std::vector<std::unique_ptr<Greenlet>> greenlets;
    const Held greens = hold(most, [&] {
        greenlets.push_back(std::make_unique<Greenlet>(greenlet));
        greenlets.back()->switch_to();
    });
    const Held threads = hold(most, [&] {
        static std::counting_semaphore<> paused(0);
        std::thread([] {
            Conversation conversation;
            paused.release();
            std::binary_semaphore never(0);
            never.acquire();
        }).detach();
        paused.acquire();
    });

    fmt::print(
        "| paused as | one switch | memory of the process, each | the kernel's for it | so many "
        "at a time |\n|---|---|---|---|---|\n");
    row("kernel thread", switch_of_thread(), threads, most);
    row("greenlet", switch_of_greenlet(), greens, most);
    row("coroutine", switch_of_coroutine(), coroutines, most);
    return EXIT_SUCCESS;
}
