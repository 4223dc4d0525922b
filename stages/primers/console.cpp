// console.cpp -- a program that reads keys in a loop, turned inside out: it is called for each key.
//
// commands() asks for a key wherever it needs one, as if it owned the keyboard. But the keyboard
// belongs to the loop in main(), which could also serve a mouse and windows. To connect the two
// would take a thread and a lock. Here it takes a greenlet.
//
//     console        type something, and quit        printf 'hello\nquit\ny' | console

#include "common/wait/greenlet.hpp"

#include <fmt/format.h>

#include <termios.h>
#include <unistd.h>

#include <any>
#include <cstdio>
#include <string>

using namespace ground;

namespace {

// Goes to the loop and returns with the next key.
char read_next_char() { return std::any_cast<char>(Greenlet::current().parent()->switch_to()); }

void commands()
{
    for (;;) {
        fmt::print("command: ");
        std::string line;
        while (!line.ends_with('\n')) {
            line += read_next_char();
        }
        if (line == "quit\n") {
            fmt::print("Are you sure? ");
            const bool sure = read_next_char() == 'y';
            fmt::print("\n");
            if (sure) {
                return;
            }
            continue;
        }
        fmt::print("{} keys: {}", line.size(), line);
    }
}

// Makes a terminal deliver each key at once, not line by line. (A script's input is no terminal.)
class Keys {
  public:
    Keys()
    {
        termios each_key = before_;
        each_key.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHOCTL);  // no ^J for Enter
        set(each_key);
    }
    ~Keys() { set(before_); }
    Keys(const Keys&) = delete;
    Keys& operator=(const Keys&) = delete;

  private:
    static termios get() noexcept
    {
        termios now{};
        ::tcgetattr(STDIN_FILENO, &now);
        return now;
    }
    static void set(const termios& wanted) noexcept
    {
        if (::isatty(STDIN_FILENO) != 0) {
            ::tcsetattr(STDIN_FILENO, TCSANOW, &wanted);
        }
    }
    termios before_ = get();
};

}  // namespace

int main()
{
    const Keys keys;
    Greenlet program(commands);
    program.switch_to();  // runs until it waits for the first key
    while (!program.dead()) {
        std::fflush(stdout);
        char key = 0;
        if (::read(STDIN_FILENO, &key, 1) != 1) {
            break;
        }
        program.switch_to(key);  // a key was pressed
    }
}
