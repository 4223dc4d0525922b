// shared_queue.hpp -- requests on their way from a server to its workers, and back, through memory
// that these processes share.
//
// A worker can be killed or stopped between any two instructions. So there is no lock that it could
// keep. Each fact becomes true by a single store. And no process depends on what another one was
// about to do.
//
//     slots       each: its state (one word), n, result
//     queue       numbers of slots, from head to tail, first come, first served
//     wakes       a semaphore: a worker sleeps here when the queue is empty
//     finished    one bit for each slot that the server's collector should look at
//     naps        whether the collector sleeps and must be woken
//
// One server uses a queue, with one thread at a time.
#pragma once

#include "common/server/fib.hpp"

#include <semaphore.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace ground {

// The state of a slot is one word: its phase and a detail. So a single compare-and-swap takes a
// request and says which worker has it.
//
//     idle ──> queued ──> taken ──┬──> computed ──> idle     detail of queued, cancelled: ticket
//                └──> cancelled ──┘ └──> failed ────> idle   detail of taken, computed: worker
//
// A worker takes a cancelled request like a queued one (cancelled ──> taken), but does not compute
// it.
enum class Phase : std::uint64_t { idle, queued, cancelled, taken, computed, failed };

struct alignas(32) Slot {
    std::atomic<std::uint64_t> state{0};
    unsigned n = 0;
    observe::Who whose;
    Number result = 0;
};
static_assert(sizeof(Slot) == 32);

class SharedQueue {
  public:
    static constexpr std::uint32_t slot_count = 1024;

    // Throws std::system_error.
    SharedQueue();

    // --- The server. One thread at a time, except where it says otherwise.

    // Puts a request into an idle slot. Afterwards, wake_worker().
    void put(std::uint32_t slot, unsigned n, observe::Who whose = observe::whoever_runs) noexcept;

    // Any thread.
    void wake_worker() noexcept;

    // Returns true if no worker has taken the slot's request. Then none will compute it.
    [[nodiscard]] bool cancel(std::uint32_t slot) noexcept;

    // The number of requests that no worker has taken. Cancelled ones are included. Any thread.
    [[nodiscard]] std::size_t waiting() const noexcept { return tail_.load() - head_.load(); }

    // Makes the finished slots idle and calls done(slot, result) for each, or done(slot, nullopt)
    // if its worker has died.
    template <typename Done>
    void collect(Done done)
    {
        for (std::uint32_t base = 0; base < slot_count; base += 64) {
            if (finished_[base / 64].load() == 0) {
                continue;
            }
            std::uint64_t bits = finished_[base / 64].exchange(0);
            for (; bits != 0; bits &= bits - 1) {
                const auto index = base + static_cast<std::uint32_t>(std::countr_zero(bits));
                Slot& slot = slots_[index];
                const auto phase = phase_of(slot.state.load());
                if (phase != Phase::computed && phase != Phase::failed) {
                    continue;  // its worker and the forker both reported it; this is the second
                }
                const auto result =
                    phase == Phase::computed ? std::optional(slot.result) : std::nullopt;
                slot.state.store(0);
                done(index, result);
            }
        }
    }

    // Call it before the collector sleeps. If it returns nothing, do not sleep, but look again. If
    // it returns a nap, nothing is finished, and a worker that finishes something from now on will
    // ring. Then sleep, and call wake_up(nap) afterwards.
    [[nodiscard]] std::optional<std::uint64_t> fall_asleep() noexcept;
    void wake_up(std::uint64_t nap) noexcept;

    // --- A worker.

    struct Taken {
        std::uint32_t slot;
        unsigned n;
        observe::Who whose;
        bool wanted;  // it has not been cancelled
    };

    // Takes the next request for this worker. Returns nothing if there is none.
    [[nodiscard]] std::optional<Taken> take(unsigned worker) noexcept;

    // For a worker that has found the queue empty. Look again when this returns.
    void wait_for_work() noexcept;

    // For a worker that has taken a request, before it starts to compute. Wakes another worker if
    // there are more requests.
    void wake_next_worker() noexcept;

    // For the worker that has taken the slot's request. If the collector sleeps, ring() wakes it.
    template <typename Ring>
    void complete(std::uint32_t slot, unsigned worker, Number result, Ring ring) noexcept
    {
        slots_[slot].result = result;
        slots_[slot].state.store(computed(worker));
        finish(slot);
        // First ring, then note that the collector is awake. In the other order, if this worker
        // were stopped in between, no worker would ring.
        const std::uint64_t nap = naps_.load();
        if (is_asleep(nap)) {
            ring();
            wake_up(nap);
        }
    }

    // --- The forker, and the thread that starts another forker.

    // For a worker that has died, at whatever instruction. The requests that it had taken, but not
    // computed, fail.
    void fail_requests_of(unsigned worker) noexcept;

    // For the forker. A worker that was woken may be stopped before it takes a request. Then
    // another one has to be woken. To wake one worker too many does no harm.
    void wake_again() noexcept { ::sem_post(&wakes_); }
    [[nodiscard]] std::uint64_t head() const noexcept { return head_.load(); }

    // Makes the collector look at the slot. To call it more often than needed does no harm.
    void finish(std::uint32_t slot) noexcept;

  private:
    static constexpr std::uint64_t word(Phase phase, std::uint64_t detail)
    {
        return detail << 8U | static_cast<std::uint64_t>(phase);
    }
    static constexpr Phase phase_of(std::uint64_t word) { return static_cast<Phase>(word & 0xffU); }
    static constexpr std::uint64_t queued(std::uint64_t ticket)
    {
        return word(Phase::queued, ticket);
    }
    static constexpr std::uint64_t cancelled(std::uint64_t ticket)
    {
        return word(Phase::cancelled, ticket);
    }
    static constexpr std::uint64_t taken(unsigned worker) { return word(Phase::taken, worker); }
    static constexpr std::uint64_t computed(unsigned worker)
    {
        return word(Phase::computed, worker);
    }
    static constexpr bool is_asleep(std::uint64_t nap) { return nap % 2 == 1; }

    static constexpr std::uint32_t queue_size = 2 * slot_count;  // see take()
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "shared between processes");

    // Tickets count the requests. The slot of ticket t stands at queue_[t % queue_size]. Only the
    // server writes tail and queue. If a worker sees that the first request is taken, it moves
    // head.
    sem_t wakes_;
    std::atomic<std::uint64_t> head_{0};
    std::atomic<std::uint64_t> tail_{0};
    std::array<std::atomic<std::uint32_t>, queue_size> queue_{};
    std::array<Slot, slot_count> slots_{};
    std::array<std::atomic<std::uint64_t>, slot_count / 64> finished_{};
    // Counts how often the collector falls asleep and wakes up: odd while it sleeps and no worker
    // has rung. It is a count, not a flag: a worker may ring, be stopped, and continue only
    // during the next nap. The count then shows that the nap it has ended is over.
    std::atomic<std::uint64_t> naps_{0};
};

}  // namespace ground
