// C tiles by tensor cores, where the caller allows it, from f32 operands that are rounded to TF32 (10 bits of
// mantissa). Sums are f32. Operands are read as for the plain f32 tiles, and rounded once, on their way to shared
// memory.
#pragma once

#include "../ptx.cuh"
#include "tile_f32.cuh"

namespace sffn::cuda {

// kSize: 64 or 128 rows and columns. 8 warps as 2 x 4, each with kFragmentsM x kFragmentsN fragments of 16 x 8.
template <int kSize>
struct Tf32Tile {
  static constexpr int kDepth = F32Tile::kDepth, kThreads = F32Tile::kThreads;
  static constexpr int kParts = kSize / F32Tile::kSize;  // rows are read 64 at a time
  static constexpr int kWarpsM = 2, kWarpsN = 4;
  static constexpr int kWarpM = kSize / kWarpsM, kWarpN = kSize / kWarpsN;
  static constexpr int kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;
  // 8 more than the rows: the 4 terms x 8 rows of a fragment's register lie in 32 banks.
  static constexpr int kRow = kSize + 8;
  static constexpr int kOperand = kDepth * kRow;  // floats
  static constexpr int kSharedBytes = std::max(4 * kOperand, kSize* kRow) * 4;

  using Kept = KeptTile<float, kSize>;
  using Values = float[kParts][4];
  using Sums = float[kFragmentsM][kFragmentsN][4];

  template <bool kKContiguous, bool kVector>
  static __device__ void fetch(Values& values, const float* from, int64_t ld, int first, int rows, int k0, int k,
                               int half = 0) {
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      F32Tile::fetch<kKContiguous, kVector>(values[part], from, ld, first + part * F32Tile::kSize, rows, k0, k, half);
  }

  template <bool kKContiguous>
  static __device__ void keep(float* to, const Values& values) {
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      float rounded[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) rounded[j] = rounded_to_tf32(values[part][j]);
      if constexpr (kKContiguous) {
        const int row = part * F32Tile::kSize + threadIdx.x / 4, term = threadIdx.x % 4 * 4;
#pragma unroll
        for (int j = 0; j < 4; ++j) to[(term + j) * kRow + F32Tile::place(term, row)] = rounded[j];
      } else {
        const int term = threadIdx.x / 16, row = part * F32Tile::kSize + threadIdx.x % 16 * 4;
        // Counted in float4: nvcc does not see that addresses counted in floats are aligned, and would store floats one
        // by one.
        reinterpret_cast<float4*>(to)[(term * kRow + F32Tile::place(term, row)) / 4] =
            make_float4(rounded[0], rounded[1], rounded[2], rounded[3]);
      }
    }
  }

  static __device__ void multiply(Sums& sums, const float* a, const float* b, int warp_m, int warp_n) {
    const int lane = threadIdx.x % kWarp, group = lane / 4, within = lane % 4;
    const auto at = [](const float* operand, int term, int row) {
      return __float_as_uint(operand[term * kRow + F32Tile::place(term, row)]);
    };
#pragma unroll
    for (int step = 0; step < kDepth; step += 8) {
      const int term = step + within;
      uint32_t left[kFragmentsM][4], right[kFragmentsN][2];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i) {
        const int row = warp_m * kWarpM + i * 16 + group;
        left[i][0] = at(a, term, row), left[i][1] = at(a, term, row + 8);
        left[i][2] = at(a, term + 4, row), left[i][3] = at(a, term + 4, row + 8);
      }
#pragma unroll
      for (int j = 0; j < kFragmentsN; ++j) {
        const int row = warp_n * kWarpN + j * 8 + group;
        right[j][0] = at(b, term, row), right[j][1] = at(b, term + 4, row);
      }
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j) multiply_accumulate_tf32(sums[i][j], left[i], right[j]);
    }
  }
};

// kGroup: computes p.group inner batches in turn, whose columns interleave.
template <int kSize, bool kAK, bool kBK, bool kVector, bool kGroup>
__global__ void __launch_bounds__(Tf32Tile<kSize>::kThreads, kSize == 64 ? 2 : 1)
    gemm_tf32(const __grid_constant__ Product p) {
  using Tile = Tf32Tile<kSize>;
  using Kept = typename Tile::Kept;
  extern __shared__ __align__(16) float shared_tf32[];
  const auto [batch, row0, column0] = place_of<kSize>(p);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int warp_m = warp / Tile::kWarpsN, warp_n = warp % Tile::kWarpsN;

  const int half = kAK && kBK ? p.half() : 0;
  using Sequence = Terms<float, Tile::kDepth, kGroup>;
  const Sequence terms(p, batch);
  int begin, end;
  split_range(p, terms.count(), begin, end);
  const int group = kGroup ? p.group : 1, all = kGroup ? end * group : end;
  typename Tile::Values a_next, b_next;
  const auto fetch = [&](int t) {
    const Term<float> term = terms(t);
    Tile::template fetch<kAK, kVector>(a_next, term.a, term.lda, row0, p.m, term.k0, term.k);
    Tile::template fetch<kBK, kVector>(b_next, term.b, term.ldb, column0, p.n, term.k0, term.k, half);
  };

  typename Tile::Sums sums = {};
  const bool sums_rows = !kAK && !kBK && makes_row_sums(p, batch, column0);
  FetchedRowSums<Tile::kParts> row_sums;
  const auto scale = [&](float factor) {
#pragma unroll
    for (auto& row : sums)
#pragma unroll
      for (auto& fragment : row)
#pragma unroll
        for (float& value : fragment) value *= factor;
  };
  const int first = p.nfactors > 1 ? Sequence::tiles_of(p.factors[0]) : -1;

  if (begin < end) fetch(begin);
  const auto sum = [&](int from, int to) {
    for (int t = from; t < to; ++t) {
      float* a = shared_tf32 + (t & 1) * 2 * Tile::kOperand;
      float* b = a + Tile::kOperand;
      Tile::template keep<kAK>(a, a_next);
      Tile::template keep<kBK>(b, b_next);
      if (sums_rows) row_sums.add(a_next);
      __syncthreads();
      if (t + 1 < all) fetch(t + 1);
      if (t - from == first) scale(p.factors[0].scale / p.factors[1].scale);
      Tile::multiply(sums, a, b, warp_m, warp_n);
    }
    scale(p.factors[p.nfactors - 1].scale);
  };
  // Each thread has pairs of neighbouring columns, from column_of(j) on.
  const auto column_of = [&](int j) { return warp_n * Tile::kWarpN + j * 8 + lane % 4 * 2; };
  const auto each_pair = [&](auto&& body) {
#pragma unroll
    for (int i = 0; i < Tile::kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsN; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          body(warp_m * Tile::kWarpM + i * 16 + half * 8 + lane / 4, j, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
  };

  if constexpr (kGroup) {
    const int outer = batch / p.batches[1];
    const Kept kept{shared_tf32 + Tile::kSharedBytes / sizeof(float), shared_tf32, group};
    for (int l = 0; l < group; ++l) {
      sum(l * end, (l + 1) * end);
      if (l + 1 == group) __syncthreads();
      float bias[Tile::kFragmentsN][2];
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsN; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          bias[j][i] = bias_of<float>(p, outer, l, tile_column(column0 + column_of(j) + i, half));
      each_pair([&](int row, int j, float& x, float& y) {
        *reinterpret_cast<Run<float, 2>*>(kept.of(l) + row * Kept::kRow + column_of(j)) = {
            kept_value<float>(p, x + bias[j][0]), kept_value<float>(p, y + bias[j][1])};
        x = y = 0;
      });
    }
    __syncthreads();
    store_kept<float, kBK>(p, outer, kept, row0, column0);
    return;
  }

  sum(begin, end);
  if (sums_rows) row_sums.store(p, batch, row0, shared_tf32);
  // Through shared memory, so that each row is stored in whole sectors.
  __syncthreads();
  each_pair([&](int row, int j, float x, float y) {
    reinterpret_cast<float2*>(shared_tf32)[(row * Tile::kRow + column_of(j)) / 2] = make_float2(x, y);
  });
  __syncthreads();
  store_tile<float, kAK, kBK, kSize>(p, batch, shared_tf32, Tile::kRow, row0, column0);
}

}  // namespace sffn::cuda
