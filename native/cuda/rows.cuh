// Kernels with one block to a row, and as many threads as the row can keep busy.
#pragma once

#include <algorithm>

#include "pack.cuh"

namespace sffn::cuda {

constexpr int kRowThreads = 256;  // at most

inline int row_threads(int64_t packs) {
  return static_cast<int>(std::clamp<int64_t>(ceil_div(packs, kWarp) * kWarp, kWarp, kRowThreads));
}
// With more rows than this, blocks stride over them.
inline unsigned row_blocks(int64_t rows) { return static_cast<unsigned>(std::min<int64_t>(rows, 1 << 30)); }

// Joins one value of each thread; every thread gets the result, the same bits in all of them.
template <class T, class Join>
__device__ T block_join(T value, T initial, Join join) {
  __shared__ T parts[kRowThreads / kWarp];
  for (int offset = kWarp / 2; offset > 0; offset /= 2) value = join(value, __shfl_xor_sync(kAllLanes, value, offset));
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  if (warps == 1) return value;
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = initial;
  for (int w = 0; w < warps; ++w) value = join(value, parts[w]);
  __syncthreads();  // the next call writes parts again
  return value;
}

__device__ inline float block_sum(float x) {
  return block_join(x, 0.f, [](float a, float b) { return a + b; });
}
__device__ inline float block_max(float x) {
  return block_join(x, -INFINITY, [](float a, float b) { return fmaxf(a, b); });
}

// body(first element) for each pack of N that is this thread's in a row of `features` elements.
template <int N, class Body>
__device__ inline void for_packs(int64_t features, Body body) {
  for (int64_t i = int64_t{threadIdx.x} * N; i < features; i += int64_t{blockDim.x} * N) body(i);
}

// Maximum and Σ exp(x − maximum) of a row in one pass: each thread rescales its sum as its maximum grows.
struct MaxSum {
  float top = -INFINITY, total = 0.f;

  template <int N>
  __device__ void add(const float (&x)[N]) {
    float grown = top;
#pragma unroll
    for (int k = 0; k < N; ++k) grown = fmaxf(grown, x[k]);
    // While all values are -inf there is no maximum to subtract. (A NaN must stay.)
    const float shift = grown == -INFINITY ? 0.f : grown;
    total *= expf(top - shift);
#pragma unroll
    for (int k = 0; k < N; ++k) total += expf(x[k] - shift);
    top = grown;
  }
};

template <int N, class T>
__device__ MaxSum row_max_sum(const T* row, int64_t features) {
  MaxSum own;
  for_packs<N>(features, [&](int64_t i) {
    float x[N];
    load_pack<N>(row + i, x);
    own.add(x);
  });
  const float top = block_max(own.top);
  // A thread without elements, or with -inf alone, has a sum of 0 and no maximum.
  return {top, block_sum(own.total == 0.f ? 0.f : own.total * expf(own.top - top))};
}

}  // namespace sffn::cuda
