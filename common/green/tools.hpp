// tools.hpp -- what green threads wait for besides sockets and time: events, semaphores, locks,
// queues and pools, with gevent's names.
//
// Who may call: see hub.hpp. Functions that wait say so; the others never do, and do not let
// anybody else run. Who waits is served in the order of coming. A tool must live longer than those
// who wait for it.
#pragma once

#include "common/green/hub.hpp"

#include <cstddef>
#include <deque>
#include <limits>
#include <list>
#include <optional>
#include <utility>

namespace ground::green {

// Those who wait for something to change, and look again when they are told that it has.
class WaitingList {
  public:
    WaitingList() = default;
    WaitingList(const WaitingList&) = delete;
    WaitingList& operator=(const WaitingList&) = delete;

    // Waits until it is this one's turn to be told.
    void wait()
    {
        Entry self{&hub_.running()};
        const auto place = list_.insert(list_.end(), &self);
        try {
            hub_.pause();
        } catch (...) {
            if (self.told) {
                tell_one();  // who is killed when he has just been told passes it on
            } else {
                list_.erase(place);
            }
            throw;
        }
    }

    void tell_one()
    {
        if (!list_.empty()) {
            Entry& first = *list_.front();
            list_.pop_front();
            first.told = true;
            hub_.wake(*first.who);
        }
    }

    void tell_all()
    {
        while (!list_.empty()) {
            tell_one();
        }
    }

  private:
    struct Entry {
        Hub::Waiter* who;
        bool told = false;
    };

    Hub& hub_ = Hub::current();
    std::list<Entry*> list_;
};

// Has happened, or not yet.
class Event {
  public:
    [[nodiscard]] bool is_set() const noexcept { return set_; }
    void set()
    {
        set_ = true;
        waiting_.tell_all();
    }
    void clear() noexcept { set_ = false; }

    // Waits until it is set.
    void wait()
    {
        while (!set_) {
            waiting_.wait();
        }
    }

  private:
    bool set_ = false;
    WaitingList waiting_;
};

// So many may have it at a time.
class Semaphore {
  public:
    explicit Semaphore(std::size_t free = 1) : free_(free) {}

    // Waits until one is free, and takes it.
    void acquire()
    {
        while (!try_acquire()) {
            waiting_.wait();
        }
    }
    [[nodiscard]] bool try_acquire() noexcept
    {
        if (free_ == 0) {
            return false;
        }
        --free_;
        return true;
    }
    void release()
    {
        ++free_;
        waiting_.tell_one();
    }

  private:
    std::size_t free_;
    WaitingList waiting_;
};

// A semaphore for one, with the names that std::lock_guard wants. Needed only around what waits:
// nothing else can be interrupted.
class Lock {
  public:
    void lock() { semaphore_.acquire(); }  // waits
    [[nodiscard]] bool try_lock() noexcept { return semaphore_.try_acquire(); }
    void unlock() { semaphore_.release(); }

  private:
    Semaphore semaphore_;
};

// First in, first out. A bounded one makes those who put wait for those who get: so it can't grow.
template <typename T>
class Queue {
  public:
    explicit Queue(std::size_t most = std::numeric_limits<std::size_t>::max()) : most_(most) {}

    // Waits until there is room.
    void put(T item)
    {
        while (full()) {
            not_full_.wait();
        }
        items_.push_back(std::move(item));
        not_empty_.tell_one();
    }

    // Waits until there is something.
    [[nodiscard]] T get()
    {
        while (empty()) {
            not_empty_.wait();
        }
        T item = std::move(items_.front());
        items_.pop_front();
        not_full_.tell_one();
        return item;
    }

    // False, and nothing has changed, if there is no room.
    [[nodiscard]] bool try_put(T item)
    {
        if (full()) {
            return false;
        }
        put(std::move(item));
        return true;
    }

    [[nodiscard]] std::optional<T> try_get()
    {
        if (empty()) {
            return std::nullopt;
        }
        return get();
    }

    [[nodiscard]] bool empty() const noexcept { return items_.empty(); }
    [[nodiscard]] bool full() const noexcept { return items_.size() >= most_; }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

  private:
    std::size_t most_;
    std::deque<T> items_;
    WaitingList not_empty_;
    WaitingList not_full_;
};

// At most so many threads at a time. It waits for none of them at its end: join() before.
class Pool {
  public:
    explicit Pool(std::size_t most) : free_(most) {}

    // Waits until there are fewer, then spawns.
    template <typename Body, typename... Arguments>
    Thread spawn(Body body, Arguments... arguments)
    {
        free_.acquire();
        Place place(*this);
        return green::spawn(
            [place = std::move(place), body = std::move(body)](auto... a) mutable {
                std::invoke(std::move(body), std::move(a)...);
            },
            std::move(arguments)...);
    }

    // Waits until all that it has spawned have ended.
    void join()
    {
        while (running_ > 0) {
            ended_.wait();
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return running_; }

  private:
    // Is held by a thread, and given back with it, even if it has never begun.
    class Place {
      public:
        explicit Place(Pool& pool) noexcept : pool_(&pool) { ++pool.running_; }
        Place(Place&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
        Place& operator=(Place&&) = delete;
        ~Place()
        {
            if (pool_ != nullptr) {
                --pool_->running_;
                pool_->free_.release();
                pool_->ended_.tell_all();
            }
        }

      private:
        Pool* pool_;
    };

    Semaphore free_;
    std::size_t running_ = 0;
    WaitingList ended_;
};

}  // namespace ground::green
