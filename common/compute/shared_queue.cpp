#include "common/compute/shared_queue.hpp"

#include "common/base/descriptor.hpp"

#include <algorithm>

namespace ground {

SharedQueue::SharedQueue() { check(::sem_init(&wakes_, 1, 0), "sem_init"); }

void SharedQueue::put(std::uint32_t slot, unsigned n, observe::Who whose) noexcept
{
    const std::uint64_t ticket = tail_.load(std::memory_order_relaxed);
    slots_[slot].n = n;
    slots_[slot].whose = whose;
    slots_[slot].state.store(queued(ticket));
    queue_[ticket % queue_size].store(slot);
    tail_.store(ticket + 1);
}

// If a worker dies after taking a request and before moving head, the next worker moves head, as in
// Michael and Scott's queue (PODC 1996). Only the first request can be in that state. So there is
// at most one ticket more in the queue than there are slots.
std::optional<SharedQueue::Taken> SharedQueue::take(unsigned worker) noexcept
{
    for (;;) {
        std::uint64_t ticket = head_.load();
        if (ticket == tail_.load()) {
            return std::nullopt;
        }
        const std::uint32_t index = queue_[ticket % queue_size].load();
        Slot& slot = slots_[index];
        std::uint64_t state = queued(ticket);
        const bool wanted = slot.state.compare_exchange_strong(state, taken(worker));
        const bool mine = wanted || (state == cancelled(ticket) &&
                                     slot.state.compare_exchange_strong(state, taken(worker)));
        head_.compare_exchange_strong(ticket, ticket + 1);
        if (mine) {
            return Taken{index, slot.n, slot.whose, wanted};
        }
    }
}

// The slot keeps its place in the queue and becomes idle only when a worker has come to it.
// Otherwise there could be more tickets than slots. An idle worker comes at once. While all workers
// are busy, the slot is not needed.
bool SharedQueue::cancel(std::uint32_t slot) noexcept
{
    std::uint64_t state = slots_[slot].state.load();
    return phase_of(state) == Phase::queued &&
           slots_[slot].state.compare_exchange_strong(state, word(Phase::cancelled, state >> 8U));
}

void SharedQueue::wait_for_work() noexcept
{
    ::sem_wait(&wakes_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

// To wake one worker at a time is enough, however many requests there are. A worker continues until
// the queue is empty, and wakes the next one if it is not. So a burst of small requests costs one
// or two system calls. (The fences: the server writes the queue and reads the semaphore, a worker
// does it the other way round, and one of the two must see what the other did.)
//
// But a worker may be killed or stopped after it was woken and before it has woken the next one.
// Then this wake-up is lost, and the forker wakes another worker.
void SharedQueue::wake_worker() noexcept
{
    std::atomic_thread_fence(std::memory_order_seq_cst);
    int pending = 0;
    ::sem_getvalue(&wakes_, &pending);
    if (pending == 0) {
        ::sem_post(&wakes_);
    }
}

void SharedQueue::wake_next_worker() noexcept
{
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (head_.load() != tail_.load()) {
        wake_worker();
    }
}

void SharedQueue::finish(std::uint32_t slot) noexcept
{
    finished_[slot / 64].fetch_or(std::uint64_t{1} << slot % 64);
}

// First say "asleep", then look once more. A worker first finishes, then looks whether the
// collector sleeps. So one of the two sees what the other did.
std::optional<std::uint64_t> SharedQueue::fall_asleep() noexcept
{
    const std::uint64_t nap = naps_.fetch_add(1) + 1;
    const bool any_finished = std::any_of(finished_.begin(), finished_.end(),
                                          [](const auto& bits) { return bits.load() != 0; });
    if (any_finished) {
        wake_up(nap);
        return std::nullopt;
    }
    return nap;
}

void SharedQueue::wake_up(std::uint64_t nap) noexcept
{
    naps_.compare_exchange_strong(nap, nap + 1);
}

void SharedQueue::fail_requests_of(unsigned worker) noexcept
{
    for (std::uint32_t i = 0; i < slot_count; ++i) {
        std::uint64_t state = taken(worker);
        slots_[i].state.compare_exchange_strong(state, word(Phase::failed, 0));
        if (state == taken(worker) || state == computed(worker)) {
            finish(i);
        }
    }
    wake_again();  // the worker may have been woken without taking a request
}

}  // namespace ground
