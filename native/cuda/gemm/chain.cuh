// Two products in one launch: a block of threads computes one block b of the first one's C for its 128 rows,
//
//   Z_b = scale · [A_0·V_0ᵀ, A_1·V_1ᵀ, ...],  group g's columns in their places,
//
// keeps it in shared memory as bf16, and multiplies it there: C_b = act(scale · Z_b·U_bᵀ + bias) + added, or backward
// through an activation. Z is written once, where it is wanted, and never read. This is LowRank with one block and one
// group, and BlockShuffle with a group for each block of the other factor, so that the shuffle is the groups' places.
// Only where operands and results can be read and written 16 bytes at a time.
#pragma once

#include "tile_bf16.cuh"

namespace sffn::cuda {

struct ChainTile : Bf16Tile<128> {
  static constexpr int kSize = 128;
  static constexpr int kRingBytes = kStages * kStageBytes;
  static_assert(kFragmentsN == 4 && kWarpN == 2 * kGates, "the lanes of a row exchange as many pairs as they are");

  static __host__ __device__ int64_t padded(int64_t columns) { return (columns + kDepth - 1) / kDepth * kDepth; }
  // Z lies as the left operand does in the stages: blocks of 64 columns.
  static __host__ __device__ int64_t bytes(int64_t columns) {
    return kRingBytes + padded(columns) / kDepth * kOperandBytes;
  }
  static __host__ __device__ uint32_t place_of_z(int row, int column) {
    return column / kDepth * kOperandBytes + place<true>(row, column % kDepth / kChunk) + column % kChunk * 2;
  }
};

// Lane q of the kLanes that share a row has the columns 8j + 2q and 8j + 2q + 1 for j = 0 .. kLanes - 1, in this order;
// afterwards it has the 2·kLanes columns that follow 8q, or those of two lanes: 8·(q mod 2) + 4·(q / 2).
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

// first.c: Z, or null. kBK: of both right operands, and whether this is forward. kWidth: columns of a tile of Z.
template <bool kBK, int kWidth>
__global__ void __launch_bounds__(ChainTile::kThreads, 1)
    gemm_chain(const __grid_constant__ Product first, const __grid_constant__ Product second) {
  using Tile = ChainTile;
  using FirstTile = Bf16Tile<Tile::kSize, kWidth>;
  extern __shared__ __align__(128) unsigned char shared[];
  unsigned char* const z = shared + Tile::kRingBytes;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int warp_m = warp / Tile::kWarpsN, warp_n = warp % Tile::kWarpsN;
  // The blocks of the same rows follow each other: they may read the same A.
  const int block = blockIdx.x % second.batches[0], row0 = blockIdx.x / second.batches[0] * Tile::kSize;

  const Factor &left = first.factors[0], &right = second.factors[0];
  const auto tiles_of = [](int n, int size) { return (n + size - 1) / size; };
  const int steps1 = tiles_of(left.k, Tile::kDepth), steps2 = tiles_of(right.k, Tile::kDepth);
  const int tiles1 = tiles_of(first.n, kWidth), tiles2 = tiles_of(second.tile_columns(), Tile::kSize);
  const int half = kBK ? second.half() : 0;
  const int all1 = first.batches[0] * tiles1, all2 = second.batches[1] * tiles2;
  const int begin2 = all1 * steps1, all = begin2 + all2 * steps2;
  const auto stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kStageBytes; };
  const auto load = [&](int t) {
    if (t < begin2) {
      const int tile = t / steps1, k0 = t % steps1 * Tile::kDepth, group = tile / tiles1;
      Tile::template load<true, true>(
          stage(t), static_cast<const bf16*>(left.a) + group * left.a_batch[0] + block * left.a_batch[1], left.lda,
          row0, first.m, k0, left.k);
      Tile::template load<kBK, true, kWidth>(
          stage(t) + Tile::kOperandBytes,
          static_cast<const bf16*>(left.b) + group * left.b_batch[0] + block * left.b_batch[1], left.ldb,
          tile % tiles1 * kWidth, first.n, k0, left.k);
    } else if (t < all) {
      const int tile = (t - begin2) / steps2, k0 = (t - begin2) % steps2 * Tile::kDepth, run = tile / tiles2;
      Tile::template load<kBK, true>(
          stage(t) + Tile::kOperandBytes,
          static_cast<const bf16*>(right.b) + block * right.b_batch[0] + run * right.b_batch[1], right.ldb,
          tile % tiles2 * Tile::kSize, second.n, k0, right.k, half);
    }
    commit_copies();
  };

  int t = 0;
  // The next tile, over `steps` steps, of which a(s) is the left operand's address.
  const auto sum = [&]<class T>(T, typename T::Sums& sums, int steps, float scale, auto&& a) {
    for (int s = 0; s < steps; ++s, ++t) {
      wait_copies<Tile::kStages - 2>();
      __syncthreads();
      load(t + Tile::kStages - 1);
      T::template multiply<true, kBK>(sums, a(s), stage(t) + Tile::kOperandBytes, warp_m, warp_n);
    }
#pragma unroll
    for (auto& row : sums)
#pragma unroll
      for (auto& fragment : row)
#pragma unroll
        for (float& value : fragment) value *= scale;
  };
  const auto row_of = [&](int i) { return warp_m * Tile::kWarpM + i * 8 + lane / 4; };

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(s);
  // Terms that there are not are zeros on both sides.
  const int padding = static_cast<int>(Tile::padded(right.k)) - right.k;
  for (int i = threadIdx.x; i < padding * Tile::kSize; i += Tile::kThreads)
    *reinterpret_cast<bf16*>(z + Tile::place_of_z(i / padding, right.k + i % padding)) = from_float<bf16>(0.f);

  for (int tile = 0; tile < all1; ++tile) {
    typename FirstTile::Sums sums = {};
    sum(FirstTile{}, sums, steps1, left.scale, [&](int) { return stage(t); });
    const int group = tile / tiles1, columns = tile % tiles1 * kWidth + warp_n * FirstTile::kWarpN;
    const int place = group * static_cast<int>(first.c_batch[0]), first_column = static_cast<int>(first.c_column);
#pragma unroll
    for (int i = 0; i < 2 * Tile::kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < FirstTile::kFragmentsN; ++j) {
        const int column = columns + j * 8 + lane % 4 * 2;
        const Run<bf16, 2> pair = {from_float<bf16>(sums[i / 2][j][i % 2 * 2]),
                                   from_float<bf16>(sums[i / 2][j][i % 2 * 2 + 1])};
        if (first.c_column == 1) {
          if (column < first.n)
            *reinterpret_cast<Run<bf16, 2>*>(z + Tile::place_of_z(row_of(i), place + column)) = pair;
          continue;
        }
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (column + e < first.n)
            *reinterpret_cast<bf16*>(z + Tile::place_of_z(row_of(i), place + (column + e) * first_column)) =
                pair.values[e];
      }
  }

  if (first.c) {
    __syncthreads();
    bf16* to = static_cast<bf16*>(first.c) + row0 * first.ldc + block * first.c_batch[1];
    const int rows = min(Tile::kSize, first.m - row0), chunks = right.k / Tile::kChunk;
    for (int i = threadIdx.x; i < rows * chunks; i += Tile::kThreads) {
      const int row = i / chunks, column = i % chunks * Tile::kChunk;
      *reinterpret_cast<uint4*>(to + row * first.ldc + column) =
          *reinterpret_cast<const uint4*>(z + Tile::place_of_z(row, column));
    }
  }

  for (int tile = 0; tile < all2; ++tile) {
    typename Tile::Sums sums = {};
    sum(Tile{}, sums, steps2, right.scale, [&](int s) { return shared_address(z) + s * Tile::kOperandBytes; });
    const int batch = block * second.batches[1] + tile / tiles2;
    const int columns = tile % tiles2 * Tile::kSize + warp_n * Tile::kWarpN;
#pragma unroll
    for (int i = 0; i < 2 * Tile::kFragmentsM; ++i) {
      const auto values_of = [&]<int kCount>(float(&values)[kCount], int first_fragment) {
#pragma unroll
        for (int e = 0; e < kCount; ++e) values[e] = sums[i / 2][first_fragment + e / 2][i % 2 * 2 + e % 2];
      };
      if constexpr (kBK)
        if (half > 0) {
          float gates[4], ups[4];
          values_of(gates, 0);
          values_of(ups, 2);
          exchange_pairs<2>(gates);
          exchange_pairs<2>(ups);
          const int gate = columns / 2 + lane % 2 * 8 + lane % 4 / 2 * 4;
          store_gated<bf16>(second, batch, row0 + row_of(i), gate, gates, ups);
          continue;
        }
      float values[8];
      values_of(values, 0);
      exchange_pairs<4>(values);
      store_run<bf16, !kBK>(second, batch, row0 + row_of(i), columns + lane % 4 * 8, values);
    }
  }
  wait_copies<0>();
}

}  // namespace sffn::cuda
