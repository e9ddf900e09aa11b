// The work of launches of products and of chains of products, for the model of their time.
#pragma once

#include "chain_interleaved.cuh"
#include "costs.cuh"

namespace sffn::cuda {

inline double stores(double bytes, const Costs& costs) { return bytes / 128 * costs.store; }

// A tile of a kernel. step: the cost of a step.
struct TileShape {
  int size, depth;
  double step;
  int element;  // bytes
};

inline int64_t steps_of(const Product& p, int depth) {
  int64_t steps = 0;
  for (int f = 0; f < p.nfactors; ++f) steps += p.factors[f].segments * ceil_div(p.factors[f].k, depth);
  return steps;
}

inline int64_t blocks_of(const Product& p, const TileShape& tile, int group) {
  const int64_t tiles = ceil_div(p.m, tile.size) * ceil_div(p.tile_columns(), tile.size);
  return tiles * p.batches[0] * p.batches[1] / group;
}

// Blocks of threads compute `group` inner batches in turn, and `splits` blocks share a tile. Of interleaved columns, a
// single batch fills each sector with one element.
inline Work work_of(const Product& p, const TileShape& tile, int group, int splits, int resident, const Costs& costs) {
  constexpr int kSector = 32;
  const auto spread = static_cast<double>(group > 1 ? 1 : std::min<int64_t>(p.c_column, kSector / tile.element));
  const auto steps = static_cast<double>(ceil_div(steps_of(p, tile.depth), splits));
  const double stored = stores(double(tile.size) * tile.size * tile.element * spread, costs);
  return {blocks_of(p, tile, group) * splits, resident, group * steps, group * (steps * tile.step + stored)};
}

// Bytes of a row of the results of both products: C, and Z if it is stored.
inline double row_bytes(const Product& first, double hidden, double results) {
  return (results + (first.c ? hidden : 0)) * sizeof(bf16);
}

// step: of a tile of 128 x 128 and 64 terms. width: columns of a tile of Z.
inline Work chain_work(const Product& first, const Product& second, int width, double step, int resident,
                       const Costs& costs) {
  using Sizes = ChainSizes;
  const auto tiles1 = static_cast<double>(first.batches[0] * ceil_div(first.n, width));
  const auto tiles2 = static_cast<double>(second.batches[1] * ceil_div(second.tile_columns(), Sizes::kSize));
  const double steps1 = tiles1 * static_cast<double>(steps_of(first, Sizes::kDepth));
  const double steps2 = tiles2 * static_cast<double>(steps_of(second, Sizes::kDepth));
  const double row = row_bytes(first, second.factors[0].k, second.batches[1] * second.results());
  return {ceil_div(first.m, Sizes::kSize) * second.batches[0], resident, steps1 + steps2,
          (steps1 * width / Sizes::kSize + steps2) * step + stores(Sizes::kSize * row, costs)};
}

// Where the columns of the second product's kBlocks blocks interleave.
template <int kBlocks>
Work interleaved_chain_work(const Product& first, const Product& second, double step, int resident,
                            const Costs& costs) {
  using Sizes = InterleavedChainSizes<kBlocks>;
  const auto steps_of_all = [](const Product& p) {
    return static_cast<double>(ceil_div(p.tile_columns(), Sizes::kEach) * steps_of(p, Sizes::kDepth));
  };
  const double steps = first.batches[0] * steps_of_all(first) + steps_of_all(second);
  constexpr double kPart = double(Sizes::kRows) * Sizes::kColumns / (ChainSizes::kSize * ChainSizes::kSize);
  const double row = kBlocks * row_bytes(first, second.factors[0].k, second.results());
  return {ceil_div(first.m, Sizes::kRows), resident, steps, steps * kPart * step + stores(Sizes::kRows * row, costs)};
}

// Whether one launch for both products is better than launches that take this long.
inline bool prefers_chain(const Work& chain, double alone, const Costs& costs, int multiprocessors) {
  return chain.resident > 0 && time_of(chain, costs, multiprocessors) <= costs.chain_patience * alone;
}

}  // namespace sffn::cuda
