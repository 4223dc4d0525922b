// stack.hpp -- memory for a function to run in, with a guard page below it.
#pragma once

#include <cstddef>
#include <utility>

namespace ground {

// One stack. Most of it is only reserved: the kernel gives a page when it is touched for the first
// time, so what counts is how deep the calls go. Below it lies a page that nobody may touch; who
// calls too deep ends the program there, with a line that says why, instead of writing over
// somebody else's memory.
//
// A stack that is given back is kept for the next one, up to a number of them; each thread keeps
// its own. Two entries in the kernel's list of mappings each (of 65,530: vm.max_map_count), so
// there are at most 32,000.
class Stack {
  public:
    static constexpr std::size_t size = 256 * 1024;  // bytes, without the guard page

    Stack() noexcept = default;  // none
    // Throws std::system_error if there is no more: too much memory, or too many mappings.
    [[nodiscard]] static Stack make();
    Stack(Stack&& other) noexcept : bottom_(std::exchange(other.bottom_, nullptr)) {}
    Stack& operator=(Stack&& other) noexcept
    {
        std::swap(bottom_, other.bottom_);
        return *this;
    }
    ~Stack() { reset(); }

    void reset() noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return bottom_ != nullptr; }
    [[nodiscard]] std::byte* bottom() const noexcept { return bottom_; }
    [[nodiscard]] std::byte* top() const noexcept { return bottom_ + size; }

    // How much of it is memory, and not only reserved: a multiple of the size of a page.
    [[nodiscard]] std::size_t touched() const;

    // Whether this address is in the guard page.
    [[nodiscard]] bool guards(const void* address) const noexcept;

  private:
    explicit Stack(std::byte* bottom) noexcept : bottom_(bottom) {}

    std::byte* bottom_ = nullptr;  // the guard page ends here
};

}  // namespace ground
