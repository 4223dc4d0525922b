// shared.hpp -- what threads share: an atomic value, a mutex, and a lock on it.
//
// They do what std::atomic, std::mutex and std::unique_lock do. But each step is a seam (see
// common/observe): a watcher sees it, and can let another thread go first. If the server is not
// watched, a seam costs a load and a branch.
#pragma once

#include "common/observe/seams.hpp"

#include <atomic>
#include <cstdint>
#include <mutex>

namespace ground {

// A value that any thread may read and write at any time. There are only named functions, and no
// operators, so that you see each access: each is a step of its own. The order is sequentially
// consistent.
template <typename T>
class Atomic {
  public:
    Atomic(T value = T{}) noexcept : value_(value) {}  // NOLINT: implicit, as std::atomic's
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    [[nodiscard]] T load(Here here = Here::at()) const noexcept
    {
        return step(observe::Deed::reads, {}, here, [this] { return value_.load(); });
    }

    void store(T value, Here here = Here::at()) noexcept
    {
        step(observe::Deed::writes, value, here, [this, value] {
            value_.store(value);
            return value;
        });
    }

    // Reads, adds and writes in one step. Returns what it has read.
    T fetch_add(T summand, Here here = Here::at()) noexcept
    {
        return step(observe::Deed::changes, {}, here,
                    [this, summand] { return value_.fetch_add(summand); });
    }

    // Reads and writes in one step. Returns what it has read.
    T exchange(T value, Here here = Here::at()) noexcept
    {
        return step(observe::Deed::changes, value, here,
                    [this, value] { return value_.exchange(value); });
    }

  private:
    // `access` returns what it has read.
    template <typename Access>
    T step(observe::Deed deed, T written, Here here, Access access) const noexcept
    {
        if (!observe::watched()) [[likely]] {
            return access();
        }
        observe::shares(deed, this, here, static_cast<std::uint64_t>(written));
        const T read = access();
        observe::has_read(static_cast<std::uint64_t>(read));
        return read;
    }

    std::atomic<T> value_;
};

// At most one thread holds it. Take it with a Lock.
class Mutex {
  public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void lock() { lock({}); }
    void lock(Here here)
    {
        if (!observe::watched()) [[likely]] {
            mutex_.lock();
            return;
        }
        observe::shares(observe::Deed::locks, this, here);
        if (!mutex_.try_lock()) {
            const observe::WaitsForLock waiting(holder_.load(std::memory_order_relaxed));
            mutex_.lock();
        }
        holder_.store(observe::runs_as(), std::memory_order_relaxed);
    }
    // Here the seam comes after the operation, when the lock is free. So the watcher can let
    // another thread take it before this one continues.
    void unlock() noexcept
    {
        if (!observe::watched()) [[likely]] {
            mutex_.unlock();
            return;
        }
        holder_.store(0, std::memory_order_relaxed);
        mutex_.unlock();
        observe::shares(observe::Deed::unlocks, this, {});
    }

  private:
    std::mutex mutex_;
    std::atomic<std::uint32_t> holder_{0};  // its entry in the watcher's table
};

// Holds a mutex, or none, for as long as it lives or until unlock().
class [[nodiscard]] Lock : public std::unique_lock<Mutex> {
  public:
    Lock() = default;
    explicit Lock(Mutex& mutex, Here here = Here::at())
        : std::unique_lock<Mutex>(mutex, std::defer_lock)
    {
        mutex.lock(here);
        static_cast<std::unique_lock<Mutex>&>(*this) =
            std::unique_lock<Mutex>(mutex, std::adopt_lock);
    }
};

}  // namespace ground
