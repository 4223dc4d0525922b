// film.hpp -- what the board has shown: a frame about every 50 ms, for the pages that watch now and
// for a recording.
//
// A frame is JSON that says what has changed since the frame before. A key frame says all. Any
// thread may call the functions.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ground::board {

struct Frame {
    std::uint64_t number = 0;
    std::int64_t microseconds = 0;  // since the board began
    bool key = false;
    std::string json;
};
using FramePointer = std::shared_ptr<const Frame>;

class Film {
  public:
    void add(std::int64_t microseconds, bool key, std::string json);
    // No caller waits for another frame from now on.
    void end();
    [[nodiscard]] bool ended() const;

    // The frames after frame `number`, in order. A viewer that has just come passes 0 and gets the
    // last seconds. Waits for a frame, but no longer than this. A viewer that is too slow gets the
    // last key frame and what follows it.
    [[nodiscard]] std::vector<FramePointer> after(std::uint64_t number,
                                                  std::chrono::milliseconds longest) const;

    // The last minute, beginning with a key frame.
    [[nodiscard]] std::vector<FramePointer> all() const;

  private:
    [[nodiscard]] std::size_t key_before(std::size_t index) const;

    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::deque<FramePointer> frames_;
    std::size_t bytes_ = 0;
    std::uint64_t last_ = 0;
    bool ended_ = false;
};

}  // namespace ground::board
