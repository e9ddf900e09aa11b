// Two products in one launch: Z = A·Vᵀ, of which a block of threads computes all columns of its 128 rows, stays in
// shared memory as bf16 and is the left operand of C = act(scale·Z·Uᵀ + bias). It is written once, where it is wanted,
// and never read. Only where operands and results can be read and written 16 bytes at a time.
#pragma once

#include "tile_bf16.cuh"

namespace sffn::cuda {

struct ChainTile : Bf16Tile<128> {
  static constexpr int kSize = 128;
  static constexpr int kRingBytes = kStages * kStageBytes;
  static_assert(kFragmentsN == 4, "the lanes of a row exchange as many pairs as they are");

  // Z lies as the left operand does in the stages: blocks of 64 columns.
  static constexpr int64_t bytes(int64_t columns) {
    return kRingBytes + (columns + kSize - 1) / kSize * kSize / kDepth * kOperandBytes;
  }
  static __device__ uint32_t place_of_z(int row, int column) {
    return column / kDepth * kOperandBytes + place<true>(row, column % kDepth / kChunk) + column % kChunk * 2;
  }
};

__device__ inline uint32_t packed(bf16 low, bf16 high) {
  return __bfloat16_as_ushort(low) | uint32_t{__bfloat16_as_ushort(high)} << 16;
}
__device__ inline bf16 unpacked(uint32_t pair, int which) {
  return __ushort_as_bfloat16(static_cast<unsigned short>(pair >> 16 * which));
}

// Lane q of the four that share a row has columns 8j + 2q, 8j + 2q + 1 for j = 0 .. 3; afterwards it has 8q .. 8q + 7.
__device__ inline void gather_run(uint32_t (&pairs)[4]) {
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int round = 0; round < 2; ++round)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int bit = 1 << round;
      if (j & bit) continue;
      uint32_t &low = pairs[j], &high = pairs[j | bit];
      const bool upper = (lane & bit) != 0;
      const uint32_t other = __shfl_xor_sync(kAllLanes, upper ? low : high, bit);
      low = upper ? other : low;
      high = upper ? high : other;
    }
}

// first.c: Z, or null. kBK: of both right operands.
template <bool kBK>
__global__ void __launch_bounds__(ChainTile::kThreads, 1)
    gemm_chain(const __grid_constant__ Product first, const __grid_constant__ Product second) {
  using Tile = ChainTile;
  extern __shared__ __align__(128) unsigned char shared[];
  unsigned char* const z = shared + Tile::kRingBytes;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int warp_m = warp / Tile::kWarpsN, warp_n = warp % Tile::kWarpsN;
  const int row0 = blockIdx.x * Tile::kSize;

  const Factor &left = first.factors[0], &right = second.factors[0];
  const auto tiles_of = [](int n, int size) { return (n + size - 1) / size; };
  const int steps1 = tiles_of(left.k, Tile::kDepth), steps2 = tiles_of(right.k, Tile::kDepth);
  const int tiles1 = tiles_of(first.n, Tile::kSize), tiles2 = tiles_of(second.n, Tile::kSize);
  const int begin2 = tiles1 * steps1, all = begin2 + tiles2 * steps2;
  const auto stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kStageBytes; };
  const auto load_right = [&](const Factor& f, int n, int t, int steps, uint32_t to) {
    Tile::template load<kBK, true>(to + Tile::kOperandBytes, static_cast<const bf16*>(f.b), f.ldb,
                                   t / steps * Tile::kSize, n, t % steps * Tile::kDepth, f.k);
  };
  const auto load = [&](int t) {
    if (t < begin2) {
      Tile::template load<true, true>(stage(t), static_cast<const bf16*>(left.a), left.lda, row0, first.m,
                                      t % steps1 * Tile::kDepth, left.k);
      load_right(left, first.n, t, steps1, stage(t));
    } else if (t < all) {
      load_right(right, second.n, t - begin2, steps2, stage(t));
    }
    commit_copies();
  };

  typename Tile::Sums sums;
  int t = 0;
  // The next tile, over `steps` steps, of which a(s) is the left operand's address.
  const auto sum = [&](int steps, float scale, auto&& a) {
#pragma unroll
    for (auto& row : sums)
#pragma unroll
      for (auto& fragment : row)
#pragma unroll
        for (float& value : fragment) value = 0;
    for (int s = 0; s < steps; ++s, ++t) {
      wait_copies<Tile::kStages - 2>();
      __syncthreads();
      load(t + Tile::kStages - 1);
      Tile::template multiply<true, kBK>(sums, a(s), stage(t) + Tile::kOperandBytes, warp_m, warp_n);
    }
#pragma unroll
    for (auto& row : sums)
#pragma unroll
      for (auto& fragment : row)
#pragma unroll
        for (float& value : fragment) value *= scale;
  };
  const auto row_of = [&](int i) { return warp_m * Tile::kWarpM + i * 8 + lane / 4; };
  const auto pair_of = [&](int i, int j) { return sums[i / 2][j] + i % 2 * 2; };

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(s);
  for (int tile = 0; tile < tiles1; ++tile) {
    sum(steps1, left.scale, [&](int) { return stage(t); });
#pragma unroll
    for (int i = 0; i < 2 * Tile::kFragmentsM; ++i)
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsN; ++j) {
        const int column = tile * Tile::kSize + warp_n * Tile::kWarpN + j * 8 + lane % 4 * 2;
        const float* pair = pair_of(i, j);
        *reinterpret_cast<Run<bf16, 2>*>(z + Tile::place_of_z(row_of(i), column)) = {from_float<bf16>(pair[0]),
                                                                                     from_float<bf16>(pair[1])};
      }
  }

  if (first.c) {
    __syncthreads();
    bf16* to = static_cast<bf16*>(first.c) + row0 * first.ldc;
    const int rows = min(Tile::kSize, first.m - row0), chunks = first.n / Tile::kChunk;
    for (int i = threadIdx.x; i < rows * chunks; i += Tile::kThreads) {
      const int row = i / chunks, column = i % chunks * Tile::kChunk;
      *reinterpret_cast<uint4*>(to + row * first.ldc + column) =
          *reinterpret_cast<const uint4*>(z + Tile::place_of_z(row, column));
    }
  }

  for (int tile = 0; tile < tiles2; ++tile) {
    sum(steps2, right.scale, [&](int s) { return shared_address(z) + s * Tile::kOperandBytes; });
    const int columns = tile * Tile::kSize + warp_n * Tile::kWarpN;
    float bias[Tile::kFragmentsN][2];
#pragma unroll
    for (int j = 0; j < Tile::kFragmentsN; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) bias[j][e] = bias_of<bf16>(second, 0, 0, columns + j * 8 + lane % 4 * 2 + e);
    const int column = columns + lane % 4 * Tile::kChunk;
#pragma unroll
    for (int i = 0; i < 2 * Tile::kFragmentsM; ++i) {
      uint32_t pairs[Tile::kFragmentsN];
#pragma unroll
      for (int j = 0; j < Tile::kFragmentsN; ++j) {
        const float* pair = pair_of(i, j);
        pairs[j] =
            packed(kept_value<bf16>(second, pair[0] + bias[j][0]), kept_value<bf16>(second, pair[1] + bias[j][1]));
      }
      gather_run(pairs);
      if (row0 + row_of(i) >= second.m || column >= second.n) continue;
      const int64_t at = (row0 + row_of(i)) * second.ldc + column;
      const auto store = [&](void* to) {
        *reinterpret_cast<uint4*>(static_cast<bf16*>(to) + at) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      };
      if (second.pre) {
        store(second.pre);
#pragma unroll
        for (uint32_t& pair : pairs)
          pair = packed(from_float<bf16>(activated(second.activation, to_float(unpacked(pair, 0)))),
                        from_float<bf16>(activated(second.activation, to_float(unpacked(pair, 1)))));
      }
      store(second.c);
    }
  }
  wait_copies<0>();
}

}  // namespace sffn::cuda
