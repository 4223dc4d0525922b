#include "clients/explore/recorded.hpp"

#include "clients/shared/files.hpp"
#include "clients/shared/target.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

namespace ground::explore {

namespace {

namespace fs = std::filesystem;

class Folder {
  public:
    Folder()
    {
        std::string name = fs::temp_directory_path() / "explore.XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) {
            throw ClientError("can't make a folder for the recordings");
        }
        path_ = name;
    }
    ~Folder()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    [[nodiscard]] std::string operator/(const char* file) const { return path_ / file; }

  private:
    fs::path path_;
};

// What it prints goes to stderr if it is a problem; else it is of no use here.
void run_board(std::vector<std::string> words)
{
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
        ::dup2(nothing, 1);
        ::execv(arguments[0], arguments.data());
        ::_exit(127);
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) {
        throw ClientError(
            WIFEXITED(status) && WEXITSTATUS(status) == 127
                ? fmt::format("the page needs the board, and can't start {}", words[0])
                : "the board has not made the page");
    }
}

}  // namespace

void write_page(const std::string& board, const std::string& page, const Explored& explored,
                const Source& source)
{
    const Found& found = *explored.result.found;
    const Folder folder;
    const auto record = [&](const Run& run, const std::string& file, const std::string& to) {
        write_file(file, to_text(to_schedule_file(explored, run, source)));
        run_board({board, "--play", file, "--record", to});
    };
    if (!found.beside) {
        record(found.run, folder / "broken", page);
        return;
    }
    record(found.run, folder / "broken", folder / "broken.html");
    record(*found.beside, folder / "kept", folder / "kept.html");
    run_board({board, "--beside", folder / "broken.html", folder / "kept.html", "--record", page});
}

}  // namespace ground::explore
