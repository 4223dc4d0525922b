// blocks.hpp -- a thread control block, with all thread_locals, for each green thread.
#pragma once

#include <stddef.h>

namespace green {

// Finds out how this libc lays out a block. False: in a way that is not known here.
bool know_blocks() noexcept;

// The size of a block with all thread_locals, and the offset in it to which its pointer points.
size_t block_size() noexcept;
size_t block_offset() noexcept;
constexpr size_t block_alignment = 64;

// Makes a block from zeroed memory or from a used block. False: no memory.
bool make_block(void* block, bool used) noexcept;

// Call it before the memory of a block is released. Not for the thread that runs.
void give_back_block(void* block) noexcept;

// The first thing that a new thread does with its block.
void begin_block() noexcept;

// From now on the thread_locals are those of this block.
void use_block(void* block) noexcept;
void* block_in_use() noexcept;

}  // namespace green
