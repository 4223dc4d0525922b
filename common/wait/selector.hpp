// selector.hpp -- epoll(7) as Python's selectors module has it: register, modify, unregister,
// select.
//
// Every call of select(2) passes all descriptors to the kernel, which looks at each of them. epoll
// gets a descriptor once, and the kernel keeps the list. What a call costs depends on how many
// descriptors are ready, not on how many are registered.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ground {

// The events that we wait for on a descriptor, or that it is ready for.
enum class Events : std::uint32_t { none = 0, read = EPOLLIN, write = EPOLLOUT };

[[nodiscard]] constexpr Events operator|(Events one, Events other) noexcept
{
    return static_cast<Events>(static_cast<std::uint32_t>(one) | static_cast<std::uint32_t>(other));
}
[[nodiscard]] constexpr Events operator&(Events one, Events other) noexcept
{
    return static_cast<Events>(static_cast<std::uint32_t>(one) & static_cast<std::uint32_t>(other));
}
[[nodiscard]] constexpr bool contains(Events events, Events one) noexcept
{
    return (events & one) != Events::none;
}

// Waits for many descriptors at once, and keeps a piece of the user's data for each of them:
//
//     Selector<Callback> selector;
//     selector.register_fd(listener.native_handle(), Events::read, on_newcomer);
//     for (;;) {
//         for (const auto [key, events] : selector.select()) {
//             key.data(events);
//         }
//     }
//
// Level-triggered, as Python's: a descriptor that is still ready is reported again.
//
// One thread owns all of this. Another thread can end a select() by writing to a descriptor that is
// registered, for example an eventfd(2). Errors of the kernel are thrown as std::system_error.
template <typename Data>
class Selector {
  public:
    struct Key {
        const int fd;
        Events events;  // what we wait for; change it with modify()
        Data data;
    };
    struct Ready {
        Key& key;
        Events events;  // at least one of key.events
    };
    class ReadyList;

    Selector() : epoll_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {}
    Selector(const Selector&) = delete;
    Selector& operator=(const Selector&) = delete;

    // Unregister a descriptor before you close it. The kernel forgets a file only when its last
    // descriptor is closed, and a child process may hold another one. The returned reference stays
    // valid until the select() after unregister().
    Key& register_fd(int fd, Events events, Data data)
    {
        const auto [place, is_new] = keys_.try_emplace(fd, fd, events, std::move(data));
        if (!is_new) {
            throw std::invalid_argument("descriptor is registered already");
        }
        try {
            apply(place->second, events);
        } catch (...) {
            keys_.erase(place);
            throw;
        }
        return place->second.key;
    }

    // Sets the events to wait for from now on; Events::none is allowed. New events are passed to
    // the kernel at once. An event that is no longer wanted is removed later: when the kernel next
    // reports it. Mostly the event is wanted again by then, which saves system calls. If this
    // throws, nothing has changed.
    void modify(int fd, Events events, Here here = Here::at())
    {
        if (contains(events, Events::read)) {
            observe::waits(observe::receives, observe::client(fd), here);
        } else if (contains(events, Events::write)) {
            observe::waits(observe::sends, observe::client(fd), here);
        }
        Entry& entry = find(fd)->second;
        if ((events & entry.in_kernel) != events) {
            apply(entry, events);
        }
        entry.key.events = events;
    }

    // The same, and replaces the data. If this throws, the caller keeps the new data.
    void modify(int fd, Events events, Data&& data)
    {
        modify(fd, events, Here());
        find(fd)->second.key.data = std::move(data);
    }

    // The key and its data survive until the next select(), so a callback may unregister itself. If
    // the descriptor comes later in the list that select() has returned, it is skipped there.
    void unregister(int fd)
    {
        const auto place = find(fd);
        unregistered_.push_back(typename Entries::node_type());
        Entry& entry = place->second;
        if (entry.in_kernel != Events::none) {
            // Fails if the descriptor has been closed too early, and then there is nothing to do.
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
        }
        entry.key.events = entry.in_kernel = Events::none;
        unregistered_.back() = keys_.extract(place);
    }

    // Throws std::out_of_range if the descriptor is not registered.
    [[nodiscard]] Key& get_key(int fd) { return find(fd)->second.key; }

    [[nodiscard]] bool is_registered(int fd) const { return keys_.contains(fd); }

    // Sleeps until something is ready or the timeout is over. Without a timeout it sleeps until
    // something is ready. With a timeout of zero it does not sleep. (The longest timeout is twenty
    // days.) Go through the list before the next select(). If you call modify() or unregister()
    // meanwhile, that also counts for the rest of the list.
    [[nodiscard]] ReadyList select(std::optional<std::chrono::nanoseconds> timeout = std::nullopt,
                                   Here here = Here::at())
    {
        using Clock = std::chrono::steady_clock;
        forget_unregistered();
        std::optional<Clock::time_point> deadline;
        if (timeout) {
            timeout = std::min<std::chrono::nanoseconds>(*timeout, longest);
            deadline = Clock::now() + *timeout;
        }
        const observe::Seam seam(observe::selects, observe::this_thread, here);
        for (;;) {
            const int count =
                ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                             timeout ? milliseconds(*timeout) : -1);
            if (count == -1 && errno != EINTR) {
                check(-1, "epoll_wait");
            }
            if (count != -1) {
                const auto reported = std::span(events_).first(static_cast<std::size_t>(count));
                remove_unwanted_events(reported);
                const ReadyList ready(reported);
                if (!ready.empty() || reported.empty()) {
                    for (const auto& [key, what] : ready) {
                        observe::is_ready(observe::client(key.fd));
                    }
                    return ready;
                }
            }
            if (deadline) {
                timeout = *deadline - Clock::now();
            }
        }
    }

  private:
    struct Entry {
        Entry(int fd, Events events, Data data) : key{fd, events, std::move(data)} {}
        Key key;
        Events in_kernel = Events::none;  // what the kernel waits for: key.events, perhaps more
    };
    using Entries = std::unordered_map<int, Entry>;  // its entries stay where they are

    [[nodiscard]] typename Entries::iterator find(int fd)
    {
        const auto place = keys_.find(fd);
        if (place == keys_.end()) {
            throw std::out_of_range("descriptor is not registered");
        }
        return place;
    }

    static constexpr std::chrono::hours longest{24 * 20};  // the longest that fits epoll_wait()

    // Rounded up, so that no wait ends too early.
    [[nodiscard]] static int milliseconds(std::chrono::nanoseconds time)
    {
        const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(time).count();
        return static_cast<int>(std::max<std::int64_t>(rounded, 0));
    }

    void apply(Entry& entry, Events events)
    {
        if (entry.in_kernel == events) {
            return;
        }
        const int operation = entry.in_kernel == Events::none ? EPOLL_CTL_ADD
                              : events == Events::none        ? EPOLL_CTL_DEL
                                                              : EPOLL_CTL_MOD;
        epoll_event event{static_cast<std::uint32_t>(events), {.ptr = &entry}};
        check(::epoll_ctl(epoll_.get(), operation, entry.key.fd, &event), "epoll_ctl");
        entry.in_kernel = events;
    }

    // If an unwanted event stayed, the kernel would report it again at once. If we wait for nothing
    // on a descriptor, it is removed from the kernel's list, because the kernel reports a broken
    // connection for each descriptor on the list. (This does not fail: only adding takes memory.)
    void remove_unwanted_events(std::span<const epoll_event> reported)
    {
        for (const epoll_event& event : reported) {
            Entry& entry = *static_cast<Entry*>(event.data.ptr);
            if ((event.events & ~static_cast<std::uint32_t>(entry.key.events)) != 0) {
                apply(entry, entry.key.events);
            }
        }
    }

    void forget_unregistered() { const auto destroyed_here = std::exchange(unregistered_, {}); }

    Descriptor epoll_;
    Entries keys_;
    std::vector<typename Entries::node_type> unregistered_;
    std::vector<epoll_event> events_{256};  // if more are ready, the next select() reports them
};

// The descriptors that are ready and still waited for. A range: for (auto [key, events] : list).
template <typename Data>
class Selector<Data>::ReadyList {
  public:
    class Iterator {
      public:
        explicit Iterator(std::span<const epoll_event> rest) : rest_(rest) { skip(); }
        [[nodiscard]] Ready operator*() const { return {entry().key, events()}; }
        Iterator& operator++()
        {
            rest_ = rest_.subspan(1);
            skip();
            return *this;
        }
        [[nodiscard]] bool operator==(std::default_sentinel_t) const { return rest_.empty(); }

      private:
        [[nodiscard]] Entry& entry() const { return *static_cast<Entry*>(rest_.front().data.ptr); }

        // A broken connection is ready for everything: the next call on it says what is wrong.
        [[nodiscard]] Events events() const
        {
            const std::uint32_t told = rest_.front().events;
            const bool broken = (told & (EPOLLERR | EPOLLHUP)) != 0;
            return entry().key.events &
                   (broken ? Events::read | Events::write : static_cast<Events>(told));
        }

        // A callback earlier in the list may have unregistered the next descriptor.
        void skip()
        {
            while (!rest_.empty() && events() == Events::none) {
                rest_ = rest_.subspan(1);
            }
        }

        std::span<const epoll_event> rest_;
    };

    explicit ReadyList(std::span<const epoll_event> events) : events_(events) {}
    [[nodiscard]] Iterator begin() const { return Iterator(events_); }
    [[nodiscard]] std::default_sentinel_t end() const { return {}; }
    [[nodiscard]] bool empty() const { return begin() == end(); }

  private:
    std::span<const epoll_event> events_;
};

}  // namespace ground
