#include "common/green/hub.hpp"

#include "common/server/log.hpp"

#include <algorithm>

namespace ground::green {

namespace {

void report(const std::exception_ptr& error) noexcept
try {
    std::rethrow_exception(error);
} catch (const std::exception& e) {
    log("A green thread has ended: {}", e.what());
} catch (const TimedOut&) {
    log("A green thread has ended: timed out");
} catch (...) {
    log("A green thread has ended by an exception");
}

// A very long time means for ever: it must not overflow.
Hub::Clock::time_point in(std::chrono::nanoseconds time) noexcept
{
    const auto now = Hub::Clock::now();
    return now + std::min(time, Hub::Clock::time_point::max() - now);
}

// Throws the first exception that has been raised, if any.
void throw_raised(Hub::Waiter& who)
{
    if (!who.raised.empty()) {
        const std::exception_ptr error = std::move(who.raised.front().second);
        who.raised.pop_front();
        std::rethrow_exception(error);
    }
}

}  // namespace

Hub& Hub::current()
{
    static thread_local Hub hub;
    return hub;
}

Hub::Hub() : greenlet_([this] { loop(); }) {}

// The youngest first, because they may use what is on the stacks of the older ones.
Hub::~Hub()
{
    while (!alive_.empty()) {
        alive_.back()->greenlet.reset();
        alive_.back()->ended = true;
        alive_.pop_back();
    }
}

std::shared_ptr<Hub::Waiter> Hub::spawn(std::function<void()> body)
{
    auto who = std::make_shared<Waiter>();
    Waiter& waiter = *who;
    who->greenlet.emplace(
        [&waiter, body = std::move(body)]() mutable {
            try {
                std::exchange(body, nullptr)();
            } catch (const GreenletExit&) {
                throw;
            } catch (...) {
                waiter.error = std::current_exception();
                report(waiter.error);
            }
        },
        greenlet_);
    who->where = &*who->greenlet;
    who->place = alive_.insert(alive_.end(), who);
    wake(waiter);
    return who;
}

void Hub::loop()
{
    for (;;) {
        // A thread that is woken meanwhile has its turn after the sockets and the timers.
        for (std::size_t turns = ready_.size(); turns > 0; --turns) {
            Waiter* const next = ready_.front();
            ready_.pop_front();
            if (next != nullptr) {
                run(*next);
            }
        }
        while (!timers_.empty() && timers_.begin()->first <= Clock::now()) {
            const auto due = timers_.extract(timers_.begin());
            due.mapped()();
        }
        select();
    }
}

// Runs the thread until it waits or ends.
void Hub::run(Waiter& who)
{
    who.queued = false;
    running_ = &who;
    if (!who.raised.empty() && who.greenlet && who.where == &*who.greenlet &&
        !who.greenlet->begun()) {
        try {  // it is killed before it begins
            who.greenlet->throw_into(std::exchange(who.raised.front().second, nullptr));
        } catch (...) {
            who.error = std::current_exception();
        }
    } else {
        who.where->switch_to();
    }
    running_ = &main_;
    if (who.greenlet && who.greenlet->dead()) {
        who.ended = true;
        forget_wake(who);
        for (Waiter* const waiting : std::exchange(who.joining, {})) {
            wake(*waiting);
        }
        alive_.erase(who.place);
    }
}

void Hub::select()
{
    std::optional<std::chrono::nanoseconds> timeout;
    if (!ready_.empty()) {
        timeout = std::chrono::nanoseconds(0);
    } else if (!timers_.empty()) {
        timeout = std::max(std::chrono::nanoseconds(0), timers_.begin()->first - Clock::now());
    } else if (at_sockets_ == 0) {
        raise(main_, this, std::make_exception_ptr(LoopExit()));
        return;
    }
    for (const auto [key, events] : selector_.select(timeout)) {
        if (contains(events, Events::read) && key.data.reader != nullptr) {
            wake(*std::exchange(key.data.reader, nullptr));
        }
        if (contains(events, Events::write) && key.data.writer != nullptr) {
            wake(*std::exchange(key.data.writer, nullptr));
        }
        modify(key.fd, key.data);
    }
}

void Hub::modify(int fd, const Socket& socket)
{
    selector_.modify(fd, (socket.reader != nullptr ? Events::read : Events::none) |
                             (socket.writer != nullptr ? Events::write : Events::none));
}

Hub::Waiter*& Hub::place_at(int fd, Events event)
{
    Socket& socket = selector_.get_key(fd).data;
    return event == Events::read ? socket.reader : socket.writer;
}

void Hub::wait_for(int fd, Events event)
{
    if (!selector_.is_registered(fd)) {
        selector_.register_fd(fd, Events::none, {});
    }
    if (place_at(fd, event) != nullptr) {
        throw std::logic_error("two green threads wait for the same of one socket");
    }
    Waiter* const self = running_;
    place_at(fd, event) = self;
    ++at_sockets_;
    try {
        modify(fd, selector_.get_key(fd).data);
        pause();
        --at_sockets_;
    } catch (...) {
        --at_sockets_;
        if (selector_.is_registered(fd) && place_at(fd, event) == self) {
            place_at(fd, event) = nullptr;
            modify(fd, selector_.get_key(fd).data);
        }
        throw;
    }
}

void Hub::forget(int fd) noexcept
{
    if (!selector_.is_registered(fd)) {
        return;
    }
    for (const Events event : {Events::read, Events::write}) {
        if (Waiter* const waiting = std::exchange(place_at(fd, event), nullptr)) {
            raise(*waiting, this,
                  std::make_exception_ptr(std::system_error(EBADF, std::generic_category(),
                                                            "closed by another green thread")));
        }
    }
    selector_.unregister(fd);
}

void Hub::pause()
{
    Waiter& who = *running_;
    if (!who.raised.empty()) {
        forget_wake(who);  // the wake was for this wait and must not end the next one
        throw_raised(who);
    }
    who.where = &Greenlet::current();
    greenlet_.switch_to();
    throw_raised(who);
}

void Hub::wake(Waiter& who)
{
    if (!who.queued) {
        who.queued = true;
        ready_.push_back(&who);
    }
}

// Leaves an empty place, because the loop has counted the places in the queue.
void Hub::forget_wake(Waiter& who) noexcept
{
    if (std::exchange(who.queued, false)) {
        std::replace(ready_.begin(), ready_.end(), &who, static_cast<Waiter*>(nullptr));
    }
}

void Hub::raise(Waiter& who, const void* on_behalf_of, std::exception_ptr error)
{
    who.raised.emplace_back(on_behalf_of, std::move(error));
    wake(who);
}

void Thread::join() const
{
    Hub& hub = Hub::current();
    Hub::Waiter& self = hub.running();
    if (&self == waiter_.get()) {
        throw std::logic_error("a green thread can't wait for its own end");
    }
    while (!waiter_->ended) {
        const auto place = waiter_->joining.insert(waiter_->joining.end(), &self);
        try {
            hub.pause();
        } catch (...) {
            if (!waiter_->ended) {
                waiter_->joining.erase(place);
            }
            throw;
        }
    }
}

void Thread::kill(std::exception_ptr why) const
{
    Hub& hub = Hub::current();
    if (&hub.running() == waiter_.get()) {
        std::rethrow_exception(std::move(why));
    }
    if (!waiter_->ended) {
        hub.raise(*waiter_, nullptr, std::move(why));
        join();
    }
}

void sleep(std::chrono::nanoseconds time)
{
    Hub& hub = Hub::current();
    Hub::Waiter& self = hub.running();
    if (time <= std::chrono::nanoseconds(0)) {
        hub.wake(self);
        hub.pause();
        return;
    }
    bool over = false;
    const auto timer = hub.call_at(in(time), [&] {
        over = true;
        hub.wake(self);
    });
    try {
        hub.pause();
    } catch (...) {
        if (!over) {
            hub.cancel(timer);
        }
        throw;
    }
}

Timeout::Timeout(std::chrono::nanoseconds time)
{
    timer_ = hub_.call_at(in(time), [this] {
        timer_.reset();
        hub_.raise(owner_, this, std::make_exception_ptr(TimedOut{this}));
    });
}

Timeout::~Timeout()
{
    if (timer_) {
        hub_.cancel(*timer_);
    }
    // Its exception may have been raised but not thrown yet, because another one came first.
    std::erase_if(owner_.raised, [this](const auto& one) { return one.first == this; });
}

}  // namespace ground::green
