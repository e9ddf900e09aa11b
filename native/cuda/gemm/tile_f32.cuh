// C tiles of 64 x 64 by plain f32 multiply-adds, the reference precision: 256 threads with 4 x 4 sums each. A stage
// holds 16 terms of 64 rows, k-major. The term's quarter permutes the rows in groups of 8: k-contiguous operands are
// transposed as they are stored, and so hit no bank twice.
#pragma once

#include "interleave.cuh"
#include "row_sums.cuh"
#include "terms.cuh"

namespace sffn::cuda {

struct F32Tile {
  static constexpr int kSize = 64;
  static constexpr int kDepth = 16;
  static constexpr int kThreads = 256;
  using Stage = float[kDepth][kSize];
  static constexpr int kStaticBytes = 4 * sizeof(Stage);
  // Its rows are stored 128 bytes at a time.
  using Kept = KeptTile<float, kSize, kSize, 0>;

  static __host__ __device__ int place(int term, int row) { return row ^ ((term / 4 & 3) << 3); }

  // Four elements of one operand, of adjacent rows (kKContiguous: adjacent terms).
  template <bool kKContiguous, bool kVector>
  static __device__ void fetch(float (&values)[4], const float* from, int64_t ld, int first, int rows, int k0, int k,
                               int half = 0) {
    const int line = kKContiguous ? threadIdx.x / 4 : threadIdx.x / 16;
    const int quad = (kKContiguous ? threadIdx.x % 4 : threadIdx.x % 16) * 4;
    const int row = tile_column(first + (kKContiguous ? line : quad), half), term = k0 + (kKContiguous ? quad : line);
    const int64_t at = kKContiguous ? row * ld + term : term * ld + row;
    const int inside = kKContiguous ? (row < rows ? k - term : 0) : (term < k ? rows - row : 0);
    if (kVector && inside >= 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + at);
      values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
      return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) values[j] = j < inside ? from[at + j] : 0.f;
  }

  template <bool kKContiguous>
  static __device__ void keep(Stage& stage, const float (&values)[4]) {
    if constexpr (kKContiguous) {
      const int row = threadIdx.x / 4, term = threadIdx.x % 4 * 4;
#pragma unroll
      for (int j = 0; j < 4; ++j) stage[term + j][place(term, row)] = values[j];
    } else {
      const int term = threadIdx.x / 16, row = threadIdx.x % 16 * 4;
      *reinterpret_cast<float4*>(&stage[term][place(term, row)]) =
          make_float4(values[0], values[1], values[2], values[3]);
    }
  }
};

// The row sums of A, which is not k-contiguous, from the values that a thread reads: kParts times F32Tile::fetch.
template <int kParts>
class FetchedRowSums {
 public:
  __device__ void add(const float (&values)[kParts][4]) {
#pragma unroll
    for (int part = 0; part < kParts; ++part)
#pragma unroll
      for (int j = 0; j < 4; ++j) sums_[part][j] += values[part][j];
  }

  __device__ void store(const Product& p, int batch, int row0, float* shared) const {
    static_assert(F32Tile::kDepth == kSumLines, "a line is a term of the stage");
    store_row_sums<float, kParts * F32Tile::kSize, F32Tile::kSize>(p, batch, row0, shared, sums_, threadIdx.x % 16 * 4);
  }

 private:
  float sums_[kParts][4] = {};
};

// kGroup: computes p.group inner batches in turn, whose columns interleave.
template <bool kAK, bool kBK, bool kVector, bool kGroup>
__global__ void __launch_bounds__(F32Tile::kThreads, 3) gemm_f32(const __grid_constant__ Product p) {
  using Tile = F32Tile;
  using Kept = Tile::Kept;
  __shared__ __align__(16) float staged[Tile::kStaticBytes / sizeof(float)];
  auto* a_stages = reinterpret_cast<Tile::Stage*>(staged);
  auto* b_stages = a_stages + 2;
  const auto [batch, row0, column0] = place_of<Tile::kSize>(p);
  const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;

  const int half = kAK && kBK ? p.half() : 0;
  const Terms<float, Tile::kDepth, kGroup> terms(p, batch);
  int begin, end;
  split_range(p, terms.count(), begin, end);
  const int group = kGroup ? p.group : 1, all = kGroup ? end * group : end;
  float a_next[1][4], b_next[4];
  const auto fetch = [&](int t) {
    const Term<float> term = terms(t);
    Tile::fetch<kAK, kVector>(a_next[0], term.a, term.lda, row0, p.m, term.k0, term.k);
    Tile::fetch<kBK, kVector>(b_next, term.b, term.ldb, column0, p.n, term.k0, term.k, half);
  };

  float sums[4][4] = {};
  const bool sums_rows = !kAK && !kBK && makes_row_sums(p, batch, column0);
  FetchedRowSums<1> row_sums;
  const auto scale = [&](float factor) {
#pragma unroll
    for (auto& each : sums)
#pragma unroll
      for (float& value : each) value *= factor;
  };
  const int first = p.nfactors > 1 ? Terms<float, Tile::kDepth, kGroup>::tiles_of(p.factors[0]) : -1;

  if (begin < end) fetch(begin);
  const auto sum = [&](int from, int to) {
    for (int t = from; t < to; ++t) {
      Tile::Stage &a = a_stages[t & 1], &b = b_stages[t & 1];
      Tile::keep<kAK>(a, a_next[0]);
      Tile::keep<kBK>(b, b_next);
      if (sums_rows) row_sums.add(a_next);
      __syncthreads();
      if (t + 1 < all) fetch(t + 1);
      if (t - from == first) scale(p.factors[0].scale / p.factors[1].scale);
#pragma unroll
      for (int term = 0; term < Tile::kDepth; ++term) {
        const float4 left = *reinterpret_cast<const float4*>(&a[term][Tile::place(term, row)]);
        const float4 right = *reinterpret_cast<const float4*>(&b[term][Tile::place(term, column)]);
        const float x[4] = {left.x, left.y, left.z, left.w}, y[4] = {right.x, right.y, right.z, right.w};
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j) sums[i][j] += x[i] * y[j];
      }
    }
    scale(p.factors[p.nfactors - 1].scale);
  };

  if constexpr (kGroup) {
    extern __shared__ __align__(16) unsigned char more[];
    const int outer = batch / p.batches[1];
    const Kept kept{reinterpret_cast<float*>(more), staged, group};
    for (int l = 0; l < group; ++l) {
      sum(l * end, (l + 1) * end);
      if (l + 1 == group) __syncthreads();
      float bias[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) bias[j] = bias_of<float>(p, outer, l, tile_column(column0 + column + j, half));
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        Run<float, 4> run;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          run.values[j] = kept_value<float>(p, sums[i][j] + bias[j]);
          sums[i][j] = 0;
        }
        *reinterpret_cast<Run<float, 4>*>(kept.of(l) + (row + i) * Kept::kRow + column) = run;
      }
    }
    __syncthreads();
    store_kept<float, kBK>(p, outer, kept, row0, column0);
    return;
  }

  sum(begin, end);
  if (sums_rows) row_sums.store(p, batch, row0, staged);
  if (half == 0 && stores_runs(p)) {
#pragma unroll
    for (int i = 0; i < 4; ++i) store_run<float, kAK && !kBK>(p, batch, row0 + row + i, column0 + column, sums[i]);
    return;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; ++i)
    *reinterpret_cast<float4*>(staged + (row + i) * Tile::kSize + column) =
        make_float4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]);
  __syncthreads();
  store_tile<float, kAK, kBK, Tile::kSize>(p, batch, staged, Tile::kSize, row0, column0);
}

}  // namespace sffn::cuda
