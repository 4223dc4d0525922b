#include "common/wait/stack.hpp"

#include "common/base/descriptor.hpp"
#include "common/wait/sanitizers.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace ground {

namespace {

std::size_t page_size() noexcept
{
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

void unmap(std::byte* bottom) noexcept
{
    ::munmap(bottom - page_size(), Stack::size + page_size());
}

// Stacks that have been used and can be used again.
class Spare {
  public:
    Spare() { bottoms_.reserve(most); }
    Spare(const Spare&) = delete;
    Spare& operator=(const Spare&) = delete;
    ~Spare()
    {
        for (std::byte* const bottom : bottoms_) {
            unmap(bottom);
        }
    }

    [[nodiscard]] std::byte* take() noexcept
    {
        if (bottoms_.empty()) {
            return nullptr;
        }
        std::byte* const bottom = bottoms_.back();
        bottoms_.pop_back();
        return bottom;
    }

    void give(std::byte* bottom) noexcept
    {
        if (bottoms_.size() < most) {
            bottoms_.push_back(bottom);
        } else {
            unmap(bottom);
        }
    }

  private:
    // Enough for clients that come and go. When ten thousand have gone, the memory of 64 stacks is
    // little.
    static constexpr std::size_t most = 64;

    std::vector<std::byte*> bottoms_;
};

Spare& spare()
{
    static thread_local Spare the_spare;
    return the_spare;
}

}  // namespace

Stack Stack::make()
{
    if (std::byte* const used = spare().take()) {
        return Stack(used);
    }
    // The guard page comes first: we make a mapping that must not be touched, and then open all of
    // it except one page. If there are too many mappings, that fails. Then there is no stack,
    // because a stack without a guard page would be dangerous.
    void* const mapping = ::mmap(nullptr, size + page_size(), PROT_NONE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        check(-1, "mmap");
    }
    std::byte* const bottom = static_cast<std::byte*>(mapping) + page_size();
    if (::mprotect(bottom, size, PROT_READ | PROT_WRITE) == -1) {
        const int error = errno;
        unmap(bottom);
        throw std::system_error(error, std::generic_category(), "mprotect");
    }
#if defined(GROUND_VALGRIND)
    // Otherwise valgrind would believe that a switch to a nearby stack is a large stack frame, and
    // that the contents of the first stack are lost.
    static_cast<void>(VALGRIND_STACK_REGISTER(bottom, bottom + size));
#endif
    return Stack(bottom);
}

void Stack::reset() noexcept
{
    if (bottom_ != nullptr) {
        spare().give(std::exchange(bottom_, nullptr));
    }
}

std::size_t Stack::touched() const
{
    std::vector<unsigned char> pages(size / page_size());
    check(::mincore(bottom_, size, pages.data()), "mincore");
    const auto in_memory =
        std::count_if(pages.begin(), pages.end(), [](unsigned char page) { return page & 1U; });
    return static_cast<std::size_t>(in_memory) * page_size();
}

bool Stack::guards(const void* address) const noexcept
{
    const auto end = reinterpret_cast<std::uintptr_t>(bottom_);
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    return bottom_ != nullptr && at < end && at >= end - page_size();
}

}  // namespace ground
