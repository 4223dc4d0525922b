// screen.hpp -- a terminal's screen, as far as compare writes on it. Anything else is an error.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ground::test {

class Screen {
  public:
    // What a terminal does with lines that are longer than its window has become.
    enum class Narrowing { wraps, crops };

    Screen(std::size_t rows, std::size_t columns) : rows_(rows), columns_(columns) {}

    void write(std::string_view text)
    {
        pending_ += text;
        std::size_t read = 0;
        while (const std::size_t size = next(std::string_view(pending_).substr(read))) {
            read += size;
        }
        pending_.erase(0, read);
    }

    void resize(std::size_t rows, std::size_t columns, Narrowing narrowing)
    {
        while (lines_.size() > row_ + 1 && lines_.back().cells.empty()) {
            lines_.pop_back();
        }
        rows_ = rows;
        columns_ = columns;
        column_ = std::min(column_, columns - 1);
        const std::vector<Line> before = std::move(lines_);
        const std::size_t cursor = row_;
        lines_.clear();
        for (std::size_t i = 0; i < before.size(); ++i) {
            if (i == cursor) {
                row_ = lines_.size();
            }
            const Cells& cells = before[i].cells;
            const std::size_t parts = narrowing == Narrowing::crops || cells.empty()
                                          ? 1
                                          : (cells.size() + columns - 1) / columns;
            for (std::size_t part = 0; part < parts; ++part) {
                const auto begin = std::min(part * columns, cells.size());
                const auto end = std::min(begin + columns, cells.size());
                lines_.push_back({Cells(cells.begin() + static_cast<std::ptrdiff_t>(begin),
                                        cells.begin() + static_cast<std::ptrdiff_t>(end))});
            }
        }
        row_ = std::max(row_, top());  // the cursor never leaves the window
    }

    // All lines that were ever written and not erased, also those scrolled out of the window.
    // Without blanks at their ends, and without empty lines at the end.
    [[nodiscard]] std::vector<std::string> lines() const { return lines_from(0); }

    // The lines from the cursor's downwards.
    [[nodiscard]] std::vector<std::string> lines_below() const { return lines_from(row_); }

    // The line that begins with this, or an empty one.
    [[nodiscard]] std::string line(std::string_view begin) const
    {
        for (const std::string& line : lines()) {
            if (line.starts_with(begin)) {
                return line;
            }
        }
        return {};
    }

    [[nodiscard]] bool contains(std::string_view text) const
    {
        const auto all = lines();
        return std::any_of(all.begin(), all.end(), [&](const std::string& line) {
            return line.find(text) != std::string::npos;
        });
    }

    // Whether the program is between two pictures: no part of a sequence is missing.
    [[nodiscard]] bool whole() const noexcept { return pending_.empty(); }

  private:
    using Cells = std::vector<std::string>;
    struct Line {
        Cells cells;
    };

    // Takes one character or sequence, and returns its number of bytes. 0: it is not yet complete.
    std::size_t next(std::string_view text)
    {
        if (text.empty()) {
            return 0;
        }
        const auto first = static_cast<unsigned char>(text[0]);
        if (first == '\r') {
            column_ = 0;
            return 1;
        }
        if (first == '\n') {
            down();
            return 1;
        }
        if (first == 0x1b) {
            return sequence(text);
        }
        if (first < 0x20 || first == 0x7f) {
            throw std::runtime_error("control character " + std::to_string(first));
        }
        const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;
        if (text.size() < size) {
            return 0;
        }
        put(std::string(text.substr(0, size)));
        return size;
    }

    std::size_t sequence(std::string_view text)
    {
        const std::size_t end = text.find_first_not_of("0123456789;", 2);
        if (text.size() < 3 || end == std::string_view::npos) {
            return 0;
        }
        const std::string numbers(text.substr(2, end - 2));
        if (text[1] == '[' && text[end] == 'A' && !numbers.empty()) {
            const std::size_t up = std::stoul(numbers);
            row_ = std::max(row_ - std::min(row_, up), top());
        } else if (text[1] == '[' && text[end] == 'K' && numbers.empty()) {
            erase_line();
        } else if (text[1] == '[' && text[end] == 'J' && numbers.empty()) {
            erase_line();
            for (std::size_t i = row_ + 1; i < lines_.size(); ++i) {
                lines_[i].cells.clear();
            }
        } else if (text[1] != '[' || text[end] != 'm') {
            throw std::runtime_error("unknown sequence ESC" + std::string(text.substr(1, end)));
        }
        return end + 1;
    }

    void put(std::string character)
    {
        if (column_ == columns_) {
            column_ = 0;
            down();
        }
        Cells& cells = lines_[row_].cells;
        cells.resize(std::max(cells.size(), column_ + 1), " ");
        cells[column_++] = std::move(character);
    }

    void down()
    {
        ++row_;
        if (row_ == lines_.size()) {
            lines_.emplace_back();
        }
    }

    // After a full line the cursor is still on its last column.
    void erase_line()
    {
        Cells& cells = lines_[row_].cells;
        cells.resize(std::min({cells.size(), column_, columns_ - 1}));
    }

    [[nodiscard]] std::size_t top() const noexcept
    {
        return lines_.size() - std::min(lines_.size(), rows_);
    }

    [[nodiscard]] std::vector<std::string> lines_from(std::size_t row) const
    {
        std::vector<std::string> texts;
        for (; row < lines_.size(); ++row) {
            std::string text;
            for (const std::string& cell : lines_[row].cells) {
                text += cell;
            }
            text.erase(text.find_last_not_of(' ') + 1);
            texts.push_back(std::move(text));
        }
        while (!texts.empty() && texts.back().empty()) {
            texts.pop_back();
        }
        return texts;
    }

    std::size_t rows_;
    std::size_t columns_;
    std::vector<Line> lines_{1};
    std::size_t row_ = 0;
    std::size_t column_ = 0;
    std::string pending_;
};

}  // namespace ground::test
