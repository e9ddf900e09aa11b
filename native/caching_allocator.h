// A caching allocator for the CPU's memory: blocks come in fixed sizes, and each is requested and freed alone.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "memory.h"

namespace sffn {

class CachingAllocator final : public Memory {
 public:
  CachingAllocator(const MemorySource& source, int64_t limit) : source_(source), stats_{.limit = limit} {}

  void* allocate(size_t bytes) override;
  void release(void* block, size_t bytes) noexcept override;

  MemoryStats stats() override;
  void reset_peak() override;
  void set_limit(int64_t bytes) override;
  void empty_cache() override;

  // For tests: the count-th allocation from now on is refused, and all after it until the next call; 0: none. Returns
  // what was left of the count before.
  int64_t refuse_allocation(int64_t count);

 private:
  void* take_cached(size_t bytes);
  void* take_new(size_t bytes);
  void free_cached();

  const MemorySource source_;
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_blocks_;
  MemoryStats stats_;
  int64_t until_refusal_ = 0;  // allocations, the first refused one among them; -1: all are refused
};

}  // namespace sffn
