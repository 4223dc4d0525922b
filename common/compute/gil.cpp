#include "common/compute/gil.hpp"

namespace ground {

bool Gil::Thread::take(const std::stop_token& stop)
{
    const std::stop_callback wake(stop, [this] {
        const std::lock_guard lock(gil_.mutex_);
        gil_.unlocked_.notify_all();
    });
    observe::may_stop();
    std::unique_lock lock(gil_.mutex_);
    const observe::Meanwhile waiting(observe::locked, gil_.locked_);
    bool asked = false;
    while (gil_.locked_) {
        if (stop.stop_requested()) {
            // A thread that gives up withdraws its request (CPython's gh-96387). Other threads that
            // want the lock will request it again.
            if (asked) {
                const std::lock_guard switch_lock(gil_.switch_mutex_);
                gil_.drop_request_ = false;
                gil_.switched_.notify_one();
            }
            return false;
        }
        const std::uint64_t seen = gil_.switch_number_;
        const auto waited = gil_.unlocked_.wait_for(lock, gil_.interval_);
        // If another thread has taken the lock meanwhile, the new holder has a full interval.
        if (waited == std::cv_status::timeout && gil_.locked_ && gil_.switch_number_ == seen) {
            gil_.drop_request_ = true;
            asked = true;
        }
    }

    const std::lock_guard switch_lock(gil_.switch_mutex_);
    gil_.locked_ = true;
    if (gil_.last_holder_ != id_) {
        gil_.last_holder_ = id_;
        ++gil_.switch_number_;
    }
    gil_.drop_request_ = false;
    gil_.switched_.notify_one();
    observe::holds_lock(1);
    return true;
}

Number Gil::Thread::evaluate(FibFunction::Plain f, unsigned n)
{
    drop_if_asked();
    if (f != fib || n <= 2) {
        return f(n);  // a single call, or the end of the recursion
    }
    return evaluate(f, n - 1) + evaluate(f, n - 2);
}

void Gil::Thread::drop()
{
    observe::holds_lock(-1);
    {
        const std::lock_guard lock(gil_.mutex_);
        gil_.locked_ = false;
        gil_.unlocked_.notify_one();
    }
    if (gil_.drop_request_) {
        std::unique_lock lock(gil_.switch_mutex_);
        if (gil_.drop_request_ && gil_.last_holder_ == id_) {
            gil_.drop_request_ = false;
            gil_.switched_.wait(lock);
        }
    }
}

}  // namespace ground
