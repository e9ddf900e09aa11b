#include "caching_allocator.h"

#include <algorithm>
#include <bit>

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
constexpr size_t kLarge = size_t{2} << 20;

// Four classes to each power of two, so that at most a fifth of a block is unused; large blocks are whole huge pages.
size_t size_class(size_t requested) {
  const size_t bytes = std::max(requested, size_t{1});
  if (bytes >= kLarge) return (bytes + kLarge - 1) / kLarge * kLarge;
  const size_t step = std::max(std::bit_floor(bytes) / 4, kSmallest);
  return (bytes + step - 1) / step * step;
}

}  // namespace

size_t CachingAllocator::size_of_block(size_t requested) const {
  return source_.caches ? size_class(requested) : std::max(requested, size_t{1});
}

void* CachingAllocator::allocate(size_t requested) {
  if (requested > (size_t{1} << 62)) throw Error("ERR_OUT_OF_MEMORY", "out of memory: absurd size");
  const size_t bytes = size_of_block(requested);
  std::lock_guard lock(mutex_);
  void* block = take_cached(bytes);
  if (!block) block = take_new(bytes);
  if (!block)
    throw Error("ERR_OUT_OF_MEMORY", std::string("out of ") + source_.name + ": " + std::to_string(requested) +
                                         " bytes asked for, " + std::to_string(stats_.allocated) + " in use, limit " +
                                         std::to_string(stats_.limit));
  ++stats_.allocations;
  stats_.allocated += static_cast<int64_t>(bytes);
  stats_.peak = std::max(stats_.peak, stats_.allocated);
  if (source_.addressable) {
    ASAN_POISON_MEMORY_REGION(block, bytes);
    ASAN_UNPOISON_MEMORY_REGION(block, requested);
  }
  return block;
}

void CachingAllocator::release(void* block, size_t requested) noexcept {
  const size_t bytes = size_of_block(requested);
  std::lock_guard lock(mutex_);
  stats_.allocated -= static_cast<int64_t>(bytes);
  if (!source_.caches) return source_.free(block);
  try {
    free_blocks_[bytes].push_back(block);
    stats_.cached += static_cast<int64_t>(bytes);
    if (source_.addressable) ASAN_POISON_MEMORY_REGION(block, bytes);
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
  const int64_t size = static_cast<int64_t>(bytes);
  if (stats_.allocated + stats_.cached + size > stats_.limit) free_cached();
  if (stats_.allocated + size > stats_.limit) return nullptr;
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
      if (source_.addressable) ASAN_UNPOISON_MEMORY_REGION(block, bytes);
      source_.free(block);
    }
  free_blocks_.clear();
  stats_.cached = 0;
}

MemoryStats CachingAllocator::stats() {
  std::lock_guard lock(mutex_);
  return stats_;
}

int64_t CachingAllocator::available() {
  std::lock_guard lock(mutex_);
  return stats_.limit - stats_.allocated;
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

void CachingAllocator::empty_cache() {
  std::lock_guard lock(mutex_);
  free_cached();
}

}  // namespace sffn
