// blocks.hpp -- a thread control block, with all thread_locals, for each green thread.
#pragma once

#include <stddef.h>

namespace green {

// Finds out how this libc lays out a block. False: not in any way that is known here.
bool know_blocks() noexcept;

// What a block takes, thread_locals and all, and where in it the pointer to it points.
size_t block_size() noexcept;
size_t block_offset() noexcept;
constexpr size_t block_alignment = 64;

// Makes a block of zeroed memory, or a new one of a used one. False: no memory.
bool make_block(void* block, bool used) noexcept;

// Before the memory of a block is given back. Not that of the thread that runs.
void give_back_block(void* block) noexcept;

// The first thing that a new thread does with its block.
void begin_block() noexcept;

// From now on thread_locals are those of this block.
void use_block(void* block) noexcept;
void* block_in_use() noexcept;

}  // namespace green
