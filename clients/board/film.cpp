#include "clients/board/film.hpp"

#include <utility>

namespace ground::board {

namespace {

constexpr std::int64_t longest_film = 60'000'000;  // microseconds
constexpr std::size_t largest_film = 48 << 20;     // bytes
constexpr std::int64_t shown_to_newcomers = 8'000'000;
constexpr std::size_t too_slow = 40;  // frames: two seconds

}  // namespace

void Film::add(std::int64_t microseconds, bool key, std::string json)
{
    const std::lock_guard lock(mutex_);
    bytes_ += json.size();
    frames_.push_back(
        std::make_shared<const Frame>(Frame{++last_, microseconds, key, std::move(json)}));
    // The first is a key frame. It is dropped only if the film can then begin with the next key
    // frame.
    for (;;) {
        std::size_t next = 1;
        while (next < frames_.size() && !frames_[next]->key) {
            ++next;
        }
        const bool too_much = bytes_ > largest_film;
        if (next >= frames_.size() ||
            (!too_much && frames_[next]->microseconds > microseconds - longest_film)) {
            break;
        }
        for (std::size_t i = 0; i < next; ++i) {
            bytes_ -= frames_.front()->json.size();
            frames_.pop_front();
        }
    }
    changed_.notify_all();
}

void Film::end()
{
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

bool Film::ended() const
{
    const std::lock_guard lock(mutex_);
    return ended_;
}

std::vector<FramePointer> Film::after(std::uint64_t number, std::chrono::milliseconds longest) const
{
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, longest, [&] { return ended_ || last_ > number; });
    if (frames_.empty() || last_ <= number) {
        return {};
    }
    std::size_t first = frames_.size();
    const std::uint64_t behind = last_ - number;
    if (number == 0) {
        const std::int64_t since = frames_.back()->microseconds - shown_to_newcomers;
        while (first > 0 && frames_[first - 1]->microseconds >= since) {
            --first;
        }
        first = key_before(first);
    } else if (behind > too_slow || behind > frames_.size()) {  // large frames are dropped early
        first = key_before(first - 1);
    } else {
        first -= behind;
    }
    return {frames_.begin() + static_cast<std::ptrdiff_t>(first), frames_.end()};
}

std::vector<FramePointer> Film::all() const
{
    const std::lock_guard lock(mutex_);
    return {frames_.begin(), frames_.end()};
}

// The last key frame that is not after this frame. The first frame of all is a key frame.
std::size_t Film::key_before(std::size_t index) const
{
    index = std::min(index, frames_.size() - 1);
    while (index > 0 && !frames_[index]->key) {
        --index;
    }
    return index;
}

}  // namespace ground::board
