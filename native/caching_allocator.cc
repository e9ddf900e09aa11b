#include "caching_allocator.h"

#include <algorithm>
#include <bit>
#include <utility>

// Under AddressSanitizer (npm run test:sanitize) the unused end of a block and blocks kept for reuse are out of bounds.
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(begin, bytes) (static_cast<void>(begin), static_cast<void>(bytes))
#endif

namespace sffn {
namespace {

constexpr size_t kSmallest = 64;
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t bytes, size_t step) { return (bytes + step - 1) / step * step; }

// Whole huge pages, or four classes to each power of two, so that at most a fifth of a block is unused.
size_t size_class(size_t requested) {
  const size_t bytes = std::max(requested, size_t{1});
  const size_t whole = round_up(bytes, kHugePage);
  if (whole - bytes <= whole / 5) return whole;
  return round_up(bytes, std::max(std::bit_floor(bytes) / 4, kSmallest));
}

}  // namespace

void* CachingAllocator::allocate(size_t requested) {
  check_memory_size(requested);
  const size_t bytes = size_class(requested);
  std::lock_guard lock(mutex_);
  if (until_refusal_ < 0 || (until_refusal_ > 0 && --until_refusal_ == 0)) {
    until_refusal_ = -1;
    throw out_of_memory(source_, requested, stats_);
  }
  void* block = take_cached(bytes);
  if (!block) block = take_new(bytes);
  if (!block) throw out_of_memory(source_, requested, stats_);
  stats_.add_block(bytes);
  ASAN_POISON_MEMORY_REGION(block, bytes);
  ASAN_UNPOISON_MEMORY_REGION(block, requested);
  return block;
}

void CachingAllocator::release(void* block, size_t requested) noexcept {
  const size_t bytes = size_class(requested);
  std::lock_guard lock(mutex_);
  stats_.allocated -= static_cast<int64_t>(bytes);
  try {
    free_blocks_[bytes].push_back(block);
    stats_.cached += static_cast<int64_t>(bytes);
    ASAN_POISON_MEMORY_REGION(block, bytes);
  } catch (...) {
    source_.free(block);
  }
}

void* CachingAllocator::take_cached(size_t bytes) {
  const auto found = free_blocks_.find(bytes);
  if (found == free_blocks_.end() || found->second.empty()) return nullptr;
  void* block = found->second.back();
  found->second.pop_back();
  stats_.cached -= static_cast<int64_t>(bytes);
  return block;
}

void* CachingAllocator::take_new(size_t bytes) {
  if (!stats_.has_room_for(bytes)) free_cached();
  if (!stats_.has_room_for(bytes)) return nullptr;
  void* block = source_.allocate(bytes);
  if (!block && stats_.cached > 0) {
    free_cached();
    block = source_.allocate(bytes);
  }
  if (block) ++stats_.system_allocations;
  return block;
}

void CachingAllocator::free_cached() {
  for (auto& [bytes, blocks] : free_blocks_)
    for (void* block : blocks) {
      ASAN_UNPOISON_MEMORY_REGION(block, bytes);
      source_.free(block);
    }
  free_blocks_.clear();
  stats_.cached = 0;
}

MemoryStats CachingAllocator::stats() {
  std::lock_guard lock(mutex_);
  return stats_;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  stats_.peak = stats_.allocated;
}

void CachingAllocator::set_limit(int64_t bytes) {
  std::lock_guard lock(mutex_);
  stats_.limit = bytes;
  if (stats_.allocated + stats_.cached > bytes) free_cached();
}

int64_t CachingAllocator::refuse_allocation(int64_t count) {
  std::lock_guard lock(mutex_);
  return std::max<int64_t>(std::exchange(until_refusal_, count), 0);
}

void CachingAllocator::empty_cache() {
  std::lock_guard lock(mutex_);
  free_cached();
}

}  // namespace sffn
