// watchdog.hpp -- a suite that hangs ends within seconds, and says where everybody stands.
//
// main() runs the tests in a child process and watches it from outside, so that it has no thread in
// a process that forks, and can look at a test that stands still. A test case has its time; when
// that has passed, the watchdog says what each process and thread of the test is doing, kills all
// of them, and the suite has failed. A wait that was in vain says the same, before whatever it has
// waited for is gone; after a few of these the rest of the suite is not run.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace ground::test {

// Runs it in a child process and returns what it returned. Under a debugger it is run here, and
// nobody watches.
[[nodiscard]] int watched(const std::function<int()>& tests);

// The test case that runs needs so much more time than others.
void allow_more_time(std::chrono::milliseconds more);

// What the test waits for, for as long as this lives. Only for the thread that runs the tests.
class Waiting {
  public:
    explicit Waiting(std::string_view for_what);
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

  private:
    std::string before_;
};

// To be called when a deadline has passed: tells on stderr where everybody stands.
void waited_in_vain(std::string_view for_what);

// A process, its descendants and the sessions that these have begun: what each of their threads is
// doing. Those that do the same are counted.
[[nodiscard]] std::string where_everybody_stands(pid_t root);

}  // namespace ground::test
