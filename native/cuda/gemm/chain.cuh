// Two products in one launch: a block of threads computes one block b of the first one's C for its 128 rows,
//
//   Z_b = scale · [A_0·V_0ᵀ, A_1·V_1ᵀ, ...],  group g's columns in their places,
//
// keeps it in shared memory as bf16, and multiplies it there: C_b = act(scale · Z_b·U_bᵀ + bias) + added, or backward
// through an activation. Z is written once, if the caller needs it, and never read. LowRank is one block and one group.
// BlockShuffle has a group for each block of the other factor, so that the places of the groups are the shuffle. Only
// where operands and results can be read and written 16 bytes at a time.
#pragma once

#include "tile_bf16.cuh"

namespace sffn::cuda {

// The hidden values of kRows rows in shared memory, laid out as a left operand in the stages: blocks of 64 columns.
// Several blocks of the second product follow each other, each padded to whole steps.
template <int kRows>
struct Hidden {
  using Tile = Bf16Tile<kRows>;
  static constexpr int kDepth = Tile::kDepth, kChunk = Tile::kChunk;

  static __host__ __device__ int64_t padded(int64_t columns) { return (columns + kDepth - 1) / kDepth * kDepth; }
  static __host__ __device__ int64_t bytes(int64_t columns, int64_t blocks = 1) {
    return blocks * padded(columns) / kDepth * Tile::kOperandBytes;
  }

  unsigned char* z;
  int columns;  // of a block

  __host__ __device__ int steps() const { return static_cast<int>(padded(columns)) / kDepth; }
  __host__ __device__ uint32_t place(int block, int row, int column) const {
    return (block * steps() + column / kDepth) * Tile::kOperandBytes +
           Tile::template place<true>(row, column % kDepth / kChunk) + column % kChunk * 2;
  }
  __device__ uint32_t of_step(int block, int step) const { return shared_address(z) + place(block, 0, step * kDepth); }
  template <class T>
  __device__ T* at(int block, int row, int column) const {
    return reinterpret_cast<T*>(z + place(block, row, column));
  }

  // Missing terms are zeros on both sides.
  __device__ void fill_up(int blocks) const {
    const int padding = steps() * kDepth - columns;
    for (int i = threadIdx.x; i < blocks * kRows * padding; i += blockDim.x)
      *at<bf16>(i / padding / kRows, i / padding % kRows, columns + i % padding) = from_float<bf16>(0.f);
  }

  // To C of the first product, from block `first` on.
  __device__ void store(const Product& p, int row0, int first, int blocks) const {
    const int rows = min(kRows, p.m - row0), chunks = columns / kChunk;
    bf16* to = static_cast<bf16*>(p.c) + row0 * p.ldc + first * p.c_batch[1];
    for (int i = threadIdx.x; i < rows * blocks * chunks; i += blockDim.x) {
      const int column = i % chunks * kChunk, block = i / chunks % blocks, row = i / chunks / blocks;
      *reinterpret_cast<uint4*>(to + row * p.ldc + block * p.c_batch[1] + column) =
          *at<const uint4>(block, row, column);
    }
  }
};

// Rows, and bytes of shared memory, of a block of threads.
struct ChainSizes : Bf16Tile<128> {
  static constexpr int kSize = 128;
  static constexpr int kRingBytes = kStages * kStageBytes;

  static int64_t bytes(int64_t columns) { return kRingBytes + Hidden<kSize>::bytes(columns); }
};

// Lane q of the kLanes that share a row has the columns 8j + 2q and 8j + 2q + 1 for j = 0 .. kLanes - 1, in this order.
// Afterwards it has the 2·kLanes columns from 8q on, or those of two lanes: 8·(q mod 2) + 4·(q / 2).
template <int kLanes>
__device__ inline void exchange_pairs(float (&values)[2 * kLanes]) {
#pragma unroll
  for (int bit = 1; bit < kLanes; bit *= 2) {
    const bool upper = (threadIdx.x & bit) != 0;
#pragma unroll
    for (int i = 0; i < 2 * kLanes; ++i) {
      if (i / 2 & bit) continue;
      float &low = values[i], &high = values[i + 2 * bit];
      const float other = __shfl_xor_sync(kAllLanes, upper ? low : high, bit);
      low = upper ? other : low;
      high = upper ? high : other;
    }
  }
}

// first.c: Z, or null. FirstTile, Tile: for Z and for C. kBK: of both right operands, and whether this is forward.
template <class FirstTile, class Tile, bool kBK>
__device__ void chain(const Product& first, const Product& second, unsigned char* shared) {
  constexpr int kSize = ChainSizes::kSize, kWidth = FirstTile::kWidth;
  static_assert(Tile::kWidth == kSize && Tile::kFragmentsN % 4 == 0, "lanes of a row exchange four pairs each");
  // The blocks of the same rows follow each other: they may read the same A.
  const int block = blockIdx.x % second.batches[0], row0 = blockIdx.x / second.batches[0] * kSize;

  const Factor &left = first.factors[0], &right = second.factors[0];
  const Hidden<kSize> hidden{shared + ChainSizes::kRingBytes, right.k};
  const auto tiles_of = [](int n, int size) { return (n + size - 1) / size; };
  const int steps1 = tiles_of(left.k, Tile::kDepth), steps2 = hidden.steps();
  const int tiles1 = tiles_of(first.n, kWidth), tiles2 = tiles_of(second.tile_columns(), kSize);
  const int half = kBK ? second.half() : 0;
  const int all1 = first.batches[0] * tiles1, all2 = second.batches[1] * tiles2;
  const int begin2 = all1 * steps1, all = begin2 + all2 * steps2;
  const auto stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kStageBytes; };
  const auto load = [&](int t) {
    if (t < begin2) {
      const int tile = t / steps1, k0 = t % steps1 * Tile::kDepth, group = tile / tiles1;
      ChainSizes::load<true, true>(stage(t),
                                   static_cast<const bf16*>(left.a) + group * left.a_batch[0] + block * left.a_batch[1],
                                   left.lda, row0, first.m, k0, left.k);
      FirstTile::template load_right<kBK>(
          stage(t) + Tile::kOperandBytes,
          static_cast<const bf16*>(left.b) + group * left.b_batch[0] + block * left.b_batch[1], left.ldb,
          tile % tiles1 * kWidth, first.n, k0, left.k);
    } else if (t < all) {
      const int tile = (t - begin2) / steps2, k0 = (t - begin2) % steps2 * Tile::kDepth, run = tile / tiles2;
      Tile::template load_right<kBK>(
          stage(t) + Tile::kOperandBytes,
          static_cast<const bf16*>(right.b) + block * right.b_batch[0] + run * right.b_batch[1], right.ldb,
          tile % tiles2 * kSize, second.n, k0, right.k, half);
    }
    commit_copies();
  };

  int t = 0;
  // The next tile, over `steps` steps; a(s) is the address of the left operand in step s.
  const auto sum = [&]<class T>(T, typename T::Sums& sums, int steps, float scale, auto&& a) {
    for (int s = 0; s < steps; ++s, ++t)
      pass_stage<T>([&] { T::template multiply<true, kBK>(sums, a(s), stage(t) + Tile::kOperandBytes); },
                    [&] { load(t + Tile::kStages - 1); });
    T::scale(sums, scale);
  };

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(s);
  hidden.fill_up(1);

  for (int tile = 0; tile < all1; ++tile) {
    typename FirstTile::Sums sums = {};
    sum(FirstTile{}, sums, steps1, left.scale, [&](int) { return stage(t); });
    const int group = tile / tiles1, place = group * static_cast<int>(first.c_batch[0]);
    const int column0 = tile % tiles1 * kWidth, step = static_cast<int>(first.c_column);
    each_pair<FirstTile>(sums, [&](int row, int j, float x, float y) {
      const int column = column0 + FirstTile::column_of(j);
      const Run<bf16, 2> pair = {from_float<bf16>(x), from_float<bf16>(y)};
      if (step == 1) {
        if (column < first.n) *hidden.at<Run<bf16, 2>>(0, row, place + column) = pair;
        return;
      }
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (column + e < first.n) *hidden.at<bf16>(0, row, place + (column + e) * step) = pair.values[e];
    });
  }

  if (first.c) {
    __syncthreads();
    hidden.store(first, row0, block, 1);
  }

  for (int tile = 0; tile < all2; ++tile) {
    typename Tile::Sums sums = {};
    sum(Tile{}, sums, steps2, right.scale, [&](int s) { return hidden.of_step(0, s); });
    const int batch = block * second.batches[1] + tile / tiles2, lane = threadIdx.x % 4;
#pragma unroll
    for (int i = 0; i < Tile::kRowsEach; ++i)
#pragma unroll
      for (int four = 0; four < Tile::kFragmentsN; four += 4) {
        const int row = row0 + Tile::row_of(i);
        const int columns = tile % tiles2 * kSize + Tile::column_of(four) - 2 * lane;
        const auto values_of = [&]<int kCount>(float(&values)[kCount], int fragment) {
#pragma unroll
          for (int e = 0; e < kCount; ++e) values[e] = Tile::sum_of(sums, i, four + fragment + e / 2, e % 2);
          exchange_pairs<kCount / 2>(values);
        };
        if constexpr (kBK)
          if (half > 0) {
            float gates[4], ups[4];
            values_of(gates, 0);
            values_of(ups, 2);
            store_gated<bf16>(second, batch, row, columns / 2 + lane % 2 * 8 + lane / 2 * 4, gates, ups);
            continue;
          }
        float values[8];
        values_of(values, 0);
        store_run<bf16, !kBK>(second, batch, row, columns + lane * 8, values);
      }
  }
  wait_copies<0>();
}

template <bool kBK, int kWidth>
__global__ void __launch_bounds__(ChainSizes::kThreads, 1)
    gemm_chain(const __grid_constant__ Product first, const __grid_constant__ Product second) {
  extern __shared__ __align__(128) unsigned char shared[];
  chain<Bf16Tile<128, kWidth>, Bf16Tile<128>, kBK>(first, second, shared);
}

}  // namespace sffn::cuda
