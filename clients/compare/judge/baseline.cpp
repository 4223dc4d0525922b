#include "clients/compare/judge/baseline.hpp"

#include "clients/compare/judge/comparison.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace ground {

namespace {

using Json = nlohmann::json;

// What differs between the conditions of two reports. If anything does, their figures can't be
// compared.
std::vector<std::string> differences(const Json& then, const Json& now)
{
    std::vector<std::string> found;
    const auto compare = [&](const Json& a, const Json& b, const std::string& key) {
        const Json before = a.value(key, Json());
        if (before != b.at(key)) {
            found.push_back(fmt::format("{} {}, now {}", key, before.dump(), b.at(key).dump()));
        }
    };
    for (const char* const key :
         {"placement", "connections", "duration_s", "big", "idle", "pipeline", "pool"}) {
        compare(then, now, key);
    }
    for (const char* const key : {"cpu", "cpus", "kernel", "compiler", "build"}) {
        compare(then.at("machine"), now.at("machine"), key);
    }
    return found;
}

}  // namespace

Baseline load_baseline(const std::string& file, const Comparison& now)
try {
    std::ifstream stream(file);
    if (!stream) {
        throw ClientError(
            fmt::format("can't read {}; a baseline is made with: compare --json={}", file, file));
    }
    const Json then = Json::parse(stream);
    Baseline baseline;
    baseline.file = file;
    baseline.date = then.at("date");
    baseline.differences = differences(then, Json::parse(format_json(now)));
    for (const Json& scenario : then.at("scenarios")) {
        for (const Json& stage : scenario.at("stages")) {
            const auto summary = stage.at("summary").find(scenario.at("ranked_by"));
            if (summary != stage.at("summary").end()) {
                baseline.entries[{scenario.at("scenario"), stage.at("stage")}] = {
                    {summary->at("median"), summary->at("low"), summary->at("high")},
                    stage.at("runs").size()};
            }
        }
    }
    return baseline;
} catch (const Json::exception&) {
    throw ClientError(fmt::format(
        "{} is not the JSON of a comparison; a baseline is made with: compare --json=FILE", file));
}

std::string change_since(const Baseline::Entry& then, const Baseline::Entry& now)
{
    if (then.summary.median == 0) {
        return now.summary.median == 0 ? "the same" : "was 0";
    }
    const double percent = 100 * (now.summary.median / then.summary.median - 1);
    const bool unclear = then.runs < 2 || now.runs < 2 || then.summary.close_to(now.summary);
    return fmt::format("{}{:+.0f}%", unclear ? "~ " : "", percent);
}

}  // namespace ground
