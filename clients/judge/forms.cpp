#include "clients/judge/forms.hpp"

#include "clients/shared/target.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <sstream>

namespace ground::judge {

namespace {

constexpr int schema_version = 1;

// For a shell.
std::string quoted_word(const std::string& word)
{
    const auto harmless = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
               std::string_view("-_./:=,+@%").find(c) != std::string_view::npos;
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), harmless)) {
        return word;
    }
    std::string result = "'";
    for (const char c : word) {
        result += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return result + "'";
}

std::string command_again(const Judgement& judgement, const JudgeOptions& options)
{
    const Order& order = judgement.run.order;
    std::string command = "judge --only " + judgement.promise.id;
    if (order.is_known()) {
        command = fmt::format("explore --story {}{}", order.story,
                              order.actors.empty() ? "" : " --order " + quoted_word(order.actors));
    }
    if (!options.as.empty()) {
        command += " --as " + options.as;
    }
    if (options.guesses && !order.is_known()) {
        command += " --framing auto";
    }
    if (!options.connect.empty()) {
        return command + " --connect " + options.connect;
    }
    command += " --";
    for (const std::string& word : options.command) {
        command += ' ' + quoted_word(word);
    }
    return command;
}

// The last lines, indented, without what a terminal would obey.
std::string last_lines(const std::string& text, const std::string& indentation)
{
    constexpr std::size_t most = 12;
    std::vector<std::string> lines;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line.substr(0, 200));
    }
    std::string result;
    const std::size_t begin = lines.size() - std::min(lines.size(), most);
    for (std::size_t i = begin; i < lines.size(); ++i) {
        for (char& c : lines[i]) {
            const auto code = static_cast<unsigned char>(c);
            c = code < 32 || code == 127 ? ' ' : c;
        }
        result += indentation + lines[i] + '\n';
    }
    return result;
}

// "failed" only if it is certain.
bool counts_as_kept(const Judgement& judgement)
{
    return judgement.verdict == Verdict::pass || judgement.verdict == Verdict::by_design;
}

std::string xml(std::string_view text)
{
    std::string result;
    for (const char c : text) {
        const auto code = static_cast<unsigned char>(c);
        switch (c) {
            case '&':
                result += "&amp;";
                break;
            case '<':
                result += "&lt;";
                break;
            case '>':
                result += "&gt;";
                break;
            case '"':
                result += "&quot;";
                break;
            default:
                result += (code < 32 && c != '\n') || code > 126 ? '?' : c;
        }
    }
    return result;
}

std::string what(const Judgement& judgement)
{
    return judgement.verdict == Verdict::fail ? cause(judgement.run) : judgement.reason;
}

std::string dump(const nlohmann::ordered_json& json)
{
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace

std::string to_line(const Judgement& judgement)
{
    const std::string verdict = judgement.verdict == Verdict::fail
                                    ? (judgement.known ? "known" : "FAIL")
                                    : std::string(to_string(judgement.verdict));
    const std::string reason = counts_as_kept(judgement) || judgement.reason.empty()
                                   ? ""
                                   : fmt::format("\n{:<15}{}", "", judgement.reason);
    return fmt::format("{:<14} {:<35} {}{}\n", verdict, judgement.promise.id,
                       judgement.promise.text, reason);
}

std::string to_details(const Judgement& judgement, const Case& the_case)
{
    const Run& run = judgement.run;
    std::string text;
    const auto line = [&](std::string_view name, const std::string& value) {
        if (!value.empty()) {
            text += fmt::format("    {:<9} {}\n", name, value);
        }
    };
    line("cause", cause(run));
    // The last words sent and received are shown only if the judgement is about them.
    const auto is_about = [&](std::string_view words) {
        return run.seen.find(words) != std::string::npos;
    };
    if ((!run.promised.empty() && !run.order.is_known()) ||
        is_about("waited in vain for the server") || is_about("the server has closed") ||
        is_about("Connection reset by peer")) {
        line("sent", run.sent.empty() ? "" : in_quotes(run.sent));
        line("seen", run.received.empty() ? "nothing" : in_quotes(run.received));
    }
    const std::string promised = run.order.is_known() ? run.promised : in_quotes(run.promised);
    line("promised", run.promised.empty() ? judgement.promise.text : promised);
    line("order", fmt::format("{}", fmt::join(run.order.steps, ", then\n              ")));
    line("waiting", fmt::format("{}", fmt::join(run.order.stuck, "\n              ")));
    line("page", judgement.promise.page);
    line("hint", judgement.promise.help);
    const std::string runs = fmt::format("{} of {} broken", judgement.failed_runs, judgement.runs);
    line("runs", run.order.is_known()
                     ? fmt::format("{}; in this order {} of {}", runs, runs_to_fail, runs_to_fail)
                     : runs);
    if (!run.err.empty()) {
        text += "    its stderr\n" + last_lines(run.err, "      | ");
    } else if (!run.out.empty() && !run.ended.empty()) {
        text += "    its stdout\n" + last_lines(run.out, "      | ");
    }
    line("again", command_again(judgement, the_case.options));
    return text;
}

std::string to_sentence(const Summary& summary)
{
    std::string text = fmt::format("{} promises kept", summary.pass);
    const auto more = [&](unsigned count, std::string_view words) {
        if (count > 0) {
            text += fmt::format(", {} {}", count, words);
        }
    };
    more(summary.by_design, "by design");
    more(summary.fail, "broken");
    more(summary.known, "known to be broken");
    more(summary.unknown, "unknown");
    more(summary.error, "not judged because of an error");
    more(summary.not_applicable, "not applicable");
    return text;
}

std::string to_json(const std::vector<Judgement>& judgements, const Case& the_case)
{
    const Summary summary = summarize(judgements);
    nlohmann::ordered_json json;
    json["schema"] = "ground-judge";
    json["version"] = schema_version;
    json["date"] = the_case.date;
    json["command"] = the_case.options.command;
    json["connect"] = the_case.options.connect;
    json["as"] = the_case.options.as;
    json["machine"] = the_case.machine;
    json["slowdown"] = the_case.slowdown;
    json["summary"] = {{"pass", summary.pass},
                       {"fail", summary.fail},
                       {"known", summary.known},
                       {"by_design", summary.by_design},
                       {"not_applicable", summary.not_applicable},
                       {"unknown", summary.unknown},
                       {"error", summary.error},
                       {"exit_status", exit_status(summary)}};
    json["promises"] = nlohmann::ordered_json::array();
    for (const Judgement& judgement : judgements) {
        const Run& run = judgement.run;
        json["promises"].push_back({{"id", judgement.promise.id},
                                    {"promise", judgement.promise.text},
                                    {"verdict", to_string(judgement.verdict)},
                                    {"known", judgement.known},
                                    {"cause", what(judgement)},
                                    {"sent", run.sent},
                                    {"seen", run.received.empty() ? run.seen : run.received},
                                    {"expected", run.promised},
                                    {"ended", run.ended},
                                    {"stdout", run.out},
                                    {"stderr", run.err},
                                    {"help", judgement.promise.help},
                                    {"page", judgement.promise.page},
                                    {"runs", judgement.runs},
                                    {"failed_runs", judgement.failed_runs},
                                    {"seconds", judgement.seconds}});
        if (run.order.is_known()) {
            json["promises"].back()["order"] = {{"story", run.order.story},
                                                {"actors", run.order.actors},
                                                {"steps", run.order.steps},
                                                {"waiting", run.order.stuck}};
        }
    }
    return dump(json);
}

std::string to_junit(const std::vector<Judgement>& judgements)
{
    const Summary summary = summarize(judgements);
    double seconds = 0;
    std::string cases;
    for (const Judgement& judgement : judgements) {
        seconds += judgement.seconds;
        const auto slash = judgement.promise.id.find('/');
        cases += fmt::format(R"(  <testcase classname="{}" name="{}: {}" time="{:.3f}")",
                             xml(judgement.promise.id.substr(0, slash)), xml(judgement.promise.id),
                             xml(judgement.promise.text), judgement.seconds);
        const auto child = [&](std::string_view element) {
            cases += fmt::format(">\n    <{0} message=\"{1}\"/>\n  </testcase>\n", element,
                                 xml(what(judgement)));
        };
        if (counts_as_kept(judgement)) {
            cases += "/>\n";
        } else if (judgement.verdict == Verdict::not_applicable || judgement.known) {
            child("skipped");
        } else {
            child(judgement.verdict == Verdict::fail ? "failure" : "error");
        }
    }
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"judge\" tests=\"{}\" "
        "failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.3f}\">\n{}</testsuite>\n",
        judgements.size(), summary.fail, summary.unknown + summary.error,
        summary.not_applicable + summary.known, seconds, cases);
}

std::string to_gradescope(const std::vector<Judgement>& judgements, const Case& the_case)
{
    nlohmann::ordered_json json;
    json["tests"] = nlohmann::ordered_json::array();
    double seconds = 0;
    for (const Judgement& judgement : judgements) {
        seconds += judgement.seconds;
        if (judgement.verdict == Verdict::not_applicable) {
            continue;
        }
        const bool kept = counts_as_kept(judgement);
        json["tests"].push_back(
            {{"name", judgement.promise.text},
             {"number", judgement.promise.id},
             {"score", kept ? 1 : 0},
             {"max_score", 1},
             {"status", kept ? "passed" : "failed"},
             {"output", judgement.verdict == Verdict::fail ? to_details(judgement, the_case)
                                                           : judgement.reason}});
    }
    json["execution_time"] = seconds;
    return dump(json);
}

std::set<std::string> parse_baseline(std::string_view text)
{
    std::set<std::string> ids;
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin != std::string_view::npos && text[begin] == '{') {
        try {
            const auto json = nlohmann::json::parse(text);
            if (json.at("schema") != "ground-judge" || json.at("version") != schema_version) {
                throw ClientError(fmt::format("the baseline is no file of judge --json, version {}",
                                              schema_version));
            }
            for (const auto& promise : json.at("promises")) {
                if (promise.at("verdict") == to_string(Verdict::fail)) {
                    ids.insert(promise.at("id"));
                }
            }
        } catch (const nlohmann::json::exception& problem) {
            throw ClientError(
                fmt::format("the baseline is no file of judge --json: {}", problem.what()));
        }
        return ids;
    }
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line.substr(0, line.find('#')));
        for (std::string id; words >> id;) {
            ids.insert(id);
        }
    }
    return ids;
}

}  // namespace ground::judge
