// Two products in one launch, as in chain.cuh, where the results of the second product's blocks interleave. A block of
// threads computes Z of all kBlocks blocks for its 64 rows. Then it computes the same columns of every block at a time,
// and stores them together. A tile is 128 columns wide, with equally many of each block side by side.
#pragma once

#include "chain.cuh"

namespace sffn::cuda {

template <int kBlockCount>
struct InterleavedChainSizes {
  static constexpr int kBlocks = kBlockCount, kRows = 64, kColumns = 128;
  static constexpr int kEach = kColumns / kBlocks;  // columns of a block
  using Stages = Bf16Tile<kRows>;
  using Held = Hidden<kRows>;
  using Kept = KeptTile<bf16, kRows, kEach>;
  using Sequence = Terms<bf16, Stages::kDepth, false>;
  static constexpr int kDepth = Stages::kDepth, kStages = Stages::kStages, kThreads = Stages::kThreads;
  static constexpr int kLeftBytes = Stages::kOperandBytes, kRightBytes = kColumns * kDepth * 2;
  // Results are kept where the left operand's stages were. The stages after them begin at a multiple of 1024 bytes.
  static constexpr int kKeptBytes = kBlocks * Kept::kStep * static_cast<int>(sizeof(bf16));
  static constexpr int kLeftRing = (std::max(kStages * kLeftBytes, kKeptBytes) + 1023) / 1024 * 1024;
  static constexpr int kRingBytes = kLeftRing + kStages * kRightBytes;

  static int64_t bytes(int64_t rank) { return kRingBytes + Held::bytes(rank, kBlocks); }
};

// Each warp has all rows and the columns of one block; with 8 blocks, half as many columns of two. Only the second
// product has different left operands for the blocks, and it reads shared memory as little as a large tile does.
template <int kBlocks>
struct InterleavedChainTile : InterleavedChainSizes<kBlocks> {
  using Sizes = InterleavedChainSizes<kBlocks>;
  static constexpr bool kAsync = false;
  static constexpr int kParts = kBlocks > 4 ? kBlocks / 4 : 1;  // of the tile; a warp has columns of each
  using Part = Bf16Tile<Sizes::kRows, Sizes::kColumns / kParts, 1>;
  static_assert(Sizes::kEach % Part::kWarpN == 0);

  using Sums = typename Part::Sums[kParts];
  static constexpr int kFragments = kParts * Part::kFragmentsN;

  // The first of a thread's pairs of columns of the tile.
  static __device__ int column_of(int j) {
    return j / Part::kFragmentsN * Part::kWidth + Part::column_of(j % Part::kFragmentsN);
  }
  static __device__ void scale(Sums& sums, float factor) {
#pragma unroll
    for (auto& part : sums) Part::scale(part, factor);
  }
  // body(row, j, sum, next sum).
  template <class Body>
  static __device__ void each_pair(Sums& sums, Body&& body) {
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      sffn::cuda::each_pair<Part>(
          sums[part], [&](int row, int j, float x, float y) { body(row, part * Part::kFragmentsN + j, x, y); });
  }
  // a(block): the left operand, which is the same for all blocks where kSame.
  template <bool kSame, class A>
  static __device__ void multiply(Sums& sums, A&& a, uint32_t b_stage) {
#pragma unroll
    for (int part = 0; part < kParts; ++part)
      Part::template multiply<true, true>(sums[part], a(column_of(part * Part::kFragmentsN) / Sizes::kEach),
                                          b_stage + part * (Sizes::kRightBytes / kParts));
  }
};

// first.c: Z, or null.
template <class Tile>
__device__ void chain_interleaved(const Product& first, const Product& second, unsigned char* shared) {
  constexpr int kBlocks = Tile::kBlocks;
  using Kept = typename Tile::Kept;
  const int row0 = blockIdx.x * Tile::kRows;

  const Factor &left = first.factors[0], &right = second.factors[0];
  const typename Tile::Held hidden{shared + Tile::kRingBytes, right.k};
  bf16* const tiles = reinterpret_cast<bf16*>(shared);
  const Kept kept{tiles, tiles + (kBlocks - 1) * Kept::kStep, kBlocks};
  const auto tiles_of = [](int n, int size) { return (n + size - 1) / size; };
  using Sequence = typename Tile::Sequence;
  const int steps1 = Sequence::tiles_of(left), steps2 = hidden.steps();
  const int tiles1 = tiles_of(first.n, Tile::kEach), all1 = first.batches[0] * tiles1;
  const int all2 = tiles_of(second.tile_columns(), Tile::kEach), half = second.half();
  const int begin2 = all1 * steps1, all = begin2 + all2 * steps2;
  const auto left_stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kLeftBytes; };
  const auto right_stage = [&](int t) {
    return shared_address(shared) + Tile::kLeftRing + t % Tile::kStages * Tile::kRightBytes;
  };
  const auto load_right = [&](int t, const Term<bf16>& term, int64_t step, int column, int n, int half) {
#pragma unroll
    for (int l = 0; l < kBlocks; ++l)
      Tile::Stages::template load<true, true, Tile::kEach>(right_stage(t) + l * Tile::kEach * Tile::kDepth * 2,
                                                           term.b + l * step, term.ldb, column, n, term.k0, term.k,
                                                           half);
  };
  const auto load = [&](int t) {
    if (t < begin2) {
      const int tile = t / steps1;
      const Term<bf16> term = Sequence(first, tile / tiles1 * kBlocks)(t % steps1);
      Tile::Stages::template load<true, true>(left_stage(t), term.a, term.lda, row0, first.m, term.k0, term.k);
      load_right(t, term, left.b_batch[1], tile % tiles1 * Tile::kEach, first.n, 0);
    } else if (t < all) {
      const Term<bf16> term = Sequence(second, 0)((t - begin2) % steps2);
      load_right(t, term, right.b_batch[1], (t - begin2) / steps2 * Tile::kEach, second.n, half);
    }
    commit_copies();
  };

  int t = 0;
  // The next tile, over `steps` steps; a(block, s) is the address of the left operand in step s.
  const auto sum = [&]<bool kSame>(std::bool_constant<kSame>, typename Tile::Sums& sums, int steps, float scale,
                                   auto&& a) {
    for (int s = 0; s < steps; ++s, ++t)
      pass_stage<Tile>(
          [&] {
            Tile::template multiply<kSame>(
                sums, [&](int block) { return a(block, s); }, right_stage(t));
          },
          [&] { load(t + Tile::kStages - 1); });
    Tile::scale(sums, scale);
  };

#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(s);
  hidden.fill_up(kBlocks);

  for (int tile = 0; tile < all1; ++tile) {
    const int column0 = tile % tiles1 * Tile::kEach, place = tile / tiles1 * static_cast<int>(first.c_batch[0]);
    typename Tile::Sums sums = {};
    sum(std::true_type{}, sums, steps1, left.scale, [&](int, int) { return left_stage(t); });
    Tile::each_pair(sums, [&](int row, int j, float x, float y) {
      const int block = Tile::column_of(j) / Tile::kEach, column = column0 + Tile::column_of(j) % Tile::kEach;
      if (column < first.n)
        *hidden.template at<Run<bf16, 2>>(block, row, place + column) = {from_float<bf16>(x), from_float<bf16>(y)};
    });
  }
  if (first.c) {
    __syncthreads();
    hidden.store(first, row0, 0, kBlocks);
  }

  for (int tile = 0; tile < all2; ++tile) {
    const int column0 = tile * Tile::kEach;
    typename Tile::Sums sums = {};
    sum(std::false_type{}, sums, steps2, right.scale, [&](int block, int s) { return hidden.of_step(block, s); });
    float bias[Tile::kFragments][2];
#pragma unroll
    for (int j = 0; j < Tile::kFragments; ++j)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = Tile::column_of(j) + i;
        bias[j][i] = bias_of<bf16>(second, 0, at / Tile::kEach, tile_column(column0 + at % Tile::kEach, half));
      }
    Tile::each_pair(sums, [&](int row, int j, float x, float y) {
      const int at = Tile::column_of(j);
      *reinterpret_cast<Run<bf16, 2>*>(kept.of(at / Tile::kEach) + row * Kept::kRow + at % Tile::kEach) = {
          kept_value<bf16>(second, x + bias[j][0]), kept_value<bf16>(second, y + bias[j][1])};
    });
    __syncthreads();
    store_kept<bf16, true>(second, 0, kept, row0, column0);
  }
  wait_copies<0>();
}

template <int kBlocks>
__global__ void __launch_bounds__(InterleavedChainSizes<kBlocks>::kThreads, 1)
    gemm_chain_interleaved(const __grid_constant__ Product first, const __grid_constant__ Product second) {
  extern __shared__ __align__(128) unsigned char shared[];
  chain_interleaved<InterleavedChainTile<kBlocks>>(first, second, shared);
}

}  // namespace sffn::cuda
