// report.hpp -- what explore has found, in words.
#pragma once

#include "clients/explore/schedule_file.hpp"
#include "clients/explore/search.hpp"

#include <map>
#include <string>
#include <utility>

namespace ground::explore {

// The text of the server's source. It says what things are called.
class Source {
  public:
    Source(std::string file, std::string text);

    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] bool is(const std::string& file) const;
    [[nodiscard]] std::string line(unsigned number) const;  // trimmed

    // The names of what threads share in this run: for each object the one that is declared as
    // Atomic or Mutex in the source, and stands in every line that touches the object.
    [[nodiscard]] std::map<std::uint32_t, std::string> names(const Run& run) const;

  private:
    std::string file_;
    std::string text_;
    std::vector<std::string> lines_;
    std::vector<std::string> declared_;
};

struct Explored {
    Server server;
    Story story;
    Result result;
};

// What was found, or how likely nothing is there.
[[nodiscard]] std::string to_report(const Explored& explored, const Source& source);
// Of a schedule that was played.
[[nodiscard]] std::string to_report(const Run& run, const Source& source);
[[nodiscard]] std::string to_json(const std::vector<Explored>& all, const Source& source);

// "reads answered_: 0", "sends 7"
[[nodiscard]] std::string describe(const Act& act, const Source& source,
                                   const std::map<std::uint32_t, std::string>& names);
[[nodiscard]] ScheduleFile to_schedule_file(const Explored& explored, const Run& run,
                                            const Source& source);

}  // namespace ground::explore
