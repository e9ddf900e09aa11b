// Caching allocator for tensors and scratch: 64-byte aligned blocks in size classes, a settable limit, statistics.
#pragma once

#include "tensor.h"

namespace sffn {

struct MemoryStats {
  int64_t allocated = 0;           // bytes in use
  int64_t cached = 0;              // bytes kept for reuse
  int64_t peak = 0;                // highest `allocated` since the last reset
  int64_t limit = 0;               // allocated + cached never exceed it
  int64_t allocations = 0;         // calls of allocate
  int64_t system_allocations = 0;  // of these, how many had to ask the system
};

// Throws Error("ERR_OUT_OF_MEMORY") when the limit or the system refuses, after giving the cache back.
void* allocate(size_t bytes);
void release(void* block, size_t bytes) noexcept;

MemoryStats memory_stats();
void reset_peak_memory();
void set_memory_limit(int64_t bytes);
void empty_cache();

// Scratch memory for the length of a kernel: `Scratch<float> packed(n);`
template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count)
      : bytes_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T)), data_(static_cast<T*>(allocate(bytes_))) {}
  Scratch(Scratch&& other) noexcept : bytes_(other.bytes_), data_(other.data_) { other.data_ = nullptr; }
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Scratch() {
    if (data_) release(data_, bytes_);
  }
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace sffn
