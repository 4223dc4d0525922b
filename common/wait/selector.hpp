// selector.hpp -- epoll(7) as Python's selectors module has it: register, modify, unregister,
// select.
//
// select(2) is told of all descriptors at every call and looks at each of them. epoll is told once;
// the kernel keeps the list, and a call costs what is ready, not what is registered.
#pragma once

#include "common/base/descriptor.hpp"
#include "common/observe/seams.hpp"

#include <sys/epoll.h>

#include <algorithm>
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

// What a descriptor is waited for, or what it is ready for.
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

// Waits for many descriptors at once, and keeps for each of them a piece of data of the user's:
//
//     Selector<Callback> selector;
//     selector.register_fd(listener.native_handle(), Events::read, on_newcomer);
//     for (;;) {
//         for (const auto [key, events] : selector.select()) {
//             key.data(events);
//         }
//     }
//
// Level-triggered, as Python's: what is ready and has not been dealt with is told again.
//
// All of it belongs to one thread. Another one that wants to end a select() writes to something
// that is registered, an eventfd(2) say. Errors of the kernel are thrown as std::system_error.
template <typename Data>
class Selector {
  public:
    struct Key {
        const int fd;
        Events events;  // what it waits for; change it with modify()
        Data data;
    };
    struct Ready {
        Key& key;
        Events events;  // at least one of those that the key waits for
    };
    class ReadyList;

    Selector() : epoll_(check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")) {}
    Selector(const Selector&) = delete;
    Selector& operator=(const Selector&) = delete;

    // Whoever registers a descriptor unregisters it before closing it: the kernel forgets a file
    // when its last descriptor is closed, and a child process may hold another one.
    // The key stays where it is until the select() after unregister().
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

    // What the descriptor is waited for from now on; none is allowed. The kernel is told at once of
    // what is new to it. What is no longer waited for, it is told only when it reports it: mostly
    // that is waited for again by then, and has cost no system call. What throws has changed
    // nothing.
    void modify(int fd, Events events, Here here = Here::at())
    {
        if (contains(events, Events::read)) {
            observe::waits(observe::receives, observe::client(fd), here);
        } else if (contains(events, Events::write)) {
            observe::waits(observe::sends, observe::client(fd), here);
        }
        Entry& entry = find(fd)->second;
        if ((events & entry.applied) != events) {
            apply(entry, events);
        }
        entry.key.events = events;
    }

    // The same, with other data. The caller keeps the data if this throws.
    void modify(int fd, Events events, Data&& data)
    {
        modify(fd, events, Here());
        find(fd)->second.key.data = std::move(data);
    }

    // The key and its data live on until the next select(): whoever is just being called may
    // unregister himself, and whoever is still to come in this list is skipped.
    void unregister(int fd)
    {
        const auto place = find(fd);
        unregistered_.push_back(typename Entries::node_type());
        Entry& entry = place->second;
        if (entry.applied != Events::none) {
            // Fails if the descriptor has been closed too early, and then there is nothing to do.
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
        }
        entry.key.events = entry.applied = Events::none;
        unregistered_.back() = keys_.extract(place);
    }

    // Throws std::out_of_range if it is not registered.
    [[nodiscard]] Key& get_key(int fd) { return find(fd)->second.key; }

    [[nodiscard]] bool is_registered(int fd) const { return keys_.contains(fd); }

    // Sleeps until something is ready or the time is over: without a timeout for as long as it
    // takes, with one of zero not at all (the longest there is takes twenty days). What it returns
    // is to be gone through before the next select(); what that changes counts at once, for the
    // rest of the list, too.
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
                tell_what_is_not_waited_for(reported);
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
        Events applied = Events::none;  // what the kernel knows: this and perhaps more
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

    static constexpr std::chrono::hours longest{24 * 20};  // as far as epoll_wait() can count

    // Rounded up, so that nobody is woken too early.
    [[nodiscard]] static int milliseconds(std::chrono::nanoseconds time)
    {
        const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(time).count();
        return static_cast<int>(std::max<std::int64_t>(rounded, 0));
    }

    void apply(Entry& entry, Events events)
    {
        if (entry.applied == events) {
            return;
        }
        const int operation = entry.applied == Events::none ? EPOLL_CTL_ADD
                              : events == Events::none      ? EPOLL_CTL_DEL
                                                            : EPOLL_CTL_MOD;
        epoll_event event{static_cast<std::uint32_t>(events), {.ptr = &entry}};
        check(::epoll_ctl(epoll_.get(), operation, entry.key.fd, &event), "epoll_ctl");
        entry.applied = events;
    }

    // Or the kernel would report it again at once. What waits for nothing is taken out of the
    // kernel's list: while it stands there, a broken connection is reported, wanted or not. (Only
    // to add something takes memory, so this does not fail.)
    void tell_what_is_not_waited_for(std::span<const epoll_event> reported)
    {
        for (const epoll_event& event : reported) {
            Entry& entry = *static_cast<Entry*>(event.data.ptr);
            if ((event.events & ~static_cast<std::uint32_t>(entry.key.events)) != 0) {
                apply(entry, entry.key.events);
            }
        }
    }

    void forget_unregistered() { const auto ends_here = std::exchange(unregistered_, {}); }

    Descriptor epoll_;
    Entries keys_;
    std::vector<typename Entries::node_type> unregistered_;
    std::vector<epoll_event> events_{256};  // more that is ready is told by the next select()
};

// What is ready, of what is still waited for. A range: for (const auto [key, events] : list).
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

        // A connection that has broken is ready for whatever it is waited for: the next call says
        // what is wrong with it.
        [[nodiscard]] Events events() const
        {
            const std::uint32_t told = rest_.front().events;
            const bool broken = (told & (EPOLLERR | EPOLLHUP)) != 0;
            return entry().key.events &
                   (broken ? Events::read | Events::write : static_cast<Events>(told));
        }

        // Somebody before in the list may have unregistered the next one.
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
