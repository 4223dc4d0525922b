// source.hpp -- what the steps of a run are called in the server's source.
#pragma once

#include "clients/shared/schedule/run.hpp"

#include <map>
#include <string>
#include <vector>

namespace ground::explore {

// The names of what threads share, by number.
using Names = std::map<std::uint32_t, std::string>;

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
    [[nodiscard]] Names names(const Run& run) const;

  private:
    std::string file_;
    std::string text_;
    std::vector<std::string> lines_;
    std::vector<std::string> declared_;
};

// "reads answered_: 0", "sends 7"
[[nodiscard]] std::string describe(const Act& act, const Source& source, const Names& names);
// "02d_shared_state:38"; empty if it is not known.
[[nodiscard]] std::string place(const Act& act);
// "02d_shared_state" of "stages/02d_shared_state.cpp"
[[nodiscard]] std::string stem_of(const std::string& path);

}  // namespace ground::explore
