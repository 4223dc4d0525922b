#include "clients/shared/schedule/subject.hpp"

#include "clients/shared/target.hpp"
#include "clients/shared/wrong_turns.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ground::explore {

namespace {

bool has_trait(const StageEntry& stage, const std::string& trait)
{
    return ("," + stage.traits + ",").find("," + trait + ",") != std::string::npos;
}

Subject subject_of(const StageEntry& stage, std::vector<std::string> options)
{
    return {{stage.name, stage.program, std::move(options), stage.file},
            stage,
            Source(stage.file, stage.source),
            has_trait(stage, "guard"),
            ""};
}

void choose_one(std::vector<std::string>& options,
                const std::vector<std::string_view>& unless_given,
                const std::vector<std::string>& chosen)
{
    const bool given = std::any_of(options.begin(), options.end(), [&](const std::string& option) {
        return std::any_of(unless_given.begin(), unless_given.end(),
                           [&](std::string_view name) { return option.starts_with(name); });
    });
    if (!given) {
        options.insert(options.end(), chosen.begin(), chosen.end());
    }
}

void leave_no_choice_to_the_kernel(const StageEntry& stage, std::vector<std::string>& options)
{
    if (has_trait(stage, "pool")) {
        choose_one(options, {"--pool", "--workers"}, {"--pool", "threads", "--workers", "1"});
    }
    if (stage.model == "a thread per core") {
        choose_one(options, {"--threads", "--processes"}, {"--threads", "1"});
    }
}

}  // namespace

Subject find_subject(const std::string& directory, const std::string& name, bool wrong,
                     const std::vector<std::string>& options)
{
    const Catalogue catalogue = read_catalogue(directory);
    Subject subject = [&] {
        if (!wrong) {
            return subject_of(find_stage(catalogue, name), options);
        }
        WrongTurn turn = find_wrong_turn(catalogue, directory, name);
        turn.options.insert(turn.options.end(), options.begin(), options.end());
        Subject mistaken = subject_of(turn.entry, turn.options);
        mistaken.counts = mistaken.counts || turn.counts;
        mistaken.story = turn.story;
        return mistaken;
    }();
    leave_no_choice_to_the_kernel(subject.stage, subject.server.options);
    return subject;
}

Subject own_subject(const std::string& directory, const std::string& as,
                    std::vector<std::string> command)
{
    StageEntry stage;
    if (!as.empty()) {
        stage = find_stage(read_catalogue(directory), as);
    }
    const std::string name = fmt::format("{}", fmt::join(command, " "));
    leave_no_choice_to_the_kernel(stage, command);
    stage.file.clear();
    Subject subject{{name, "", {}, "", std::move(command)},
                    stage,
                    Source("", ""),
                    has_trait(stage, "guard"),
                    ""};
    Play play(subject.server, stories_for(stage, false).front());
    for (const observe::Seen& seen : play.watcher().look()) {
        const std::string file = play.watcher().file(seen.where.file);
        if (seen.kind == observe::Kind::thread && !file.empty() && !file.starts_with("common/")) {
            find_source(subject.stage, file);
        }
    }
    subject.server.file = subject.stage.file;
    subject.source = Source(subject.stage.file, subject.stage.source);
    return subject;
}

Subject find_subject(const std::string& directory, const ScheduleFile& schedule,
                     const std::string& file)
{
    const bool wrong = schedule.source.find("/wrong_turns/") != std::string::npos;
    Subject subject = find_subject(directory, schedule.stage, wrong, {});
    subject.server.options = schedule.options;
    const std::string source = subject.source.file() + " " + fingerprint(subject.source.text());
    if (!schedule.source.empty() && schedule.source != source) {
        throw ClientError(fmt::format(
            "{}: {} has changed since; explore again, or take out the line 'source:' to try", file,
            subject.stage.file));
    }
    return subject;
}

std::vector<Story> choose_stories(const Subject& subject, const std::string& name)
{
    std::vector<Story> stories = stories_for(subject.stage, subject.counts);
    if (name.empty()) {
        stories.resize(by_default);
        return stories;
    }
    std::vector<std::string> names;
    for (const Story& story : stories) {
        names.push_back(story.name);
        if (story.name == name) {
            return {story};
        }
    }
    throw ClientError(
        fmt::format("there is no story '{}'; there are: {}", name, fmt::join(names, ", ")));
}

}  // namespace ground::explore
