// stage.hpp -- which stage a suite runs against, and what to expect of it.
//
// A suite's command line is `conformance STAGE_EXECUTABLE [options of the stage]`. doctest's own
// options may stand anywhere in their long form (--dt-test-case=...). With `--under LAUNCHER` that
// program starts the stage: 06c_monkey_patch, which makes its threads green.
//
// The judge runs `promises --as 02 ... -- COMMAND...`, or `--connect HOST:PORT` instead of a
// command.
#pragma once

#include "common/server/options.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ground::test {

// The thread or process that talks to a client.
enum class Model {
    sequential,          // the only thread, to one client after the other
    thread_per_client,   // a thread of its own
    process_per_client,  // a process of its own
    event_loop,          // the only thread, to all clients in turn
    event_loops,         // one of several threads, each to its clients in turn
};

// What a stage is, as far as the tests need to know: what scripts/stages found in its page and in
// its source.
struct Traits {
    std::string name;
    std::optional<Model> model;  // the page does not say
    bool has_pool = false;
    bool has_guard = false;              // for the data that its conversations share
    bool has_limits = false;             // ends what has no client, or what takes too long
    bool uses_select = false;            // holds no more clients than FD_SETSIZE
    bool finishes_when_stopped = false;  // SIGTERM lets it finish what it is computing
};

// A server that is not one of our stages: the judge is asked about it. It has the model of the
// stage that --as names.
struct Foreign {
    std::vector<std::string> command;   // how to start it
    std::string host = {};              // or where it runs already,
    std::optional<std::uint16_t> port;  // and listens
};

// The stage of this run.
class Stage {
  public:
    Stage(std::string executable, std::vector<std::string> arguments);
    Stage(Foreign foreign, std::string_view as);

    // What is wrong with the command line; empty if nothing is. (An exception before main() would
    // end the program.)
    [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

    // Nothing if it is one of ours.
    [[nodiscard]] const Foreign* foreign() const noexcept
    {
        return foreign_ ? &*foreign_ : nullptr;
    }

    [[nodiscard]] const std::string& executable() const noexcept { return executable_; }
    // How to start it: the executable, after the launcher if there is one (--under).
    [[nodiscard]] std::vector<std::string> command() const;
    // For results: 03_process_pool.threads, 06c_monkey_patch.02_threads.
    [[nodiscard]] std::string run() const;
    [[nodiscard]] const std::string& name() const noexcept { return traits_.name; }
    // Arguments for every server of this run, such as --pool threads.
    [[nodiscard]] const std::vector<std::string>& arguments() const noexcept { return arguments_; }

    // The value that the arguments give to an option of the stage, such as "--guard".
    [[nodiscard]] std::optional<std::string> option(std::string_view name) const;

    // It is unknown what talks to a client.
    [[nodiscard]] bool unknown() const noexcept { return !traits_.model.has_value(); }
    [[nodiscard]] bool is(std::string_view name) const noexcept
    {
        return traits_.name == name && !green() && !foreign_;
    }
    // Its threads are green, so what it is built for is not what it does.
    [[nodiscard]] bool green() const noexcept { return !launcher_.empty(); }

    [[nodiscard]] bool has_pool() const noexcept { return traits_.has_pool; }
    [[nodiscard]] bool has_guard() const noexcept { return traits_.has_guard; }
    [[nodiscard]] bool has_limits() const noexcept { return traits_.has_limits; }
    [[nodiscard]] bool uses_select() const noexcept { return traits_.uses_select; }
    [[nodiscard]] bool finishes_when_stopped() const { return traits_.finishes_when_stopped; }
    [[nodiscard]] bool has_thread_per_client() const noexcept
    {
        return traits_.model == Model::thread_per_client;
    }
    [[nodiscard]] bool has_process_per_client() const noexcept
    {
        return traits_.model == Model::process_per_client;
    }
    // One or several.
    [[nodiscard]] bool has_event_loop() const noexcept
    {
        return traits_.model == Model::event_loop || has_event_loops();
    }
    [[nodiscard]] bool has_event_loops() const noexcept
    {
        return traits_.model == Model::event_loops;
    }
    // Serves a client while another one is connected.
    [[nodiscard]] bool serves_others() const noexcept
    {
        return !unknown() && traits_.model != Model::sequential;
    }
    // Other processes compute, and they are ours.
    [[nodiscard]] bool has_processes() const noexcept
    {
        return traits_.has_pool && pool_ == PoolKind::processes && !foreign_;
    }
    [[nodiscard]] bool pool_is_threads() const noexcept
    {
        return traits_.has_pool && pool_ == PoolKind::threads;
    }
    // The thread or process that talks to a client computes what it asks for.
    [[nodiscard]] bool computes_by_itself() const noexcept
    {
        return !traits_.has_pool || pool_ == PoolKind::inline_;
    }
    // A scheduler of our own, which can be seen at work: a select() in the stage's source.
    [[nodiscard]] bool scheduler_is_ours() const noexcept
    {
        return has_event_loop() && name() < "07";
    }
    // Workers behind a broker compute. Each request passes three other programs, one after the
    // other. They share this machine's cores with everything else.
    [[nodiscard]] bool pool_is_broker() const noexcept
    {
        return traits_.has_pool && pool_ == PoolKind::broker;
    }
    // A big request does not delay a small one of another client.
    [[nodiscard]] bool serves_while_computing() const noexcept
    {
        return has_thread_per_client() || has_process_per_client() ||
               (has_event_loop() && traits_.has_pool && pool_ != PoolKind::inline_ &&
                !(green() && pool_ == PoolKind::threads));
    }
    // It does delay that one. (With several loops, only if it is a client of the same one.)
    [[nodiscard]] bool blocks_while_computing() const noexcept
    {
        return !serves_while_computing() && !has_event_loops();
    }

  private:
    std::string executable_;
    std::string launcher_;
    std::vector<std::string> arguments_;
    std::optional<Foreign> foreign_;
    std::string problem_;
    Traits traits_;
    PoolKind pool_ = PoolKind::processes;
};

// Known before main(), so that test cases can be skipped if they do not apply:
//     TEST_CASE("..." * only_if(stage().has_pool()))
[[nodiscard]] const Stage& stage();

// The value of an option of the suite itself, such as --seconds of soak. Servers do not get it.
[[nodiscard]] std::optional<std::string> suite_option(std::string_view name);

}  // namespace ground::test
