// forecast.hpp -- how long the rest of a comparison takes.
//
// A measurement that was made before takes as long as it did the last time. For the others, the
// planned time is multiplied by a factor: the median of how much longer than planned the
// measurements took so far. Measurements that failed are left out, because how long it takes to
// hang or to die says nothing about the next stage.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <utility>
#include <vector>

namespace ground {

class Forecast {
  public:
    // planned: the seconds of one measurement, for each scenario.
    Forecast(std::vector<double> planned, std::size_t contestants, unsigned runs)
        : planned_(std::move(planned)), contestants_(contestants), runs_(runs)
    {
    }

    void add(std::size_t scenario, std::size_t contestant, double seconds, bool failed)
    {
        const std::pair key{scenario, contestant};
        seconds_[key] = seconds;
        ++done_[key];
        if (!failed) {
            slowness_.push_back(seconds / planned_[scenario]);
        }
    }

    // This contestant will not be tried again.
    void give_up(std::size_t contestant)
    {
        for (std::size_t scenario = 0; scenario < planned_.size(); ++scenario) {
            seconds_[{scenario, contestant}] = 0;
        }
    }

    // The seconds of one measurement.
    [[nodiscard]] double of(std::size_t scenario, std::size_t contestant) const
    {
        const auto known = seconds_.find({scenario, contestant});
        return known != seconds_.end() ? known->second : planned_[scenario] * slowness();
    }

    // The seconds of all measurements that have not been added.
    [[nodiscard]] double left() const
    {
        double sum = 0;
        for (std::size_t scenario = 0; scenario < planned_.size(); ++scenario) {
            for (std::size_t contestant = 0; contestant < contestants_; ++contestant) {
                const auto done = done_.find({scenario, contestant});
                const unsigned runs = runs_ - (done != done_.end() ? done->second : 0);
                sum += runs * of(scenario, contestant);
            }
        }
        return sum;
    }

  private:
    [[nodiscard]] double slowness() const
    {
        if (slowness_.empty()) {
            return 1;
        }
        std::vector<double> values = slowness_;
        const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
        std::nth_element(values.begin(), middle, values.end());
        return *middle;
    }

    std::vector<double> planned_;
    std::size_t contestants_;
    unsigned runs_;
    std::map<std::pair<std::size_t, std::size_t>, double> seconds_;  // of the last measurement
    std::map<std::pair<std::size_t, std::size_t>, unsigned> done_;
    std::vector<double> slowness_;
};

}  // namespace ground
