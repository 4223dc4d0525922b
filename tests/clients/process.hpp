// process.hpp -- a program under test, run as its user would run it.
#pragma once

#include "common/base/descriptor.hpp"

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ground {

// No program may run longer than this. No test measures it: it ends one that hangs.
inline constexpr std::chrono::seconds patience{60};

class Process {
  public:
    enum class Stdio {
        pipes,
        terminal,  // a pseudo-terminal for all three; what is shown is in out()
    };

    // Variables are "NAME=VALUE", instead of those of the test.
    explicit Process(std::vector<std::string> arguments, Stdio stdio = Stdio::pipes,
                     std::vector<std::string> variables = {});
    ~Process();  // kills it if it still runs
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    void type(std::string_view text);
    void end_input();  // of pipes; on a terminal type("\x04")
    void signal(int number);

    // Reads until the condition holds, which is checked whenever something has come. False if the
    // output ends before that.
    [[nodiscard]] bool until(const std::function<bool()>& condition);
    // Until the output contains the text.
    [[nodiscard]] bool shows(std::string_view text);

    // Stops it (SIGSTOP) and reads all that it has written. Goes on with signal(SIGCONT).
    void stop();
    // The pseudo-terminal, from this side: of 24 rows and 80 columns at first.
    [[nodiscard]] int terminal() const noexcept { return in_.get(); }

    // Reads all output. Returns the exit status, or 128 plus the number of the signal that ended
    // it.
    [[nodiscard]] int wait();

    [[nodiscard]] const std::string& out() const noexcept { return out_; }
    [[nodiscard]] const std::string& err() const noexcept { return err_; }

  private:
    bool read_some();                     // false once there is nothing more to come
    [[nodiscard]] bool readable() const;  // or at an end that has not been noticed

    pid_t pid_ = -1;
    std::chrono::steady_clock::time_point until_ = std::chrono::steady_clock::now() + patience;
    Descriptor in_;
    Descriptor out_end_;
    Descriptor err_end_;
    std::string out_;
    std::string err_;
};

// Runs it to its end, with this on its standard input.
struct Outcome {
    int status;
    std::string out;
    std::string err;
};
[[nodiscard]] Outcome run(std::vector<std::string> arguments, std::string_view input = {});

// The lines of a text, without their ends.
[[nodiscard]] std::vector<std::string> lines(std::string_view text);

}  // namespace ground
