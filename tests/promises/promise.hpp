// promise.hpp -- test cases that any server can be asked for: what the judge judges.
//
// A test case becomes a promise by a record beside its name:
//
//     TEST_CASE("blank lines are ignored" *
//               promise({.id = "protocol/blank-lines", .page = "docs/protocol.md#..."}))
//
// The name is the promise in words, and may change. The id never changes, because baselines and
// marks refer to it. For our own stages the record means nothing: all suites run the test case.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace ground::test {

// What a test case needs to know of a server, beside its address.
enum class Needs : unsigned {
    port = 0,
    process = 1,  // to look at it from outside, or to send it a signal
    model = 2,    // which stage it is like: --as
    guesses = 4,  // that it answers numbers without line ends: --framing auto
};

constexpr Needs operator|(Needs a, Needs b)
{
    return static_cast<Needs>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool includes(Needs all, Needs one)
{
    return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0;
}

struct Promise {
    std::string_view id;
    std::string_view page;  // with the section that promises it
    Needs needs = Needs::port;
    std::string_view by_design = {};  // the flaw that servers of this model have, and show
    std::string_view after = {};      // the id of another. If that is broken, so is this, and
                                      // nothing new is learnt
    std::string_view help = {};       // where to look if it is broken
    // Whether it is kept may be a matter of chance. Then these are the stories in which explore
    // looks for an order that breaks it, if the server is built on common/: "two,same".
    std::string_view stories = {};
};

// A promise of this run.
struct Registered {
    Promise promise;
    std::string name;     // of the test case
    std::string why_not;  // why it is not asked for; empty if it is
};

// All of them, in no order.
[[nodiscard]] std::vector<Registered>& registered_promises();

// The decorator. It stands behind only_if(), because it has to know the result.
class PromiseDecorator {
  public:
    explicit PromiseDecorator(const Promise& promise) : promise_(promise) {}
    void fill(doctest::detail::TestCase& test) const;

  private:
    Promise promise_;
};

[[nodiscard]] inline PromiseDecorator promise(const Promise& promise)
{
    return PromiseDecorator(promise);
}

}  // namespace ground::test
