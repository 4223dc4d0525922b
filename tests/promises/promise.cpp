#include "promise.hpp"

#include "tests/stage.hpp"
#include "tests/suite.hpp"

namespace ground::test {

namespace {

std::string why_not(const Promise& promise, const doctest::detail::TestCase& test)
{
    const Foreign* const foreign = stage().foreign();
    if (foreign == nullptr) {
        return "";
    }
    if (includes(promise.needs, Needs::process) && foreign->port) {
        return "needs the process: give the command instead of --connect";
    }
    if (includes(promise.needs, Needs::model) && stage().unknown()) {
        return "depends on the model: name a stage with --as";
    }
    if (includes(promise.needs, Needs::guesses) && suite_option("--framing") != "auto") {
        return "is for servers that guess where a request ends: --framing auto";
    }
    if (test.m_skip) {
        return test.m_description != nullptr ? test.m_description
                                             : "is not promised by servers of this model";
    }
    return "";
}

}  // namespace

std::vector<Registered>& registered_promises()
{
    static std::vector<Registered> all;
    return all;
}

void PromiseDecorator::fill(doctest::detail::TestCase& test) const
{
    const std::string why = why_not(promise_, test);
    registered_promises().push_back({promise_, test.m_name, why});
    test.m_skip = test.m_skip || !why.empty();
}

}  // namespace ground::test
