// What the kernels count about themselves: tests compare it with the formulas, benchmarks measure peaks by it.
#pragma once

#include <atomic>
#include <cstdint>

namespace sffn {

// Floating-point operations of matrix products since the process started (a multiplication and an addition are two).
// Counted once per product, by its sizes: padding of tiles and attention's own products are not in it.
inline std::atomic<int64_t> product_flops{0};

// How often the host waited for a CUDA device since the process started.
inline std::atomic<int64_t> synchronizations{0};

// Where those of a thread go that records them for later.
inline thread_local int64_t* recorded_flops = nullptr;

inline void count_flops(int64_t flops) {
  if (recorded_flops)
    *recorded_flops += flops;
  else
    product_flops.fetch_add(flops, std::memory_order_relaxed);
}
inline double counted_flops() { return static_cast<double>(product_flops.load(std::memory_order_relaxed)); }
inline double counted_synchronizations() {
  return static_cast<double>(synchronizations.load(std::memory_order_relaxed));
}

}  // namespace sffn
