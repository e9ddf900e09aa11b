// The memory of tensors and scratch on the CPU: blocks aligned to 64 bytes.
#pragma once

#include <utility>

#include "caching_allocator.h"

namespace sffn {

CachingAllocator& host_memory();

// Scratch memory for the length of a kernel: `Scratch<float> packed(n);`
template <class T>
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(int64_t count)
      : bytes_(static_cast<size_t>(count > 0 ? count : 1) * sizeof(T)),
        data_(static_cast<T*>(host_memory().allocate(bytes_))) {}
  Scratch(Scratch&& other) noexcept : bytes_(other.bytes_), data_(other.data_) { other.data_ = nullptr; }
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Scratch() {
    if (data_) host_memory().release(data_, bytes_);
  }
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  size_t bytes_ = 0;
  T* data_ = nullptr;
};

}  // namespace sffn
