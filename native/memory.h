// The memory of a device as the rest of the addon sees it.
#pragma once

#include <algorithm>
#include <functional>
#include <string>

#include "tensor.h"

namespace sffn {

struct MemoryStats {
  int64_t allocated = 0;           // bytes in use, never more than the limit
  int64_t cached = 0;              // bytes kept for reuse
  int64_t peak = 0;                // highest `allocated` since the last reset
  int64_t limit = 0;               // allocated + cached never exceed this
  int64_t allocations = 0;         // calls of allocate
  int64_t system_allocations = 0;  // of these, how many had to ask the source

  void add_block(size_t bytes) {
    ++allocations;
    allocated += static_cast<int64_t>(bytes);
    peak = std::max(peak, allocated);
  }
  // What the limit leaves, including memory kept for reuse; the source may have less.
  int64_t available() const { return limit - allocated; }
  bool has_room_for(size_t bytes) const { return allocated + cached + static_cast<int64_t>(bytes) <= limit; }
};

// Where memory comes from.
struct MemorySource {
  const char* name;                             // for messages: "memory", "CUDA memory"
  std::function<void*(size_t bytes)> allocate;  // nullptr when there is none; may throw Error for another failure
  std::function<void(void* block)> free;
};

class Memory {
 public:
  virtual ~Memory() = default;

  // Throws Error("ERR_OUT_OF_MEMORY") when the limit or the source refuses even after memory kept for reuse was given
  // back.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* block, size_t bytes) noexcept = 0;

  virtual MemoryStats stats() = 0;
  virtual void reset_peak() = 0;
  virtual void set_limit(int64_t bytes) = 0;
  virtual void empty_cache() = 0;
};

inline void check_memory_size(size_t requested) {
  if (requested > (size_t{1} << 62)) throw Error("ERR_OUT_OF_MEMORY", "out of memory: absurd size");
}

inline Error out_of_memory(const MemorySource& source, size_t requested, const MemoryStats& stats) {
  return Error("ERR_OUT_OF_MEMORY", std::string("out of ") + source.name + ": " + std::to_string(requested) +
                                        " bytes asked for, " + std::to_string(stats.allocated) + " in use, limit " +
                                        std::to_string(stats.limit));
}

}  // namespace sffn
