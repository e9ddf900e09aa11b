// Interleaved results: column j of inner batch l lies at j·L + l, so one batch alone fills an L-th of every sector that
// it touches. A block of threads therefore computes the same tile of all L batches in turn and keeps each in shared
// memory in the stored type. At the end it stores them together, 16 bytes at a time.
#pragma once

#include "epilogue.cuh"

namespace sffn::cuda {

// kPadding: elements after each row. 8 keep the stores of the tensor cores' accumulators apart, of either type.
template <class T, int kRows, int kColumns = kRows, int kPadding = 8>
struct KeptTile {
  static constexpr int kRow = kColumns + kPadding;
  static constexpr int kElements = kRows * kRow;
  // From one tile to the next: 16 bytes more, or the same element of half the tiles would lie in one bank.
  static constexpr int kStep = kElements + 16 / sizeof(T);

  // Dynamic shared memory of a block: a tile for each batch except the last, whose tile takes the place of the
  // operands.
  static constexpr int64_t bytes(int64_t group) { return (group - 1) * kStep * static_cast<int64_t>(sizeof(T)); }

  T* tiles;  // of the batches 0 .. group - 2
  T* last;
  int group;

  __host__ __device__ T* of(int l) const { return l + 1 < group ? tiles + l * kStep : last; }
};

// A value of C as it is kept: before the activation where backward needs it so, else after.
template <class T>
__device__ T kept_value(const Product& p, float value) {
  return from_float<T>(p.pre ? value : activated(p.activation, value));
}

// kGated: whether the product may be the forward of swiglu.
template <class T, bool kGated, int kCount, int kRows, int kColumns, int kPadding>
__device__ void store_kept_runs(const Product& p, int outer, const KeptTile<T, kRows, kColumns, kPadding>& kept,
                                int row0, int column0) {
  const int L = kept.group;
  const bool gated = kGated && p.gated();
  const int width = gated ? kColumns / 2 : kColumns, start = gated ? column0 / 2 : column0;
  const int rows = min(kRows, p.m - row0), runs = min(width, p.results() - start) * L / kCount;
  const auto whole = [](auto* at) { return reinterpret_cast<Run<T, kCount>*>(at); };
  for (int i = threadIdx.x; i < (rows + 7) / 8 * 8 * runs; i += blockDim.x) {
    // If a warp reads two rows, they are four apart: with the padding they begin 16 banks apart.
    const int at = i / runs, row = at / 8 * 8 + at % 2 * 4 + at % 8 / 2, first = i % runs * kCount;
    if (row >= rows) continue;
    int column = first / L, l = first % L;
    Run<T, kCount> sums, ups;
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const T* from = kept.of(l) + row * kept.kRow;
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
    const int64_t to = row_of_c(p, outer, 0, row0 + row) + start * L + first;
    if (p.added) {
      const auto added = *reinterpret_cast<const Run<T, kCount>*>(static_cast<const T*>(p.added) + to);
#pragma unroll
      for (int e = 0; e < kCount; ++e) values[e] += to_float(added.values[e]);
    }
    *whole(static_cast<T*>(p.c) + to) = rounded<T>(values);
  }
}

// Stores all tiles of the group, once every thread has kept its part of them.
template <class T, bool kGated, int kRows, int kColumns, int kPadding>
__device__ void store_kept(const Product& p, int outer, const KeptTile<T, kRows, kColumns, kPadding>& kept, int row0,
                           int column0) {
  if (p.vector_c)
    store_kept_runs<T, kGated, 16 / sizeof(T)>(p, outer, kept, row0, column0);
  else
    store_kept_runs<T, kGated, 1>(p, outer, kept, row0, column0);
}

}  // namespace sffn::cuda
