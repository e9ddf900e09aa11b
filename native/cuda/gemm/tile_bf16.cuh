// C tiles by tensor cores: bf16 operands, f32 sums. Asynchronous copies load the operands into a ring of stages in
// shared memory. A stage holds 64 terms. Its rows are 128 bytes (k contiguous) or the tile's width, in chunks of 16
// bytes. The low bits of the row permute the chunks, so that neither the copies nor the matrix loads hit a bank twice.
#pragma once

#include "../ptx.cuh"
#include "interleave.cuh"
#include "row_sums.cuh"
#include "terms.cuh"

namespace sffn::cuda {

// kSize: rows of the tile. A stage has room for equally many columns. kWarpRows: warps below each other.
template <int kSize, int kColumns = kSize, int kWarpRows = 2>
struct Bf16Tile {
  static constexpr bool kAsync = false;  // whether multiply() only begins to multiply
  static constexpr int kDepth = 64;
  static constexpr int kStages = 3;
  static constexpr int kWidth = kColumns;
  static constexpr int kChunk = 8;  // elements of 16 bytes
  static constexpr int kWarpsM = kWarpRows, kWarpsN = (kSize == 128 ? 8 : 4) / kWarpsM;
  static constexpr int kThreads = kWarpsM * kWarpsN * kWarp;
  static constexpr int kWarpM = kSize / kWarpsM, kWarpN = kColumns / kWarpsN;
  static constexpr int kFragmentsM = kWarpM / 16, kFragmentsN = kWarpN / 8;
  static constexpr int kOperandBytes = kSize * kDepth * 2;
  static constexpr int kStageBytes = 2 * kOperandBytes;
  static constexpr int kStagedRow = kSize + 8;  // floats; 8 more keep the accumulators' stores apart
  static constexpr int kSharedBytes = std::max(kStages * kStageBytes, kSize* kStagedRow * 4);

  // A thread has sums in the rows row_of(i), i < kRowsEach: of the columns column_of(j) and the next one, for j <
  // kFragmentsN.
  using Sums = float[kFragmentsM][kFragmentsN][4];
  static constexpr int kRowsEach = 2 * kFragmentsM;

  static __device__ int lane() { return threadIdx.x % kWarp; }
  static __device__ int warp_m() { return threadIdx.x / kWarp / kWarpsN; }
  static __device__ int warp_n() { return threadIdx.x / kWarp % kWarpsN; }
  static __device__ int row_of(int i) { return warp_m() * kWarpM + i * 8 + lane() / 4; }
  static __device__ int column_of(int j) { return warp_n() * kWarpN + j * 8 + lane() % 4 * 2; }
  static __device__ float& sum_of(Sums& sums, int i, int j, int e) { return sums[i / 2][j][i % 2 * 2 + e]; }

  static __device__ void scale(Sums& sums, float factor) {
#pragma unroll
    for (auto& row : sums)
#pragma unroll
      for (auto& fragment : row)
#pragma unroll
        for (float& value : fragment) value *= factor;
  }

  // Byte of chunk `chunk` of row `row` of an operand with kSpan rows.
  template <bool kKContiguous, int kSpan = kSize>
  static __host__ __device__ uint32_t place(int row, int chunk) {
    constexpr int kRowBytes = kKContiguous ? kDepth * 2 : kSpan * 2;
    return static_cast<uint32_t>(row * kRowBytes + ((chunk ^ (row & 7)) << 4));
  }

  // The same of chunk `chunk` of a term of A, which is not k-contiguous.
  static __device__ uint32_t place_in_term(int term, int chunk) { return place<false>(term, chunk); }

  // Loads one operand of one stage: rows of the tiles from `first` on, out of `rows`, and the terms from k0 on. A
  // thread copies the same chunk of every kLines-th line (a row or a term), so that it computes the chunk's length and
  // its place in a line once. With wgmma, these instructions are most of a warp's work.
  template <bool kKContiguous, bool kVector, int kSpan = kSize>
  static __device__ void load(uint32_t to, const bf16* from, int64_t ld, int first, int rows, int k0, int k,
                              int half = 0) {
    constexpr int kPerLine = (kKContiguous ? kDepth : kSpan) / kChunk, kLines = kThreads / kPerLine;
    static_assert(kThreads % kPerLine == 0 && kLines % 8 == 0, "the lines of a thread exchange their chunks alike");
    const int line = threadIdx.x / kPerLine, chunk = threadIdx.x % kPerLine;
    const int along = (kKContiguous ? k0 : first) + chunk * kChunk;
    const int left = max(0, min(kChunk, (kKContiguous ? k : rows) - along));
    to += place<kKContiguous, kSpan>(line, chunk);
// Unrolled, single elements would take so many registers that a multiprocessor would hold one block of threads less.
#pragma unroll(kVector ? kDepth : 1)
    for (int i = 0; i < (kKContiguous ? kSpan : kDepth) / kLines; ++i) {
      const int across = kKContiguous ? tile_column(first + line + i * kLines, half) : k0 + line + i * kLines;
      const int count = across < (kKContiguous ? rows : k) ? left : 0;
      const bf16* source = from + across * ld + along;
      const uint32_t place_of = to + i * kLines * kPerLine * kChunk * 2;
      if constexpr (kVector) {
        copy_async(place_of, source, count * 2);
      } else {
        alignas(16) bf16 values[kChunk];
#pragma unroll
        for (int j = 0; j < kChunk; ++j) values[j] = j < count ? source[j] : __float2bfloat16_rn(0.f);
        *static_cast<uint4*>(__cvta_shared_to_generic(place_of)) = *reinterpret_cast<const uint4*>(values);
      }
    }
  }

  template <bool kKContiguous>
  static __device__ void load_right(uint32_t to, const bf16* from, int64_t ld, int first, int rows, int k0, int k,
                                    int half = 0) {
    load<kKContiguous, true, kColumns>(to, from, ld, first, rows, k0, k, half);
  }

  template <bool kAK, bool kBK>
  static __device__ void multiply(Sums& sums, uint32_t a_stage, uint32_t b_stage) {
    const int matrix = lane() / 8, line = lane() % 8;
#pragma unroll
    for (int step = 0; step < kDepth / 16; ++step) {
      uint32_t a[kFragmentsM][4], b[kFragmentsN / 2][4];
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i) {
        const int row = warp_m() * kWarpM + i * 16;
        if constexpr (kAK)
          load_matrices<false>(a[i], a_stage + place<true>(row + matrix % 2 * 8 + line, step * 2 + matrix / 2));
        else
          load_matrices<true>(a[i], a_stage + place<false>(step * 16 + matrix / 2 * 8 + line, row / 8 + matrix % 2));
      }
#pragma unroll
      for (int j = 0; j < kFragmentsN / 2; ++j) {
        const int row = warp_n() * kWarpN + j * 16;
        if constexpr (kBK)
          load_matrices<false>(b[j], b_stage + place<true>(row + matrix / 2 * 8 + line, step * 2 + matrix % 2));
        else
          load_matrices<true>(
              b[j], b_stage + place<false, kColumns>(step * 16 + matrix % 2 * 8 + line, row / 8 + matrix / 2));
      }
#pragma unroll
      for (int i = 0; i < kFragmentsM; ++i)
#pragma unroll
        for (int j = 0; j < kFragmentsN; ++j)
          multiply_accumulate(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
    }
  }
};

// body(row, j, sum, next sum) for all of a thread's sums in a tile of tensor cores: rows Tile::row_of(i), columns
// Tile::column_of(j) and the next one.
template <class Tile, class Body>
__device__ void each_pair(typename Tile::Sums& sums, Body&& body) {
#pragma unroll
  for (int i = 0; i < Tile::kRowsEach; ++i)
#pragma unroll
    for (int j = 0; j < Tile::kFragmentsN; ++j)
      body(Tile::row_of(i), j, Tile::sum_of(sums, i, j, 0), Tile::sum_of(sums, i, j, 1));
}

// The row sums of A, which is not k-contiguous, from its stages. A thread sums the rows of one chunk.
template <class Tile>
class StagedRowSums {
 public:
  __device__ void add(uint32_t a_stage) {
#pragma unroll
    for (int i = 0; i < Tile::kDepth / kSumLines; ++i) {
      const uint32_t at = a_stage + Tile::place_in_term(threadIdx.x / kChunks + i * kSumLines, chunk());
      float values[Tile::kChunk];
      load_pack<Tile::kChunk>(static_cast<const bf16*>(__cvta_shared_to_generic(at)), values);
#pragma unroll
      for (int j = 0; j < Tile::kChunk; ++j) sums_[j / 4][j % 4] += values[j];
    }
  }

  __device__ void store(const Product& p, int batch, int row0, float* shared) const {
    store_row_sums<bf16, kChunks * Tile::kChunk, 4>(p, batch, row0, shared, sums_, chunk() * Tile::kChunk);
  }

 private:
  static constexpr int kChunks = Tile::kThreads / kSumLines;  // of a term
  static __device__ int chunk() { return threadIdx.x % kChunks; }

  float sums_[Tile::kChunk / 4][4] = {};
};

// One stage: multiply() reads the next stage that is loaded; refill() starts to load the one before it.
template <class Tile, class Multiply, class Refill>
__device__ void pass_stage(Multiply&& multiply, Refill&& refill) {
  wait_copies<Tile::kStages - 2>();
  if constexpr (!Tile::kAsync) {
    __syncthreads();
    refill();
    multiply();
  } else {
    fence_async_proxy();
    __syncthreads();
    multiply();
    // Meanwhile the stage before it is free, once all warps are done with it.
    wait_products<1>();
    __syncthreads();
    refill();
  }
}

// kGroup: computes p.group inner batches in turn, whose columns interleave.
template <int kSize, bool kAK, bool kBK, bool kVector, bool kGroup>
__global__ void __launch_bounds__(Bf16Tile<kSize>::kThreads, kSize == 64 && !kGroup ? 3 : 1)
    gemm_bf16(const __grid_constant__ Product p) {
  using Tile = Bf16Tile<kSize>;
  using Kept = KeptTile<bf16, kSize>;
  extern __shared__ __align__(128) unsigned char shared[];
  const auto [batch, row0, column0] = place_of<kSize>(p);

  const int half = kAK && kBK ? p.half() : 0;
  const Terms<bf16, Tile::kDepth, kGroup> terms(p, batch);
  int begin, end;
  split_range(p, terms.count(), begin, end);
  const int group = kGroup ? p.group : 1, all = kGroup ? end * group : end;
  const auto stage = [&](int t) { return shared_address(shared) + (t - begin) % Tile::kStages * Tile::kStageBytes; };
  const auto load = [&](int t) {
    if (t < all) {
      const Term<bf16> term = terms(t);
      Tile::template load<kAK, kVector>(stage(t), term.a, term.lda, row0, p.m, term.k0, term.k);
      Tile::template load<kBK, kVector>(stage(t) + Tile::kOperandBytes, term.b, term.ldb, column0, p.n, term.k0, term.k,
                                        half);
    }
    commit_copies();
  };

  typename Tile::Sums sums = {};
  const bool sums_rows = !kAK && !kBK && makes_row_sums(p, batch, column0);
  StagedRowSums<Tile> row_sums;
  const int first = p.nfactors > 1 ? Terms<bf16, Tile::kDepth, kGroup>::tiles_of(p.factors[0]) : -1;

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(begin + s);
  const auto sum = [&](int from, int to) {
    for (int t = from; t < to; ++t) {
      const auto multiply = [&] {
        if (t - from == first) Tile::scale(sums, p.factors[0].scale / p.factors[1].scale);
        Tile::template multiply<kAK, kBK>(sums, stage(t), stage(t) + Tile::kOperandBytes);
        if (sums_rows) row_sums.add(stage(t));
      };
      pass_stage<Tile>(multiply, [&] { load(t + Tile::kStages - 1); });
    }
    Tile::scale(sums, p.factors[p.nfactors - 1].scale);
  };
  if constexpr (kGroup) {
    const int outer = batch / p.batches[1];
    const Kept kept{reinterpret_cast<bf16*>(shared + Tile::kSharedBytes), reinterpret_cast<bf16*>(shared), group};
    for (int l = 0; l < group; ++l) {
      sum(l * end, (l + 1) * end);
      if (l + 1 == group) {
        wait_copies<0>();
        __syncthreads();
      }
      float bias[Tile::kFragmentsN][2];
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsN; ++j)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          bias[j][i] = bias_of<bf16>(p, outer, l, tile_column(column0 + Tile::column_of(j) + i, half));
      each_pair<Tile>(sums, [&](int row, int j, float& x, float& y) {
        *reinterpret_cast<Run<bf16, 2>*>(kept.of(l) + row * Kept::kRow + Tile::column_of(j)) = {
            kept_value<bf16>(p, x + bias[j][0]), kept_value<bf16>(p, y + bias[j][1])};
        x = y = 0;
      });
    }
    __syncthreads();
    store_kept<bf16, kBK>(p, outer, kept, row0, column0);
    return;
  }

  sum(begin, end);
  wait_copies<0>();
  __syncthreads();
  float* staged = reinterpret_cast<float*>(shared);
  if (sums_rows) row_sums.store(p, batch, row0, staged);
  // Through shared memory, so that each row is stored in whole sectors.
  each_pair<Tile>(sums, [&](int row, int j, float x, float y) {
    *reinterpret_cast<float2*>(staged + row * Tile::kStagedRow + Tile::column_of(j)) = make_float2(x, y);
  });
  __syncthreads();
  store_tile<bf16, kAK, kBK, kSize>(p, batch, staged, Tile::kStagedRow, row0, column0);
}

}  // namespace sffn::cuda
