// watchdog.hpp -- a suite that hangs ends within seconds, and says where each process is.
//
// main() runs the tests in a child process and watches it from outside. So there is no additional
// thread in a process that forks, and the watchdog can look at a test that hangs. A test case has a
// time limit. If that is over, the watchdog says what each process and thread of the test is doing
// and kills all of them, and the suite has failed. After a wait in vain it says the same, before
// what it has waited for is gone. After a few of these the rest of the suite is not run.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace ground::test {

// Runs it in a child process and returns its result. Under a debugger it runs in this process,
// without a watchdog.
[[nodiscard]] int watched(const std::function<int()>& tests);

// From now on the running test case may take this long, and a while more. Any thread may call it,
// as the rest.
void allow_time(std::chrono::milliseconds from_now);

// What the test waits for, while this object lives. On other threads than the test's it says
// nothing.
class Waiting {
  public:
    explicit Waiting(std::string_view for_what);
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

  private:
    bool tells_;
    std::string before_;
};

// To be called when a deadline has passed: says on stderr where each process is.
void waited_in_vain(std::string_view for_what);

// A process, its descendants and the sessions that these have begun: what each of their threads is
// doing. Threads that do the same are counted.
[[nodiscard]] std::string describe_processes(pid_t root);

}  // namespace ground::test
