// What becomes of the results of runs: verdicts, exit status, texts and files.
#include "clients/judge/verdict.hpp"

#include "clients/judge/explorer.hpp"
#include "clients/judge/forms.hpp"
#include "clients/shared/target.hpp"
#include "tests/promises/assertion.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <set>
#include <string>
#include <vector>

using namespace ground::judge;

namespace {

Run run_with(Outcome outcome)
{
    Run run;
    run.outcome = outcome;
    return run;
}

const Run kept = run_with(Outcome::kept);
const Run broken = run_with(Outcome::broken);
const Run hung = run_with(Outcome::hung);
const Run failed_suite = run_with(Outcome::error);
const Run inapplicable = run_with(Outcome::not_applicable);
const Run undecided = run_with(Outcome::undecided);

Promise promise(std::string id = "protocol/x", std::string by_design = "")
{
    return {std::move(id),
            "it does x",
            "docs/protocol.md",
            "",
            "look there",
            std::move(by_design),
            "",
            ""};
}

Verdict verdict_of(const std::vector<Run>& runs) { return decide(promise(), runs).verdict; }

int status_of(const std::vector<Verdict>& verdicts)
{
    std::vector<Judgement> judgements;
    for (const Verdict verdict : verdicts) {
        judgements.push_back(not_run(promise(), verdict, ""));
    }
    return exit_status(summarize(judgements));
}

}  // namespace

TEST_CASE("judge: one run that keeps a promise is enough, and three must break it")
{
    CHECK(verdict_of({kept}) == Verdict::pass);
    CHECK(verdict_of({broken, broken, broken}) == Verdict::fail);
    CHECK(verdict_of({broken, hung, broken}) == Verdict::fail);
    CHECK(verdict_of({broken, kept, broken}) == Verdict::unknown);
    CHECK(verdict_of({broken}) == Verdict::unknown);
    CHECK(verdict_of({}) == Verdict::unknown);
    CHECK(verdict_of({broken, failed_suite, broken}) == Verdict::error);
    CHECK(verdict_of({inapplicable}) == Verdict::not_applicable);
    CHECK(verdict_of({broken, inapplicable, broken}) == Verdict::unknown);
    CHECK(verdict_of({broken, inapplicable, broken, broken}) == Verdict::fail);
}

TEST_CASE(
    "judge: a run that the machine was too busy for says nothing, and what others saw is told")
{
    CHECK(verdict_of({undecided}) == Verdict::unknown);
    CHECK(verdict_of({broken, undecided, undecided}) == Verdict::unknown);
    CHECK(verdict_of({broken, undecided, broken, broken}) == Verdict::fail);
    Run seen = broken;
    seen.seen = "1";
    seen.promised = "55";
    Run busy = undecided;
    busy.reason = "the machine was too busy";
    CHECK(decide(promise(), {busy}).reason == "the machine was too busy");
    CHECK(decide(promise(), {seen, busy, busy}).reason ==
          R"(1 of 3 runs broke it: it replied "1" instead of "55"; of the others nothing is )"
          "known: the machine was too busy");
}

TEST_CASE("judge: a flaw that a model has and shows is by design")
{
    const Judgement judgement = decide(promise("model/x", "others wait"), {kept});
    CHECK(judgement.verdict == Verdict::by_design);
    CHECK(judgement.reason == "others wait");
    CHECK(decide(promise("model/x", "others wait"), {broken, broken, broken}).verdict ==
          Verdict::fail);
}

TEST_CASE("judge: with --until-fail, one broken run is what was looked for")
{
    CHECK(decide_until_fail(promise(), {kept, kept, broken}).verdict == Verdict::fail);
    CHECK(decide_until_fail(promise(), {kept, kept}).verdict == Verdict::pass);
    CHECK(decide_until_fail(promise(), {kept, failed_suite}).verdict == Verdict::error);
}

TEST_CASE("judge: the exit status")
{
    CHECK(status_of({Verdict::pass, Verdict::by_design, Verdict::not_applicable}) == 0);
    CHECK(status_of({Verdict::pass, Verdict::fail, Verdict::unknown}) == 1);
    CHECK(status_of({Verdict::pass, Verdict::unknown}) == 2);
    CHECK(status_of({Verdict::not_applicable}) == 2);
    CHECK(status_of({}) == 2);
    CHECK(status_of({Verdict::fail, Verdict::error}) == 3);
}

TEST_CASE("judge: the first cause is said first")
{
    Run run = broken;
    run.seen = "1";
    run.promised = "55";
    CHECK(cause(run) == R"(it replied "1" instead of "55")");
    run.ended = "signal 11 (Segmentation fault)";
    CHECK(cause(run) == "it crashed: signal 11 (Segmentation fault)");
    run.ended = "exit status 1";
    CHECK(cause(run) == "it ended by itself, with exit status 1");
    run.seen = "it ended before it listened";
    CHECK(cause(run) == "it did not start: it ended with exit status 1 before it listened");
    run.ended = "";
    run.seen = "waited in vain for the server's reply; so far 0 bytes";
    CHECK(cause(run) == "no reply");
    run.received = "1";
    CHECK(cause(run) == "no further reply");
    // doctest may put it in quotes.
    run.seen = R"("waited in vain for the server's reply; so far 0 bytes)";
    CHECK(cause(run) == "no further reply");
    run.seen = "waited in vain for the server to send more or to close";
    CHECK(cause(run) == "no further reply, and no end of the connection");
    Run other = broken;
    other.seen = "waited in vain for all descriptors are closed";
    CHECK(cause(other) == "waited in vain for this: all descriptors are closed");
    run.seen = "waited in vain for the server to read or to send";
    CHECK(cause(run) == "no further reply: it does not read what is sent");
}

TEST_CASE("judge: long and strange texts are shown short and plain")
{
    CHECK(in_quotes("1\r\n\x1b[2J\"") == R"("1\r\n\x1b[2J\"")");
    CHECK(in_quotes("abcdefghij", 4) == R"("ab" ... 6 bytes ... "ij")");
    CHECK(in_quotes("") == R"("")");
}

TEST_CASE("judge: what was seen and what was promised, from an assertion")
{
    using ground::test::from_assertion;
    const auto both = from_assertion(R"(client.ask("1\n") == "55")", "89 == 55");
    CHECK(both.seen == "89");
    CHECK(both.promised == "55");
    const auto lines = from_assertion(R"(text == "a == b\n")", "x == a == b\n");
    CHECK(lines.seen == "x");
    CHECK(lines.promised == "a == b\n");
    CHECK(from_assertion("a.empty()", "false").seen == "it is not so that a.empty()");
    CHECK(from_assertion("client.read_line() == reply", "1 == 2").promised == "2");
    const auto count = from_assertion("threads == 3", "13 == 3");
    CHECK(count.seen == "it is not so that threads == 3 (13 == 3)");
    CHECK(count.promised == "");
}

TEST_CASE("judge: a baseline is a list of ids, or an earlier result")
{
    CHECK(parse_baseline("# known\na/b c/d # both\n\n") == std::set<std::string>{"a/b", "c/d"});
    const auto failed = decide(promise("protocol/bad"), {broken, broken, broken});
    const auto passed = decide(promise("protocol/good"), {kept});
    CHECK(parse_baseline(to_json({failed, passed}, {})) == std::set<std::string>{"protocol/bad"});
    CHECK_THROWS_AS(static_cast<void>(parse_baseline("{\"schema\": 1}")), ground::ClientError);
    CHECK_THROWS_AS(static_cast<void>(parse_baseline("{")), ground::ClientError);
}

TEST_CASE("judge: an order that explore has found is certain, whatever plain runs have shown")
{
    const std::string report = R"({"format": "explore 1", "stories": [{"story": "two", "found": {
        "promise": "every request is answered", "seen": "client 1 got no reply", "broken_again": 3,
        "order": "client 2, main x 3", "that_matter": ["main reads x: 0", "worker 1 writes x: 1"],
        "stuck": [{"actor": "client 1", "why": "waits for reply 1 of 1", "line": 0}]}}]})";
    const auto found = run_of_report(report);
    REQUIRE(found);
    const auto failed = decide_explored(decide(promise(), {kept}), *found);
    CHECK(failed.verdict == Verdict::fail);
    CHECK(cause(failed.run) == "in one order of threads and clients, client 1 got no reply");
    Case the_case;
    the_case.options.command = {"./mine"};
    the_case.options.as = "05";
    const std::string details = to_details(failed, the_case);
    for (const char* const text :
         {"main reads x: 0, then\n", "worker 1 writes x: 1\n", "client 1 waits for reply 1 of 1\n",
          "0 of 1 broken; in this order 3 of 3\n",
          "explore --story two --order 'client 2, main x 3' --as 05 -- ./mine\n"}) {
        CHECK_MESSAGE(details.find(text) != std::string::npos, text << " is not in\n" << details);
    }
    CHECK(nlohmann::json::parse(to_json({failed}, the_case)).at("promises")[0].contains("order"));
}

TEST_CASE("judge: what explore is not sure of is no finding")
{
    CHECK_FALSE(run_of_report(""));
    CHECK_FALSE(run_of_report("explore: it does not start"));
    CHECK_FALSE(run_of_report(R"({"format": "explore 2", "stories": []})"));
    CHECK_FALSE(run_of_report(R"({"format": "explore 1", "stories": [{"story": "two"}]})"));
    CHECK_FALSE(run_of_report(
        R"({"format": "explore 1", "stories": [{"story": "two", "found": {"broken_again": 2}}]})"));
    CHECK_FALSE(is_built_on_common("sh"));
    CHECK_FALSE(is_built_on_common("no such program"));
}

TEST_CASE("judge: files are well-formed, whatever a server has said")
{
    Run run = broken;
    run.seen = "<&\"\xff\x01";
    run.err = "\xc3\x28 <b>";
    const auto failed = decide(promise("protocol/bad"), {run, run, run});
    const auto json = nlohmann::json::parse(to_json({failed}, {}));
    CHECK(json.at("summary").at("exit_status") == 1);
    CHECK(nlohmann::json::parse(to_gradescope({failed}, {})).at("tests").at(0).at("score") == 0);
    const std::string junit = to_junit({failed});
    CHECK(junit.find("message=\"&lt;&amp;&quot;??\"") != std::string::npos);
}

TEST_CASE("judge: what others need is judged first")
{
    const auto sorted = in_order(
        {promise("faults/a"), promise("protocol/b"), promise("start/c"), promise("protocol/a")});
    CHECK(sorted[0].id == "start/c");
    CHECK(sorted[1].id == "protocol/b");
    CHECK(sorted[2].id == "protocol/a");
    CHECK(sorted[3].id == "faults/a");
}
