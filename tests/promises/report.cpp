#include "assertion.hpp"
#include "promise.hpp"
#include "tests/harness.hpp"
#include "tests/silent_reporter.hpp"
#include "tests/stage.hpp"

#include <nlohmann/json.hpp>

#include <iostream>
#include <optional>
#include <sstream>
#include <string>

namespace ground::test {

namespace {

// doctest puts them around the text of an exception, and may do so twice.
std::string without_quotes(std::string text)
{
    while (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
        text = text.substr(1, text.size() - 2);
    }
    return text;
}

// What CHECK_MESSAGE says. What CAPTURE says is of no use to someone who does not know the test.
std::string message_of_assertion()
{
    const int count = doctest::IReporter::get_num_active_contexts();
    if (count == 0) {
        return "";
    }
    std::ostringstream text;
    doctest::IReporter::get_active_contexts()[count - 1]->stringify(&text);
    return text.str().find(" := ") == std::string::npos ? text.str() : "";
}

class Report : public SilentReporter {
  public:
    explicit Report(const doctest::ContextOptions& /*unused*/) {}

    void test_case_start(const doctest::TestCaseData& /*unused*/) override { failed_.reset(); }

    // Of several failures the first counts: the others often follow from it.
    void log_assert(const doctest::AssertData& data) override
    {
        if (!data.m_failed || failed_) {
            return;
        }
        failed_.emplace();
        failed_->where = data.m_file + (":" + std::to_string(data.m_line));
        failed_->talk = last_talk();
        const std::string message = message_of_assertion();
        if (!message.empty() && !data.m_threw) {
            failed_->what.seen = message;
        } else if (data.m_threw) {
            failed_->what = {without_quotes(data.m_exception.c_str()), promised_text(data.m_expr)};
        } else {
            failed_->what = from_assertion(data.m_expr, data.m_decomp.c_str());
        }
    }

    void log_message(const doctest::MessageData& data) override
    {
        if ((data.m_severity & doctest::assertType::is_warn) == 0 && !failed_) {
            failed_.emplace();
            failed_->what.seen = data.m_string.c_str();
            failed_->talk = last_talk();
        }
    }

    void test_case_exception(const doctest::TestCaseException& exception) override
    {
        if (!failed_) {
            failed_.emplace();
            failed_->what.seen = without_quotes(exception.error_string.c_str());
            failed_->talk = last_talk();
        }
    }

    void test_case_end(const doctest::CurrentTestCaseStats& stats) override
    {
        const auto reason = reason_why_not();
        const auto& ending = last_ending();
        // A server that ends when its client has left is noticed by test cases that ask once more.
        const bool died =
            ending && ending->by_itself && (!stats.testCaseSuccess || ending->noticed);
        const bool kept = stats.testCaseSuccess && !died;
        nlohmann::ordered_json line;
        const bool unknown = !kept && Deadline::too_busy();
        line["outcome"] = reason    ? "not applicable"
                          : kept    ? "kept"
                          : unknown ? "undecided"
                                    : "broken";
        line["reason"] = reason.value_or(unknown ? "the machine was too busy" : "");
        line["seconds"] = stats.seconds;
        if (!failed_) {
            failed_.emplace();
        }
        line["sent"] = failed_->talk.sent;
        line["received"] = failed_->talk.received;
        line["seen"] = failed_->what.seen;
        line["promised"] = failed_->what.promised;
        line["where"] = failed_->where;
        line["ended"] = died ? ending->how : "";
        line["stdout"] = ending ? ending->out : "";
        line["stderr"] = ending ? ending->err : "";
        std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                  << std::endl;
    }

  private:
    struct Failed {
        std::string where;
        SeenAndPromised what;
        Talk talk;
    };

    // A DoesNotApply that was thrown. doctest knows its text only.
    [[nodiscard]] std::optional<std::string> reason_why_not() const
    {
        const std::string& why = DoesNotApply::last();
        return failed_ && !why.empty() && why == failed_->what.seen
                   ? std::optional(failed_->what.seen)
                   : std::nullopt;
    }

    std::optional<Failed> failed_;
};

REGISTER_LISTENER("judge", 2, Report);

}  // namespace

}  // namespace ground::test
