// tools.hpp -- what green threads wait for besides sockets and time: events, semaphores, locks,
// queues and pools, with gevent's names.
//
// hub.hpp says which threads may call. Functions that wait say so; the others never wait, and no
// other thread runs meanwhile. Threads that wait are served in the order in which they came. What
// is released goes to the first of them, and no other thread can take it before. A tool must
// outlive the threads that wait for it.
#pragma once

#include "common/green/hub.hpp"

#include <cstddef>
#include <deque>
#include <limits>
#include <list>
#include <optional>
#include <utility>

namespace ground::green {

// The threads that wait for something. A thread that is notified need not check again, because it
// then has what it waited for.
class WaitingList {
  public:
    WaitingList() = default;
    WaitingList(const WaitingList&) = delete;
    WaitingList& operator=(const WaitingList&) = delete;

    // Waits until this thread is notified. Calls give_back() if it is notified but killed before it
    // runs.
    template <typename GiveBack>
    void wait(GiveBack give_back)
    {
        Entry self{&hub_.running()};
        const auto place = list_.insert(list_.end(), &self);
        try {
            hub_.pause();
        } catch (...) {
            if (self.told) {
                give_back();
            } else {
                list_.erase(place);
            }
            throw;
        }
    }
    void wait()
    {
        wait([] {});
    }

    // Notifies the first one; returns false if there is none.
    bool notify_one()
    {
        if (list_.empty()) {
            return false;
        }
        Entry& first = *list_.front();
        list_.pop_front();
        first.told = true;
        hub_.wake(*first.who);
        return true;
    }

    void notify_all()
    {
        while (notify_one()) {
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

// Something that has happened, or has not happened yet.
class Event {
  public:
    [[nodiscard]] bool is_set() const noexcept { return set_; }
    void set()
    {
        set_ = true;
        waiting_.notify_all();
    }
    void clear() noexcept { set_ = false; }

    // Waits until the event is set. A waiting thread resumes even if a clear() follows at once.
    void wait()
    {
        if (!set_) {
            waiting_.wait();
        }
    }

  private:
    bool set_ = false;
    WaitingList waiting_;
};

// Up to a given number of threads may hold a semaphore at a time.
class Semaphore {
  public:
    explicit Semaphore(std::size_t free = 1) : free_(free) {}

    // Waits until it is free for one thread more, and takes it.
    void acquire()
    {
        if (!try_acquire()) {
            waiting_.wait([this] { release(); });
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
    // If threads wait, the first of them gets what is released.
    void release()
    {
        if (!waiting_.notify_one()) {
            ++free_;
        }
    }
    [[nodiscard]] std::size_t free() const noexcept { return free_; }

  private:
    std::size_t free_;
    WaitingList waiting_;
};

// A semaphore for one thread, with the names that std::lock_guard needs. You need it only around
// code that waits, because a thread is interrupted nowhere else.
class Lock {
  public:
    void lock() { semaphore_.acquire(); }  // waits
    [[nodiscard]] bool try_lock() noexcept { return semaphore_.try_acquire(); }
    void unlock() { semaphore_.release(); }

  private:
    Semaphore semaphore_;
};

// First in, first out. In a bounded queue put() waits for get(), so that the queue can't grow.
template <typename T>
class Queue {
  public:
    explicit Queue(std::size_t most = std::numeric_limits<std::size_t>::max()) : room_(most) {}

    // Waits until there is room.
    void put(T item)
    {
        room_.acquire();
        add(std::move(item));
    }

    // Waits until there is an item.
    [[nodiscard]] T get()
    {
        filled_.acquire();
        return take();
    }

    // Returns false and changes nothing if there is no room.
    [[nodiscard]] bool try_put(T item)
    {
        if (!room_.try_acquire()) {
            return false;
        }
        add(std::move(item));
        return true;
    }

    [[nodiscard]] std::optional<T> try_get()
    {
        if (!filled_.try_acquire()) {
            return std::nullopt;
        }
        return take();
    }

    // Items and room that were handed to a waiting thread no longer count, even if that thread has
    // not run yet.
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }
    [[nodiscard]] bool full() const noexcept { return room_.free() == 0; }
    [[nodiscard]] std::size_t size() const noexcept { return filled_.free(); }

  private:
    void add(T item)
    {
        items_.push_back(std::move(item));
        filled_.release();
    }

    T take()
    {
        T item = std::move(items_.front());
        items_.pop_front();
        room_.release();
        return item;
    }

    std::deque<T> items_;
    Semaphore room_;
    Semaphore filled_{0};
};

// At most this many threads at a time. The destructor does not wait for them: call join() before.
class Pool {
  public:
    explicit Pool(std::size_t most) : free_(most) {}

    // Waits until there is room for one more thread, then spawns it.
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

    // Waits until all threads of the pool have ended.
    void join()
    {
        while (running_ > 0) {
            ended_.wait();
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return running_; }

  private:
    // A thread holds this. When the thread is destroyed, this is released, even if the thread has
    // never begun.
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
                pool_->ended_.notify_all();
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
