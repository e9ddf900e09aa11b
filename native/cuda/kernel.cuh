// A kernel as the host sees it: its name, its needs and limits on this device, its launches.
#pragma once

#include <map>
#include <string>

#include "../counters.h"
#include "common.cuh"

namespace sffn::cuda {

template <class T>
constexpr const char* kTypeName = std::is_same_v<T, float> ? "f32" : "bf16";

// "gemm_skinny<bf16,4,1>" from "gemm_skinny" and its template arguments: names of types, numbers and booleans.
template <class... Arguments>
std::string kernel_name(const char* kernel, Arguments... arguments) {
  const auto text = [](auto argument) {
    if constexpr (std::is_same_v<decltype(argument), const char*>)
      return std::string(argument);
    else
      return std::to_string(static_cast<int>(argument));
  };
  std::string name = kernel;
  char before = '<';
  ((name += before, name += text(arguments), before = ','), ...);
  return name += '>';
}

// One for each kernel and device, for the life of the process.
template <class... Arguments>
class Kernel {
 public:
  // threads: of its blocks. Its dynamic shared memory may be all that its static one leaves.
  Kernel(std::string name, void (*function)(Arguments...), int threads)
      : function_(function), threads_(threads), attributes_(prepared(function)), launches_(std::move(name)) {}

  // Whether this device has it: a kernel that is compiled to nothing allows a single thread.
  bool exists() const { return attributes_.maxThreadsPerBlock >= threads_; }

  const std::string& name() const { return launches_.kernel(); }

  // Blocks that a multiprocessor holds at once, each with this many bytes of dynamic shared memory.
  int resident_blocks(int64_t shared) {
    const auto known = resident_.find(shared);
    if (known != resident_.end()) return known->second;
    int blocks = 0;
    check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function_, threads_, static_cast<size_t>(shared)),
          "reading a kernel");
    return resident_[shared] = blocks;
  }

  // shared: dynamic bytes.
  void launch(dim3 grid, int64_t shared, const Arguments&... arguments) {
    function_<<<grid, threads_, static_cast<size_t>(shared), stream()>>>(arguments...);
    check_launch(name().c_str());
    launches_.add();
  }

 private:
  static cudaFuncAttributes prepared(void (*function)(Arguments...)) {
    const void* const address = reinterpret_cast<const void*>(function);
    const int shared = shared_memory_per_block();
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, address), "reading a kernel");
    check(cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               shared - static_cast<int>(attributes.sharedSizeBytes)),
          "preparing a kernel");
    return attributes;
  }

  void (*const function_)(Arguments...);
  const int threads_;
  const cudaFuncAttributes attributes_;
  std::map<int64_t, int> resident_;  // by shared memory
  LaunchCount launches_;
};

}  // namespace sffn::cuda
