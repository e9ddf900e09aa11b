// Products with few rows, as in decoding: bound by reading B. Each warp takes one column of the sums, that is one row
// of B. It reads that row once, 16 bytes a lane, for all rows of A, which wait in shared memory. For swiglu half the
// warps take gates, and the others the columns that these gate.
#pragma once

#include "../pack.cuh"
#include "epilogue.cuh"
#include "kernels.cuh"

namespace sffn::cuda {

template <class T>
struct SkinnyTile {
  static constexpr int kPack = 16 / sizeof(T);
  static constexpr int kPacks = 4;                       // packs that a lane loads at a time, to hide the latency
  static constexpr int kChunk = kPack * kPacks * kWarp;  // terms
};

// kRows >= p.m; both operands k-contiguous.
template <class T, int kRows, bool kVector>
__global__ void __launch_bounds__(kSkinnyWarps* kWarp, 2) gemm_skinny(const __grid_constant__ Product p) {
  using Tile = SkinnyTile<T>;
  constexpr int kPack = Tile::kPack, kPacks = Tile::kPacks, kChunk = Tile::kChunk;
  __shared__ __align__(16) T rows[kRows][kChunk];
  const int batches = p.batches[0] * p.batches[1], batch = blockIdx.x % batches;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, gates = p.gated() ? kSkinnyWarps / 2 : kSkinnyWarps;
  const int result = blockIdx.x / batches * gates + warp % gates;
  const int column = result < p.results() ? result + warp / gates * p.half() : p.n;
  const int outer = batch / p.batches[1], inner = batch % p.batches[1];

  float sums[kRows] = {};
  for (int which = 0; which < p.nfactors; ++which) {
    const Factor& f = p.factors[which];
    for (int segment = 0; segment < f.segments; ++segment) {
      const T* a = static_cast<const T*>(f.a) + outer * f.a_batch[0] + inner * f.a_batch[1] + segment * f.a_segment;
      const T* b = static_cast<const T*>(f.b) + outer * f.b_batch[0] + inner * f.b_batch[1] + segment * f.b_segment +
                   int64_t{column} * f.ldb;
      for (int k0 = 0; k0 < f.k; k0 += kChunk) {
        float weights[kPacks][kPack];
#pragma unroll
        for (int i = 0; i < kPacks; ++i) {
          const int term = k0 + (i * kWarp + lane) * kPack;
          const int inside = column < p.n ? f.k - term : 0;
          if (kVector && inside >= kPack) {
            load_pack<kPack>(b + term, weights[i]);
          } else {
#pragma unroll
            for (int j = 0; j < kPack; ++j) weights[i][j] = j < inside ? to_float(b[term + j]) : 0.f;
          }
        }
        __syncthreads();
        for (int i = threadIdx.x; i < kRows * kChunk; i += kSkinnyWarps * kWarp) {
          const int row = i / kChunk, term = k0 + i % kChunk;
          rows[row][i % kChunk] = row < p.m && term < f.k ? a[row * f.lda + term] : from_float<T>(0.f);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < kPacks; ++i)
#pragma unroll
          for (int row = 0; row < kRows; ++row) {
            float x[kPack];
            load_pack<kPack>(&rows[row][(i * kWarp + lane) * kPack], x);
#pragma unroll
            for (int j = 0; j < kPack; ++j) sums[row] += weights[i][j] * x[j];
          }
      }
    }
    const float scale = which + 1 < p.nfactors ? f.scale / p.factors[which + 1].scale : f.scale;
#pragma unroll
    for (float& sum : sums) sum *= scale;
  }
#pragma unroll
  for (float& sum : sums) sum = warp_sum(sum);
  if (p.gated()) {
    float* ups = reinterpret_cast<float*>(rows);
    __syncthreads();
#pragma unroll
    for (int row = 0; row < kRows; ++row)
      if (warp >= gates && lane == 0) ups[warp % gates * kRows + row] = sums[row];
    __syncthreads();
    if (warp >= gates) return;
#pragma unroll
    for (int row = 0; row < kRows; ++row) {
      float gate[1] = {sums[row]}, up[1] = {ups[warp * kRows + row]};
      if (lane == row % kWarp) store_gated<T>(p, batch, row, result, gate, up);
    }
    return;
  }
#pragma unroll
  for (int row = 0; row < kRows; ++row) {
    float value[1] = {sums[row]};
    if (lane == row % kWarp) store_run<T, false>(p, batch, row, column, value);
  }
}

template <class T>
ProductKernel* skinny_kernel(const Product& p) {
  const int most = p.m == 1 ? 1 : p.m <= 4 ? 4 : p.m <= 8 ? 8 : kSkinnyRows;
  return with_constant(p.vector_operands, [&]<bool kVector>(Truth<kVector>) {
    return with_constant_of<1, 4, 8, kSkinnyRows>(most, []<int kRows>(Number<kRows>) {
      return kernel_of<gemm_skinny<T, kRows, kVector>, kSkinnyWarps * kWarp>("gemm_skinny", kTypeName<T>, kRows,
                                                                             kVector);
    });
  });
}

}  // namespace sffn::cuda
