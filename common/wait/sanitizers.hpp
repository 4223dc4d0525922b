// sanitizers.hpp -- tells the sanitizers and valgrind when a program changes from one stack to
// another. Without them, all of this is empty.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GROUND_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define GROUND_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GROUND_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define GROUND_TSAN 1
#endif

#if defined(GROUND_ASAN)
#include <pthread.h>

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#if defined(GROUND_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define GROUND_VALGRIND 1
#endif

namespace ground::sanitizers {

#if defined(GROUND_ASAN) || defined(GROUND_TSAN)
inline constexpr bool present = true;
#else
inline constexpr bool present = false;
#endif

// What the sanitizers know of one stack. The functions are called in this order: leave(), the
// jump, and on the other side arrive().
class StackInfo {
  public:
    // This is the calling thread's own stack.
    void is_thread() noexcept
    {
#if defined(GROUND_ASAN)
        // While a greenlet runs, the leak check believes that its stack is the thread's. So we must
        // name the thread's own stack: memory that is held there is no leak.
        pthread_attr_t attributes;
        void* bottom = nullptr;
        if (::pthread_getattr_np(::pthread_self(), &attributes) == 0) {
            if (::pthread_attr_getstack(&attributes, &bottom, &thread_size_) == 0) {
                __lsan_register_root_region(bottom, thread_size_);
                thread_bottom_ = bottom;
            }
            ::pthread_attr_destroy(&attributes);
        }
#endif
#if defined(GROUND_TSAN)
        fiber_ = __tsan_get_current_fiber();
#endif
    }

    // The thread of this stack ends.
    void thread_ends() noexcept
    {
#if defined(GROUND_ASAN)
        if (thread_bottom_ != nullptr) {
            __lsan_unregister_root_region(thread_bottom_, thread_size_);
        }
#endif
    }

    void created([[maybe_unused]] void* bottom, [[maybe_unused]] std::size_t size) noexcept
    {
#if defined(GROUND_ASAN)
        bottom_ = bottom;
        size_ = size;
        __asan_unpoison_memory_region(bottom, size);
        __lsan_register_root_region(bottom, size);
#endif
#if defined(GROUND_TSAN)
        fiber_ = __tsan_create_fiber(0);
#endif
    }

    void destroyed() noexcept
    {
#if defined(GROUND_ASAN)
        __lsan_unregister_root_region(bottom_, size_);
        __asan_unpoison_memory_region(bottom_, size_);
#endif
#if defined(GROUND_TSAN)
        __tsan_destroy_fiber(fiber_);
#endif
    }

    // Before the jump from this stack to another one; for_good if control will not come back.
    // (Always inline, because ThreadSanitizer counts calls and returns: a call of this would begin
    // on one stack and return on the other.)
    [[gnu::always_inline]] void leave([[maybe_unused]] const StackInfo& to,
                                      [[maybe_unused]] bool for_good) noexcept
    {
#if defined(GROUND_ASAN)
        __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, to.bottom_, to.size_);
#endif
#if defined(GROUND_TSAN)
        __tsan_switch_to_fiber(to.fiber_, 0);
#endif
    }

    [[gnu::always_inline]] void arrive([[maybe_unused]] StackInfo& from) noexcept
    {
#if defined(GROUND_ASAN)
        __sanitizer_finish_switch_fiber(fake_stack_, &from.bottom_, &from.size_);
#endif
    }

  private:
#if defined(GROUND_ASAN)
    void* fake_stack_ = nullptr;
    const void* bottom_ = nullptr;  // of a thread's own stack: known after the first leave()
    std::size_t size_ = 0;
    const void* thread_bottom_ = nullptr;  // as the thread itself says
    std::size_t thread_size_ = 0;
#endif
#if defined(GROUND_TSAN)
    void* fiber_ = nullptr;
#endif
};

}  // namespace ground::sanitizers
