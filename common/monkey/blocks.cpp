// blocks.cpp -- a thread control block, with all thread_locals, for each green thread.
//
// Compiled code finds a thread_local by %fs, which points to the block of the thread that runs. The
// thread_locals of the program and its libraries are below it; what libc keeps of a thread is
// above. The functions that make a block are in the dynamic loader, only for libc (GLIBC_PRIVATE).
// The layout is also private, but libc has a table of it for debuggers. The offsets come from
// there, so that no version of libc is assumed.

#include "common/monkey/blocks.hpp"

#include "common/monkey/green.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <asm/prctl.h>

namespace green {

namespace {

using AllocateTls = void* (*)(void*);
using DeallocateTls = void (*)(void*, bool);

AllocateTls allocate_tls;
DeallocateTls deallocate_tls;
void (*initialise_ctype)();
size_t static_size;   // of a whole block
size_t size_of_rest;  // of the part above the thread_locals
size_t tid_offset;
size_t list_offset;
bool fast;  // the processor sets %fs itself

// libc's own thread_locals, as an offset from the block.
struct {
    size_t below;
    size_t size;
} libc_locals;

// Where among these thread_locals libc points to a thread's cache of free memory. A thread that
// ends releases its cache with a function that libc hides, so here the caches would be lost. But no
// green thread is interrupted in malloc(), so one cache is enough for all. 0: not found, or there
// is none.
size_t cache_below;

// The beginning of a block, which compiled code knows: the ABI (and GCC's stack protector).
struct Head {
    void* self;
    void* modules;
    void* self_too;
    int multiple_threads;
    int flag;
    uintptr_t system_info;
    uintptr_t stack_guard;
    uintptr_t pointer_guard;
};

Head* head(void* block) noexcept { return static_cast<Head*>(block); }

template <typename T>
T& at(void* block, size_t offset) noexcept
{
    return *reinterpret_cast<T*>(static_cast<char*>(block) + offset);
}

// An entry of the table for debuggers: size in bits, number of elements, offset.
size_t offset_in_table(const char* name) noexcept
{
    const auto* const entry = static_cast<const uint32_t*>(::dlsym(RTLD_DEFAULT, name));
    return entry == nullptr ? 0 : entry[2];
}

int find_libc(dl_phdr_info* module, size_t, void* wanted) noexcept
{
    const auto address = reinterpret_cast<uintptr_t>(wanted);
    bool is_it = false;
    size_t size = 0;
    for (int i = 0; i < module->dlpi_phnum; ++i) {
        const auto& part = module->dlpi_phdr[i];
        is_it = is_it || (part.p_type == PT_LOAD && address >= module->dlpi_addr + part.p_vaddr &&
                          address < module->dlpi_addr + part.p_vaddr + part.p_memsz);
        size = part.p_type == PT_TLS ? part.p_memsz : size;
    }
    if (!is_it || module->dlpi_tls_data == nullptr) {
        return 0;
    }
    libc_locals = {static_cast<size_t>(static_cast<char*>(block_in_use()) -
                                       static_cast<char*>(module->dlpi_tls_data)),
                   size};
    return 1;
}

bool is_readable(const char* address) noexcept
{
    return green_system_call(SYS_access, address, 0L) != -EFAULT;
}

// Whether this is the cache. If it is, freeing a small piece of memory changes it.
bool is_cache(const char* candidate) noexcept
{
    constexpr size_t part = 128;  // this much of the cache is compared
    void* volatile piece = ::malloc(24);
    char before[part];
    // The cache is the first piece of the heap. It is not `piece`, which also changes.
    const bool plausible = candidate != nullptr &&
                           reinterpret_cast<uintptr_t>(candidate) % 16 == 0 &&
                           candidate + part <= static_cast<char*>(piece) &&
                           is_readable(candidate) && is_readable(candidate + part);
    if (plausible) {
        memcpy(before, candidate, part);
    }
    ::free(piece);
    return plausible && memcmp(before, candidate, part) != 0;
}

void find_cache() noexcept
{
    is_cache(nullptr);  // now there is a cache, if libc has one
    const char* const block = static_cast<char*>(block_in_use());
    for (size_t below = libc_locals.below; below > libc_locals.below - libc_locals.size;
         below -= sizeof(char*)) {
        const char* candidate = nullptr;
        memcpy(&candidate, block - below, sizeof candidate);
        if (candidate != nullptr && is_cache(candidate)) {
            cache_below = below;
        }
    }
}

}  // namespace

void* block_in_use() noexcept { return reinterpret_cast<void*>(__builtin_thread_pointer()); }

bool know_blocks() noexcept
{
    const auto find = [](const char* name) { return ::dlsym(RTLD_DEFAULT, name); };
    allocate_tls = reinterpret_cast<AllocateTls>(find("_dl_allocate_tls"));
    deallocate_tls = reinterpret_cast<DeallocateTls>(find("_dl_deallocate_tls"));
    initialise_ctype = reinterpret_cast<void (*)()>(find("__ctype_init"));
    const auto get_size =
        reinterpret_cast<void (*)(size_t*, size_t*)>(find("_dl_get_tls_static_info"));
    const auto* const rest = static_cast<const uint32_t*>(find("_thread_db_sizeof_pthread"));
    tid_offset = offset_in_table("_thread_db_pthread_tid");
    list_offset = offset_in_table("_thread_db_pthread_list");
    if (allocate_tls == nullptr || deallocate_tls == nullptr || initialise_ctype == nullptr ||
        get_size == nullptr || rest == nullptr || tid_offset == 0 || list_offset == 0) {
        return false;
    }
    size_of_rest = *rest;
    size_t alignment = 0;
    get_size(&static_size, &alignment);
    ::dl_iterate_phdr(find_libc, find("malloc_usable_size"));
    fast = (::getauxval(AT_HWCAP2) & 2U) != 0;  // bit 1 on x86: FSGSBASE, and the kernel allows it

    // Check whether this is true of the current thread's block.
    void* const mine = block_in_use();
    if (head(mine)->self != mine || head(mine)->self_too != mine ||
        at<int>(mine, tid_offset) != green_system_call(SYS_gettid) || alignment > block_alignment ||
        libc_locals.size == 0 || static_size <= size_of_rest + libc_locals.below) {
        return false;
    }
    find_cache();
    return true;
}

size_t block_size() noexcept { return (static_size + block_alignment - 1) & -block_alignment; }

size_t block_offset() noexcept
{
    // As libc has it: the rest comes last, and the pointer is aligned.
    return (block_size() - size_of_rest) & -block_alignment;
}

void give_back_block(void* block) noexcept { deallocate_tls(block, false); }

bool make_block(void* block, bool used) noexcept
{
    if (used) {
        deallocate_tls(block, false);
        memset(block, 0, size_of_rest);
    }
    if (allocate_tls(block) == nullptr) {
        return false;
    }
    if (cache_below != 0) {
        at<void*>(block, -cache_below) = at<void*>(block_in_use(), -cache_below);
    }
    void* const mine = block_in_use();
    head(block)->self = head(block)->self_too = block;
    head(block)->multiple_threads = head(mine)->multiple_threads;
    head(block)->system_info = head(mine)->system_info;
    head(block)->stack_guard = head(mine)->stack_guard;
    head(block)->pointer_guard = head(mine)->pointer_guard;
    at<int>(block, tid_offset) = at<int>(mine, tid_offset);
    // A list of its own: fork() takes the thread out of the list that it is in.
    at<void*>(block, list_offset) = at<void*>(block, list_offset + sizeof(void*)) =
        &at<char>(block, list_offset);
    // The kernel writes the processor's number (for restartable sequences) only into the first
    // thread's block. Here it is marked as unknown, so that sched_getcpu() asks the kernel.
    if (const auto* offset =
            static_cast<const ptrdiff_t*>(::dlsym(RTLD_DEFAULT, "__rseq_offset"))) {
        at<int>(block, static_cast<size_t>(*offset) + 4) = -2;
    }
    return true;
}

void begin_block() noexcept
{
    initialise_ctype();
    ::uselocale(LC_GLOBAL_LOCALE);
    errno = 0;
}

void use_block(void* block) noexcept
{
    if (fast) {
        __asm__ volatile("wrfsbase %0" : : "r"(block) : "memory");
    } else {
        green_system_call(SYS_arch_prctl, ARCH_SET_FS, block);
    }
}

}  // namespace green
