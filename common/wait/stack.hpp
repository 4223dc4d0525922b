// stack.hpp -- memory for a function to run in, with a guard page below it.
#pragma once

#include <cstddef>
#include <utility>

namespace ground {

// One stack. Most of it is only reserved: the kernel provides a page when it is touched for the
// first time. So the cost depends on how deep the calls go. Below the stack lies a guard page. A
// function that calls too deep touches that page, which ends the program with a line that says why.
// Without it, the function would overwrite other memory.
//
// Each thread keeps a few stacks for reuse. A stack takes two entries of the kernel's list of
// mappings (of 65,530: vm.max_map_count), so there are at most 32,000 stacks.
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

    // How many bytes of it are in memory, not only reserved: a multiple of the page size.
    [[nodiscard]] std::size_t touched() const;

    // Whether this address is in the guard page.
    [[nodiscard]] bool guards(const void* address) const noexcept;

  private:
    explicit Stack(std::byte* bottom) noexcept : bottom_(bottom) {}

    std::byte* bottom_ = nullptr;  // the guard page ends here
};

}  // namespace ground
