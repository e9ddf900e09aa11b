// Interleaved results: column j of inner batch l lies at j·L + l, so that one batch alone fills an L-th of every sector
// that it touches. A block of threads therefore computes the same tile of all L batches in turn, keeps each in shared
// memory in the type that is stored, and stores them together at the end, 16 bytes at a time.
#pragma once

#include "epilogue.cuh"

namespace sffn::cuda {

template <class T, int kSize>
struct KeptTile {
  // In 16-bit rows, 16 bytes more keep the accumulators' stores apart; float rows are stored 128 bytes at a time
  // anyway.
  static constexpr int kRow = kSize + (sizeof(T) == 2 ? 8 : 0);
  static constexpr int kElements = kSize * kRow;
  // From one tile to the next: 16 bytes more, so that the same element of half the tiles does not lie in one bank.
  static constexpr int kStep = kElements + 16 / sizeof(T);

  // Dynamic shared memory of a block: a tile for each batch but the last, which takes the place of the operands.
  static constexpr int64_t bytes(int64_t group) { return (group - 1) * kStep * static_cast<int64_t>(sizeof(T)); }

  T* tiles;  // of the batches 0 .. group - 2
  T* last;
  int group;

  __host__ __device__ T* of(int l) const { return l + 1 < group ? tiles + l * kStep : last; }
};

// A value of C as it is kept: before the activation where backward wants to see that, else after it.
template <class T>
__device__ T kept_value(const Product& p, float value) {
  return from_float<T>(p.pre ? value : activated(p.activation, value));
}

// kGated: whether the product may be the forward of swiglu.
template <class T, bool kGated, int kSize, int kCount>
__device__ void store_kept_runs(const Product& p, int outer, const KeptTile<T, kSize>& kept, int row0, int column0) {
  const int L = kept.group;
  const bool gated = kGated && p.gated();
  const int width = gated ? kSize / 2 : kSize, start = gated ? column0 / 2 : column0;
  const int rows = min(kSize, p.m - row0), runs = min(width, p.results() - start) * L / kCount;
  const auto whole = [](auto* at) { return reinterpret_cast<Run<T, kCount>*>(at); };
  for (int i = threadIdx.x; i < rows * runs; i += blockDim.x) {
    const int row = i / runs, first = i % runs * kCount;
    int column = first / L, l = first % L;
    Run<T, kCount> sums, ups;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const T* from = kept.of(l) + row * KeptTile<T, kSize>::kRow;
      from += gated ? gate_column(column) : column;
      sums.values[e] = *from;
      if (gated) ups.values[e] = from[kGates];
      if (++l == L) l = 0, ++column;
    }
    if (p.pre) {
      T* pre = static_cast<T*>(p.pre) + row_of_pre(p, outer, 0, row0 + row) + start * L + first;
      *whole(pre) = sums;
      if (gated) *whole(pre + p.half() * L) = ups;
    }
    float values[kCount];
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      values[e] = to_float(sums.values[e]);
      if (gated)
        values[e] = silu(values[e]) * to_float(ups.values[e]);
      else if (p.pre)
        values[e] = activated(p.activation, values[e]);
    }
    const int64_t at = row_of_c(p, outer, 0, row0 + row) + start * L + first;
    if (p.added) {
      const auto added = *reinterpret_cast<const Run<T, kCount>*>(static_cast<const T*>(p.added) + at);
#pragma unroll
      for (int e = 0; e < kCount; ++e) values[e] += to_float(added.values[e]);
    }
    *whole(static_cast<T*>(p.c) + at) = rounded<T>(values);
  }
}

// All tiles of the group, once every thread has kept its part of them.
template <class T, bool kGated, int kSize>
__device__ void store_kept(const Product& p, int outer, const KeptTile<T, kSize>& kept, int row0, int column0) {
  if (p.vector_c)
    store_kept_runs<T, kGated, kSize, 16 / sizeof(T)>(p, outer, kept, row0, column0);
  else
    store_kept_runs<T, kGated, kSize, 1>(p, outer, kept, row0, column0);
}

}  // namespace sffn::cuda
