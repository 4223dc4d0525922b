#include "clients/shared/schedule/source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <regex>
#include <set>
#include <sstream>

namespace ground::explore {

namespace {

using observe::Deed;

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool has_word(const std::string& line, const std::string& word)
{
    const auto is_part = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    };
    for (std::size_t at = line.find(word); at != std::string::npos; at = line.find(word, at + 1)) {
        const std::size_t end = at + word.size();
        if ((at == 0 || !is_part(line[at - 1])) && (end == line.size() || !is_part(line[end]))) {
            return true;
        }
    }
    return false;
}

std::string thing(const Act& act, const Names& names)
{
    const auto found = names.find(act.object);
    const char* const what =
        act.deed == Deed::locks || act.deed == Deed::unlocks ? "mutex" : "value";
    return found == names.end() ? fmt::format("{} {}", what, act.object) : found->second;
}

// What a line calls: "requests.next()" of "while (auto request = requests.next()) {", and "co_yield
// ReadReady" of a line that yields.
std::string call_in(const std::string& line)
{
    static const std::regex pause(R"(co_(?:yield|await)\s+[\w.:]+)");
    static const std::regex call(R"(([\w.:]+)\()");
    static const std::set<std::string> keywords{"if", "while", "for", "switch", "return"};
    if (std::smatch found; std::regex_search(line, found, pause)) {
        return found[0];
    }
    for (auto at = std::sregex_iterator(line.begin(), line.end(), call);
         at != std::sregex_iterator(); ++at) {
        if (!keywords.contains((*at)[1])) {
            return (*at)[1].str() + "()";
        }
    }
    return line.empty() ? "goes on" : line;
}

}  // namespace

std::string stem_of(const std::string& path)
{
    const std::string name = base_name(path);
    return name.substr(0, name.rfind('.'));
}

std::string place(const Act& act)
{
    return act.file.empty() ? "" : fmt::format("{}:{}", stem_of(act.file), act.line);
}

Source::Source(std::string file, std::string text) : file_(std::move(file)), text_(std::move(text))
{
    std::istringstream in(text_);
    for (std::string line; std::getline(in, line);) {
        lines_.push_back(line);
    }
    static const std::regex declaration(R"((?:Atomic<[^;]*>|Mutex)&?\s+(\w+)\s*(?:[;={]))");
    for (auto at = std::sregex_iterator(text_.begin(), text_.end(), declaration);
         at != std::sregex_iterator(); ++at) {
        declared_.push_back((*at)[1]);
    }
}

bool Source::is(const std::string& file) const { return base_name(file) == base_name(file_); }

std::string Source::line(unsigned number) const
{
    if (number == 0 || number > lines_.size()) {
        return "";
    }
    const std::string& text = lines_[number - 1];
    const std::size_t begin = text.find_first_not_of(" \t");
    return begin == std::string::npos ? "" : text.substr(begin);
}

Names Source::names(const Run& run) const
{
    std::map<std::uint32_t, std::vector<std::string>> candidates;
    for (const Step& step : run.steps) {
        for (const Act& act : step.enabled) {
            // After an unlock the line is still the one before.
            if (!act.is_shared() || act.deed == Deed::unlocks || !is(act.file)) {
                continue;
            }
            auto& names = candidates.emplace(act.object, declared_).first->second;
            std::erase_if(names,
                          [&](const std::string& name) { return !has_word(line(act.line), name); });
        }
    }
    Names names;
    for (const auto& [object, left] : candidates) {
        if (left.size() == 1) {
            names[object] = left.front();
        }
    }
    return names;
}

std::string describe(const Act& act, const Source& source, const Names& names)
{
    if (act.outside) {
        return act.text;
    }
    switch (act.deed) {
        case Deed::reads:
            return fmt::format("reads {}: {}", thing(act, names), act.value);
        case Deed::writes:
            return fmt::format("writes {}: {}", thing(act, names), act.value);
        case Deed::changes:
            return fmt::format("changes {}, was {}", thing(act, names), act.value);
        case Deed::locks:
            return fmt::format("locks {}", thing(act, names));
        case Deed::unlocks:
            return fmt::format("goes on without {}", thing(act, names));
        case Deed::accepts:
            return "accepts a client";
        case Deed::receives:
            return "receives";
        case Deed::sends:
            return "sends";
        case Deed::computes:
            return "computes";
        case Deed::submits:
            return "asks the pool";
        case Deed::awaits:
            return "awaits the result";
        case Deed::selects:
            return "selects";
        case Deed::takes_gil:
            return "takes the interpreter lock";
        case Deed::passes:
            break;
    }
    return call_in(source.is(act.file) ? source.line(act.line) : "");
}

}  // namespace ground::explore
