#include "common/observe/watcher.hpp"

#include <climits>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <linux/futex.h>
#include <new>

namespace ground::observe {

namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

// Makes threads that are held look at the gate again.
void tell_changed(Control& control) noexcept
{
    control.changed.fetch_add(1, memory_order_release);
    ::syscall(SYS_futex, &control.changed, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace

std::uint64_t now() noexcept
{
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(time.tv_nsec) / 1'000;
}

// If the memory were made shorter, a server that writes there would be killed: hence the seals.
Watcher::Watcher()
    : memory_file_(check(::memfd_create("ground", MFD_ALLOW_SEALING), "memfd_create"))
{
    check(::ftruncate(memory_file_.get(), sizeof(Memory)), "ftruncate");
    check(::fcntl(memory_file_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
          "fcntl");
    void* const there =
        ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, memory_file_.get(), 0);
    if (there == MAP_FAILED) {
        throw std::system_error(errno, std::generic_category(), "mmap");
    }
    memory_ = static_cast<Memory*>(there);  // all zeros, which is how it begins
    memory_->magic = Memory::right_magic;
}

Watcher::~Watcher()
{
    go();
    ::munmap(memory_, sizeof(Memory));
}

std::uint32_t Watcher::server() const noexcept { return memory_->server.load(); }

std::string Watcher::file(std::uint8_t index) const
{
    return index < most_files && memory_->file_is[index].load(memory_order_acquire) == 2
               ? memory_->files[index].data()
               : std::string();
}

std::vector<Seen> Watcher::look() const
{
    std::vector<Seen> all;
    look(0, memory_->places.size(), all);
    return all;
}

std::vector<Seen> Watcher::look(std::size_t most) const
{
    std::vector<Seen> all;
    look(0, std::min(most, most_conversations), all);
    look(most_conversations, most_conversations + std::min(most, most_others), all);
    return all;
}

void Watcher::look(std::size_t begin, std::size_t end, std::vector<Seen>& all) const
{
    const std::uint64_t time = now();
    for (std::size_t i = begin; i < end; ++i) {
        const Place& place = memory_->places[i];
        const std::uint32_t id = place.id.load(memory_order_acquire);
        if (id == 0 || id == ~0U) {
            continue;
        }
        const Seen seen{.index = i,
                        .id = id,
                        .kind = place.kind.load(memory_order_relaxed),
                        .where = Where::unpacked(place.now.load(memory_order_relaxed), time),
                        .peer = place.peer.load(memory_order_relaxed),
                        .pid = place.pid.load(memory_order_relaxed),
                        .tid = place.tid.load(memory_order_relaxed),
                        .n = place.n.load(memory_order_relaxed),
                        .for_id = place.for_id.load(memory_order_relaxed),
                        .requests = place.requests.load(memory_order_relaxed),
                        .next = place.next.load(memory_order_relaxed),
                        .object = place.object.load(memory_order_relaxed),
                        .value = place.value.load(memory_order_relaxed),
                        .found = place.found.load(memory_order_relaxed)};
        std::atomic_thread_fence(memory_order_acquire);
        if (place.id.load(memory_order_relaxed) == id && seen.kind != Kind::nobody) {
            all.push_back(seen);
        }
    }
}

// A writer can be stopped or killed between taking a number and writing the event. Other writers
// continue meanwhile. This waits for the event, but not for ever.
std::vector<Happened> Watcher::events(std::size_t most)
{
    constexpr std::uint64_t patience = 100'000;  // microseconds
    std::vector<Happened> found;
    const std::uint64_t time = now();
    const std::uint64_t written = memory_->written.load(memory_order_acquire);
    if (written - next_ > most_events) {
        lost_ += written - most_events - next_;
        next_ = written - most_events;
    }
    while (next_ != written && found.size() < most) {
        const Event& event = memory_->ring[next_ % most_events];
        const std::uint64_t sequence = event.sequence.load(memory_order_acquire);
        const Happened happened{
            .number = next_,
            .where = Where::unpacked(event.where.load(memory_order_relaxed), time),
            .id = event.id.load(memory_order_relaxed),
            .tid = event.tid.load(memory_order_relaxed),
            .n = event.n.load(memory_order_relaxed),
            .for_id = event.for_id.load(memory_order_relaxed)};
        std::atomic_thread_fence(memory_order_acquire);
        const bool whole =
            sequence == next_ + 1 && event.sequence.load(memory_order_relaxed) == sequence;
        if (whole) {
            found.push_back(happened);
        } else if (memory_->written.load(memory_order_relaxed) - next_ > most_events) {
            ++lost_;  // overwritten while we read
        } else if (waits_for_ != next_ + 1) {
            waits_for_ = next_ + 1;
            waits_since_ = now();
            break;
        } else if (now() - waits_since_ < patience) {
            break;
        } else {
            ++lost_;
        }
        ++next_;
    }
    return found;
}

std::uint64_t Watcher::happened() const noexcept
{
    return memory_->written.load(memory_order_acquire);
}

void Watcher::set(Pace pace) noexcept
{
    renew();
    memory_->control.pace.store(pace, memory_order_relaxed);
    tell_changed(memory_->control);
}

void Watcher::go() { set(Pace::free); }

void Watcher::slow(std::uint32_t microseconds_per_step)
{
    memory_->control.step.store(microseconds_per_step, memory_order_relaxed);
    set(Pace::slow);
}

// Steps that were granted before and not taken do not count for this pause, so they are used up
// here. The server may be taking one at this moment.
void Watcher::pause()
{
    const auto use_up = [](std::atomic<std::uint32_t>& taken, std::uint32_t granted) {
        std::uint32_t last = taken.load(memory_order_relaxed);
        while (last != granted &&
               !taken.compare_exchange_weak(last, granted, memory_order_relaxed)) {
        }
    };
    Control& control = memory_->control;
    use_up(control.taken, control.granted.load(memory_order_relaxed));
    for (Place& place : memory_->places) {
        use_up(place.taken, place.granted.load(memory_order_relaxed));
    }
    set(Pace::paused);
}

void Watcher::step()
{
    renew();
    memory_->control.granted.fetch_add(1, memory_order_relaxed);
    tell_changed(memory_->control);
}

bool Watcher::step(std::uint32_t id)
{
    renew();
    const auto found = std::find_if(
        memory_->places.begin(), memory_->places.end(),
        [id](const Place& place) { return place.id.load(memory_order_acquire) == id; });
    if (id == 0 || found == memory_->places.end()) {
        return false;
    }
    found->granted.store(found->taken.load(memory_order_relaxed) + 1, memory_order_relaxed);
    tell_changed(memory_->control);
    return true;
}

bool Watcher::step(const Seen& seen)
{
    renew();
    Place& place = memory_->places.at(seen.index);
    if (place.id.load(memory_order_acquire) != seen.id) {
        return false;
    }
    place.granted.store(place.taken.load(memory_order_relaxed) + 1, memory_order_relaxed);
    tell_changed(memory_->control);
    return true;
}

void Watcher::renew() noexcept
{
    memory_->control.lease.store(now() + lease_, memory_order_relaxed);
}

}  // namespace ground::observe
