// What the kernels count about themselves: tests compare it with the formulas, benchmarks measure peaks by it.
#pragma once

#include <atomic>
#include <cstdint>

namespace sffn {

// Floating-point operations of matrix products since the process started (a multiplication and an addition are two).
// Counted once per product, by its sizes: padding of tiles and attention's own products are not in it.
inline std::atomic<int64_t> product_flops{0};

inline void count_flops(int64_t flops) { product_flops.fetch_add(flops, std::memory_order_relaxed); }
inline double counted_flops() { return static_cast<double>(product_flops.load(std::memory_order_relaxed)); }

}  // namespace sffn
