#include "verdict.hpp"

#include "tests/silent_reporter.hpp"
#include "tests/stage.hpp"

#include <cstdlib>
#include <fstream>
#include <string_view>

namespace ground::test {

namespace {

struct Verdict {
    std::string_view outcome;
    std::string reason;
    std::string figure;
};
Verdict verdict;  // of the test case that runs

std::string file_of_this_run()
{
    const char* const directory = std::getenv("FAULTS");
    if (directory == nullptr) {
        return {};
    }
    return std::string(directory) + "/" + stage().run();
}

// A line for each test case: fault, outcome, reason, figure, name of the test case. A last line
// says that the run was complete.
class Writer : public SilentReporter {
  public:
    explicit Writer(const doctest::ContextOptions& /*unused*/) {}

    void test_run_start() override
    {
        if (const std::string name = file_of_this_run(); !name.empty()) {
            file_.open(name, std::ios::trunc);
        }
    }
    void test_run_end(const doctest::TestRunStats& /*unused*/) override
    {
        file_ << "end\n";
        file_.close();
    }
    void test_case_start(const doctest::TestCaseData& test) override
    {
        test_ = &test;
        verdict = {};
    }
    void test_case_end(const doctest::CurrentTestCaseStats& stats) override
    {
        if (!stats.testCaseSuccess) {
            verdict.outcome = "FAILED";
        }
        write(verdict);
    }
    void test_case_skipped(const doctest::TestCaseData& test) override
    {
        test_ = &test;
        write({"not applicable", test.m_description == nullptr ? "" : test.m_description, {}});
    }

  private:
    void write(const Verdict& seen)
    {
        file_ << test_->m_test_suite << '\t' << seen.outcome << '\t' << seen.reason << '\t'
              << seen.figure << '\t' << test_->m_name << std::endl;
    }

    std::ofstream file_;
    const doctest::TestCaseData* test_ = nullptr;
};

REGISTER_LISTENER("verdicts", 1, Writer);

}  // namespace

void held(const std::string& reason)
{
    verdict.outcome = "held";
    verdict.reason = reason;
}

void by_design(const std::string& reason)
{
    verdict.outcome = "by design";
    verdict.reason = reason;
}

void refused(const std::string& reason)
{
    verdict.outcome = "refused";
    verdict.reason = reason;
}

void measured(const std::string& figure) { verdict.figure = figure; }

}  // namespace ground::test
