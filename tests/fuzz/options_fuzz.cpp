// options_fuzz.cpp -- what users type, against a reference that knows what they mean.
//
// An input that begins with '$' is the command line of a stage, with blanks between its words. Any
// other is a value, and is given to each of the clients' parsers.
#include "clients/compare/compare_options.hpp"
#include "clients/perf/perf_options.hpp"
#include "common/server/options.hpp"
#include "fuzz/fuzz.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace ground;

namespace {

void require(bool holds, std::string_view parser, std::string_view text)
{
    if (!holds) {
        throw Finding(fmt::format("{} gets {:?} wrong", parser, text));
    }
}

// Not negative and at most this large; only digits.
std::optional<std::uint64_t> whole_number(std::string text, std::uint64_t largest)
{
    if (text.empty() || text.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    text.erase(0, text.find_first_not_of('0'));
    if (text.size() > 12) {
        return std::nullopt;
    }
    const std::uint64_t number = std::stoull("0" + text);
    return number <= largest ? std::optional(number) : std::nullopt;
}

// "12", "1.5", "1.", ".5"
std::optional<long double> decimal(std::string_view text)
{
    long double value = 0;
    long double unit = 1;
    bool fraction = false;
    bool any_digit = false;
    for (const char c : text) {
        if (c == '.' && !fraction) {
            fraction = true;
        } else if (c >= '0' && c <= '9') {
            any_digit = true;
            unit /= fraction ? 10 : 1;
            value = fraction ? value + (c - '0') * unit : value * 10 + (c - '0');
        } else {
            return std::nullopt;
        }
    }
    return any_digit ? std::optional(value) : std::nullopt;
}

bool nearly(long double a, long double b) { return std::abs(a - b) <= 1e-12L * std::abs(b); }

void check_rate(std::string_view text)
{
    const auto rate = parse_rate(text);
    const auto expected = decimal(text);
    constexpr long double slowest = 1.0L / 86400;
    constexpr long double fastest = 1e7;
    require(!rate || (*rate > 0.99 * slowest && *rate <= fastest), "parse_rate", text);
    if (expected && !nearly(*expected, slowest) && !nearly(*expected, fastest)) {
        const bool in_range = *expected > slowest && *expected < fastest;
        require(rate.has_value() == in_range && (!rate || nearly(*rate, *expected)), "parse_rate",
                text);
    }
}

void check_duration(std::string_view text)
{
    const std::map<std::string, long double, std::less<>> units{
        {"ms", 1e6L}, {"s", 1e9L}, {"", 1e9L}, {"m", 60e9L}, {"h", 3600e9L}};
    constexpr long double longest = 365 * 86400e9L;
    const auto duration = parse_duration(text);
    const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto number = decimal(text.substr(0, end));
    const auto unit = units.find(text.substr(end));
    if (!number || unit == units.end()) {
        require(!duration, "parse_duration", text);
        return;
    }
    const long double expected = *number * unit->second;
    const auto close = [expected](Nanoseconds nanoseconds) {
        const auto count = static_cast<long double>(nanoseconds.count());
        return std::abs(count - expected) <= 1 + 1e-15L * expected;
    };
    if (!nearly(expected, longest)) {
        require(duration.has_value() == (expected < longest), "parse_duration", text);
    }
    if (duration) {
        require(close(*duration), "parse_duration", text);
        const auto again = parse_duration(to_string(*duration));
        // The nanoseconds of a day and more have too many digits for a double.
        const Nanoseconds slack(*duration > std::chrono::hours(24) ? 8 : 0);
        require(again && std::chrono::abs(*again - *duration) <= slack, "to_string(duration)",
                text);
    }
}

std::vector<std::string> split(std::string_view text, char separator)
{
    std::vector<std::string> parts(1);
    for (const char c : text) {
        if (c == separator) {
            parts.emplace_back();
        } else {
            parts.back() += c;
        }
    }
    return parts;
}

using Pairs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

std::optional<Pairs> pairs(const std::optional<Mix>& mix)
{
    if (!mix) {
        return std::nullopt;
    }
    Pairs result;
    for (const Share& share : *mix) {
        result.emplace_back(share.n, share.weight);
    }
    return result;
}

std::optional<Pairs> expected_mix(std::string_view text)
{
    Pairs mix;
    for (const std::string& part : split(text, ',')) {
        const std::vector<std::string> words = split(part, ':');
        const auto n = whole_number(words[0], 93);
        const auto weight = whole_number(words.size() > 1 ? words[1] : "1", 0xffffffff);
        if (words.size() > 2 || !n || !weight) {
            return std::nullopt;
        }
        if (*weight > 0) {
            mix.emplace_back(*n, *weight);
        }
    }
    return mix.empty() ? std::nullopt : std::optional(mix);
}

void check_mix(std::string_view text)
{
    const auto mix = parse_mix(text);
    require(pairs(mix) == expected_mix(text), "parse_mix", text);
    if (mix) {
        const std::string description = describe(*mix);
        std::string rewritten;
        for (const Share& share : *mix) {
            rewritten +=
                fmt::format("{}{}:{}", rewritten.empty() ? "" : ",", share.n, share.weight);
            require(description.find(fmt::format("fib({})", share.n)) != std::string::npos,
                    "describe", text);
        }
        require(pairs(parse_mix(rewritten)) == pairs(mix), "parse_mix", rewritten);
    }
}

using HostAndPort = std::pair<std::string, std::uint64_t>;

std::optional<HostAndPort> host_and_port(const std::optional<Target>& target)
{
    return target ? std::optional(HostAndPort(target->host, target->port)) : std::nullopt;
}

std::optional<HostAndPort> expected_target(const std::string& text)
{
    static const std::regex only_port("[0-9]+");
    static const std::regex in_brackets(R"(\[([^[\]]*)\](?::([0-9]*))?)");
    static const std::regex plain(R"(([^:[\]]*)(?::([0-9]*))?)");
    static const std::regex bare_ipv6(R"(([^[\]]*:[^[\]]*:[^[\]]*)())");
    std::string host;
    std::string port;
    if (std::regex_match(text, only_port)) {
        port = text;
    } else {
        std::smatch match;
        if (!std::regex_match(text, match, in_brackets) && !std::regex_match(text, match, plain) &&
            !std::regex_match(text, match, bare_ipv6)) {
            return std::nullopt;
        }
        host = match[1];
        port = match[2];
    }
    const auto number = whole_number(port.empty() ? "25000" : port, 65535);
    if ((host.empty() && port.empty()) || !number || *number == 0) {
        return std::nullopt;
    }
    return HostAndPort(host.empty() ? "localhost" : host, *number);
}

void check_target(std::string_view text)
{
    const auto target = parse_target(text);
    require(host_and_port(target) == expected_target(std::string(text)), "parse_target", text);
    if (target) {
        const std::string written = to_string(*target);
        require(host_and_port(parse_target(written)) == host_and_port(target), "to_string(target)",
                text);
    }
    const auto port = whole_number(std::string(text), 65535);
    require(parse_port(text) == (port == 0U ? std::nullopt : port), "parse_port", text);

    const std::size_t equals = text.find('=');
    const bool named = equals != std::string_view::npos && equals > 0;
    const auto external = parse_external(text);
    const auto where = named ? parse_target(text.substr(equals + 1)) : std::nullopt;
    require(external.has_value() == where.has_value(), "parse_external", text);
    require(!external || (external->name == text.substr(0, equals) && external->program.empty() &&
                          host_and_port(external->target) == host_and_port(where)),
            "parse_external", text);
}

// What a command line plainly asks for. None if it contains a mistake, or something with two
// meanings. parse_options() ends the program after a mistake, so it is not called then.
std::optional<Options> expected_options(const std::vector<std::string>& words,
                                        const About& this_stage)
{
    Options options;
    options.stage = this_stage.name;
    options.workers = std::max(1U, std::thread::hardware_concurrency());
    options.threads = options.workers;
    const auto number = [](auto& target, std::uint64_t smallest, std::uint64_t largest) {
        return [&target, smallest, largest](const std::string& text) {
            const auto value = whole_number(text, largest);
            if (!value || *value < smallest) {
                return false;
            }
            target = static_cast<std::remove_reference_t<decltype(target)>>(*value);
            return true;
        };
    };
    const auto choice = [](auto& target, auto choices) {
        return [&target, choices](const std::string& text) {
            const auto found = choices.find(text);
            if (found != choices.end()) {
                target = found->second;
            }
            return found != choices.end();
        };
    };
    const auto host = [&options](const std::string& text) {
        options.host = text;
        return !text.empty() && text[0] != '-';
    };
    const auto interval = [&options](const std::string& text) {
        const std::size_t end = std::min(text.find_first_not_of("0123456789"), text.size());
        const std::map<std::string, unsigned> units{{"us", 1}, {"ms", 1000}, {"s", 1000000}};
        const auto unit = units.find(text.substr(end));
        const auto count = whole_number(text.substr(0, end), 0xffffffff);
        if (unit == units.end() || !count || *count == 0 || *count * unit->second > 3'600'000'000) {
            return false;
        }
        options.switch_interval = std::chrono::microseconds(*count * unit->second);
        return true;
    };
    const auto inline_below = [&options, number](const std::string& text) {
        unsigned value = 0;
        const bool valid = number(value, 0, 94)(text);
        options.inline_below = value;
        return valid;
    };
    using Word = std::string;
    const std::map<Word, std::function<bool(const Word&)>> setters{
        {"--host", host},
        {"--port", number(options.port, 0, 65535)},
        {"--framing",
         choice(options.rules.framing, std::map<Word, Framing>{{"auto", Framing::automatic},
                                                               {"line", Framing::line},
                                                               {"chunk", Framing::chunk}})},
        {"--max-n", number(options.rules.max_n, 0, 93)},
        {"--algorithm", choice(options.rules.fib, std::map<Word, FibFunction>{{"recursive", fib},
                                                                              {"fast", fib_fast}})},
        {"--pool", choice(options.pool, std::map<Word, PoolKind>{{"processes", PoolKind::processes},
                                                                 {"threads", PoolKind::threads},
                                                                 {"inline", PoolKind::inline_},
                                                                 {"broker", PoolKind::broker}})},
        {"--workers", number(options.workers, 1, 256)},
        {"--switch-interval", interval},
        {"--inline-below", inline_below},
        {"--threads", number(options.threads, 1, 256)},
        {"--processes", number(options.processes, 1, 256)},
    };
    std::set<Word> given;  // if an option is given twice the last one counts
    for (auto word = words.begin(); word != words.end(); ++word) {
        const std::size_t equals = word->find('=');
        std::string name = word->substr(0, equals);
        if (name == "-q" || name == "--quiet") {
            name = "-q";
            options.quiet = true;
            if (equals != std::string::npos) {
                return std::nullopt;
            }
        } else {
            const auto setter = setters.find(name);
            const bool apart = equals == std::string::npos;
            if (setter == setters.end() || (apart && ++word == words.end()) ||
                !setter->second(apart ? *word : word->substr(equals + 1))) {
                return std::nullopt;
            }
        }
        given.insert(name);
    }
    if (given.contains("--threads") && given.contains("--processes")) {
        return std::nullopt;
    }
    return options;
}

void check_command_line(const std::string& text)
{
    const About this_stage{"stage", "Nothing."};
    std::istringstream stream(text);
    std::vector<std::string> words;
    for (std::string word; stream >> word;) {
        words.push_back(word.substr(0, word.find('\0')));
    }
    const auto expected = expected_options(words, this_stage);
    if (!expected) {
        return;
    }
    words.insert(words.begin(), this_stage.name);
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const Options options =
        parse_options(static_cast<int>(words.size()), arguments.data(), this_stage,
                      {.pool = true, .gil = true, .inline_below = true, .loops = true});
    const auto same = [&](auto member) { return options.*member == (*expected).*member; };
    require(same(&Options::stage) && same(&Options::host) && same(&Options::port) &&
                same(&Options::quiet) && same(&Options::pool) && same(&Options::workers) &&
                same(&Options::switch_interval) && same(&Options::inline_below) &&
                same(&Options::threads) && same(&Options::processes) &&
                options.rules.framing == expected->rules.framing &&
                options.rules.max_n == expected->rules.max_n &&
                options.rules.fib == expected->rules.fib,
            "parse_options", text);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::string_view text = as_text(data, size);
    if (text.starts_with('$')) {
        check_command_line(std::string(text.substr(1)));
        return 0;
    }
    check_rate(text);
    check_duration(text);
    check_mix(text);
    check_target(text);
    return 0;
}
