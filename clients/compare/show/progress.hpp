// progress.hpp -- shows how a comparison goes while it runs.
#pragma once

#include "clients/compare/judge/comparison.hpp"
#include "clients/compare/show/forecast.hpp"

#include <chrono>
#include <memory>

namespace ground {

// Writes to stderr, so that stdout has only the table. What was drawn in place disappears with the
// object, except a last picture of each scenario that has curves.
class Progress : public BenchObserver {
  public:
    // On a terminal, a block of lines that is drawn again and again. Otherwise, and with TERM=dumb,
    // a line for each measurement. The comparison outlives this object.
    [[nodiscard]] static std::unique_ptr<Progress> of(const Comparison& comparison);

    void begin(unsigned run, std::size_t scenario, std::size_t contestant);
    void end(const Measurement& measurement);
    // A measurement whose result is known in advance, because the stage does not start.
    void skip(std::size_t scenario, std::size_t contestant, const Measurement& known);
    // Call it now and then, because time passes also while nothing is reported.
    virtual void on_tick() = 0;

  protected:
    explicit Progress(const Comparison& comparison);
    [[nodiscard]] const Comparison& comparison() const noexcept { return comparison_; }
    [[nodiscard]] std::size_t done() const noexcept { return done_; }
    [[nodiscard]] std::size_t total() const noexcept;
    [[nodiscard]] double seconds_gone() const { return seconds_since(begin_); }
    [[nodiscard]] double seconds_left() const;

    // What is being measured.
    struct Current {
        unsigned run = 0;  // from 1; 0: nothing has been begun yet
        std::size_t scenario = 0;
        std::size_t contestant = 0;
    };
    [[nodiscard]] const Current& current() const noexcept { return current_; }

    using Time = std::chrono::steady_clock::time_point;
    [[nodiscard]] static double seconds_since(Time time);

  private:
    virtual void on_begin() = 0;
    virtual void on_end(const Measurement& measurement) = 0;
    virtual void on_skip(std::size_t scenario, std::size_t contestant,
                         const Measurement& known) = 0;

    const Comparison& comparison_;
    Forecast forecast_;
    Current current_;
    std::size_t done_ = 0;
    bool measuring_ = false;
    Time begin_ = std::chrono::steady_clock::now();
    Time current_begin_;
};

}  // namespace ground
