// A caching allocator over some source of memory: size classes, a settable limit, statistics.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "tensor.h"

namespace sffn {

struct MemoryStats {
  int64_t allocated = 0;           // bytes in use
  int64_t cached = 0;              // bytes kept for reuse
  int64_t peak = 0;                // highest `allocated` since the last reset
  int64_t limit = 0;               // allocated + cached never exceed it
  int64_t allocations = 0;         // calls of allocate
  int64_t system_allocations = 0;  // of these, how many had to ask the source
};

struct MemorySource {
  const char* name;                 // for messages: "memory", "CUDA memory"
  void* (*allocate)(size_t bytes);  // nullptr when there is none
  void (*free)(void* block);
  bool addressable;    // by this processor
  bool caches = true;  // false: blocks are as long as asked for and freed at once, for tools that look for accesses
                       // beyond them
};

class CachingAllocator {
 public:
  CachingAllocator(const MemorySource& source, int64_t limit) : source_(source), stats_{.limit = limit} {}

  // Throws Error("ERR_OUT_OF_MEMORY") when the limit or the source refuses, after giving the cache back.
  void* allocate(size_t bytes);
  void release(void* block, size_t bytes) noexcept;

  MemoryStats stats();
  // Bytes that the limit leaves, those kept for reuse among them; the source may have less.
  int64_t available();
  void reset_peak();
  void set_limit(int64_t bytes);
  void empty_cache();

 private:
  size_t size_of_block(size_t requested) const;
  void* take_cached(size_t bytes);
  void* take_new(size_t bytes);
  void free_cached();

  const MemorySource source_;
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> free_blocks_;
  MemoryStats stats_;
};

}  // namespace sffn
