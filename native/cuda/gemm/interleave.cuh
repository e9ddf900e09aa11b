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

  __device__ T* of(int l) const { return l + 1 < group ? tiles + l * kStep : last; }
};

// What is added to a column of a batch.
template <class T>
__device__ float bias_of(const Product& p, int outer, int inner, int column) {
  if (!p.bias || column >= p.n) return 0;
  return to_float(
      static_cast<const T*>(p.bias)[outer * p.bias_batch[0] + inner * p.bias_batch[1] + column * p.bias_column]);
}

// A value of C as it is kept: before the activation where backward wants to see that, else after it.
template <class T>
__device__ T kept_value(const Product& p, float value) {
  return from_float<T>(p.pre ? value : activated(p.activation, value));
}

template <class T, int kSize, int kCount>
__device__ void store_kept_runs(const Product& p, int outer, const KeptTile<T, kSize>& kept, int row0, int column0) {
  const int L = kept.group;
  const int rows = min(kSize, p.m - row0), runs = min(kSize, p.n - column0) * L / kCount;
  const int64_t base = outer * p.c_batch[0] + row0 * p.ldc + column0 * L;
  T* c = static_cast<T*>(p.c) + base;
  T* pre = p.pre ? static_cast<T*>(p.pre) + base : nullptr;
  for (int i = threadIdx.x; i < rows * runs; i += blockDim.x) {
    const int row = i / runs, first = i % runs * kCount;
    int column = first / L, l = first % L;
    Run<T, kCount> value;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      value.values[e] = kept.of(l)[row * KeptTile<T, kSize>::kRow + column];
      if (++l == L) l = 0, ++column;
    }
    const int64_t at = row * p.ldc + first;
    if (pre) {
      *reinterpret_cast<Run<T, kCount>*>(pre + at) = value;
#pragma unroll
      for (T& each : value.values) each = from_float<T>(activated(p.activation, to_float(each)));
    }
    *reinterpret_cast<Run<T, kCount>*>(c + at) = value;
  }
}

// All tiles of the group, once every thread has kept its part of them.
template <class T, int kSize>
__device__ void store_kept(const Product& p, int outer, const KeptTile<T, kSize>& kept, int row0, int column0) {
  if (p.vector_c)
    store_kept_runs<T, kSize, 16 / sizeof(T)>(p, outer, kept, row0, column0);
  else
    store_kept_runs<T, kSize, 1>(p, outer, kept, row0, column0);
}

}  // namespace sffn::cuda
