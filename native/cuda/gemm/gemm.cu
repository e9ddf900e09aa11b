// Chooses the kernel of a product: the tile, how its operands lie, whether they can be read 16 bytes at a time, and
// into how many parts a long sum is split. The choice depends on sizes and addresses alone, so a repeated call repeats
// every bit.
#include <algorithm>
#include <utility>

#include "../../devices.h"
#include "chain_interleaved.cuh"
#include "kernels.cuh"
#include "tile_bf16.cuh"
#include "tile_f32.cuh"
#include "tile_tf32.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {
namespace {

constexpr int kMaxSplits = 32;
constexpr int kSplitDepth = 128;  // terms that a part of a split sum has at least

// size, depth: of the tile. shared: dynamic bytes. group: inner batches that a block of threads takes in turn.
struct Choice {
  ProductKernel* kernel;
  int size, depth;
  int64_t shared;
  int group = 1;
};

int64_t terms_of(const Product& p) {
  int64_t terms = 0;
  for (int f = 0; f < p.nfactors; ++f) terms += int64_t{p.factors[f].k} * p.factors[f].segments;
  return terms;
}

// A model of the time that a product with interleaved columns takes, in cycles, when blocks of threads compute `group`
// inner batches in turn. A step of `depth` terms takes `step` cycles of a multiprocessor: its multiply-adds, or what
// they read from shared memory at 128 bytes a cycle. Stores leave at 64 bytes a cycle, in sectors of 32 that single
// batches fill with one element each.
struct TileCost {
  int size, depth, step, element;

  int64_t cycles(const Product& p, int64_t group) const {
    constexpr int kLatency = 1500, kSector = 32, kStored = 64;
    const int64_t blocks = ceil_div(p.m, size) * ceil_div(p.tile_columns(), size) * p.batches[0] * p.batches[1] / group;
    const int64_t spread = group > 1 ? 1 : std::min<int64_t>(p.c_column, kSector / element);
    const int64_t tile = ceil_div(terms_of(p), depth) * step + int64_t{size} * size * element * spread / kStored;
    return ceil_div(blocks, multiprocessors()) * (kLatency + group * tile);
  }
};
template <int kSize>
constexpr TileCost kBf16Cost{kSize, Bf16Tile<kSize>::kDepth, kSize == 128 ? 1024 : 384, 2};
constexpr TileCost kWgmmaCost{WgmmaTile<>::kSize, WgmmaTile<>::kDepth, 640, 2};
template <int kSize>
constexpr TileCost kTf32Cost{kSize, Tf32Tile<kSize>::kDepth, kSize == 128 ? 512 : 192, 4};
constexpr TileCost kF32Cost{F32Tile::kSize, F32Tile::kDepth, 512, 4};
// How many times as long as single batches a group may take: what else a partly written sector costs (memory that
// corrects errors reads the rest of it) is not in the model.
constexpr int kGroupPatience = 2;

// Whether the columns of the inner batches interleave.
bool interleaves(const Product& p) { return p.batches[1] > 1 && p.c_column == p.batches[1] && p.c_batch[1] == 1; }

// Whether a block of threads may compute all inner batches of its tile in turn.
bool can_group(const Product& p, int64_t shared) {
  return interleaves(p) && !p.c_is_f32 && shared <= shared_memory_per_block();
}

template <int kSize>
int64_t consider_group(const Product& p, int64_t cycles, Choice& choice) {
  const int64_t shared = Bf16Tile<kSize>::kSharedBytes + KeptTile<bf16, kSize>::bytes(p.batches[1]);
  if (!can_group(p, shared) || kBf16Cost<kSize>.cycles(p, p.batches[1]) > cycles) return cycles;
  choice = {bf16_kernel<kSize>(p, true), kSize, Bf16Tile<kSize>::kDepth, shared, p.batches[1]};
  return kBf16Cost<kSize>.cycles(p, p.batches[1]);
}

template <int kSize>
Choice bf16_choice_of(const Product& p) {
  return {bf16_kernel<kSize>(p, false), kSize, Bf16Tile<kSize>::kDepth, Bf16Tile<kSize>::kSharedBytes};
}

Choice bf16_choice(const Product& p) {
  // The large tile reads half as much of each operand, where it is not mostly empty.
  const bool large = p.m > 64 && p.tile_columns() > 64;
  Choice choice = large ? bf16_choice_of<128>(p) : bf16_choice_of<64>(p);
  ProductKernel* const wgmma = large && p.vector_operands ? wgmma_kernel(p) : nullptr;
  if (wgmma) choice = {wgmma, WgmmaTile<>::kSize, WgmmaTile<>::kDepth, WgmmaTile<>::kSharedBytes};
  if (p.a_k_contiguous) {
    int64_t cycles = kGroupPatience * (wgmma ? kWgmmaCost : large ? kBf16Cost<128> : kBf16Cost<64>).cycles(p, 1);
    cycles = consider_group<64>(p, cycles, choice);
    if (large) consider_group<128>(p, cycles, choice);
  }
  return choice;
}

bool prefers_group(const Product& p, int64_t shared, const TileCost& group, const TileCost& single) {
  return p.a_k_contiguous && can_group(p, shared) &&
         group.cycles(p, p.batches[1]) <= kGroupPatience * single.cycles(p, 1);
}

Choice tf32_choice(const Product& p) {
  const bool large = p.m > 64 && p.tile_columns() > 64;
  using Small = Tf32Tile<64>;
  using Large = Tf32Tile<128>;
  const int64_t shared = Small::kSharedBytes + Small::Kept::bytes(p.batches[1]);
  if (prefers_group(p, shared, kTf32Cost<64>, large ? kTf32Cost<128> : kTf32Cost<64>))
    return {tf32_kernel(p, 64, true), 64, Small::kDepth, shared, p.batches[1]};
  if (large) return {tf32_kernel(p, 128, false), 128, Large::kDepth, Large::kSharedBytes};
  return {tf32_kernel(p, 64, false), 64, Small::kDepth, Small::kSharedBytes};
}

Choice f32_choice(const Product& p) {
  const int64_t shared = F32Tile::Kept::bytes(p.batches[1]);
  if (prefers_group(p, F32Tile::kStaticBytes + shared, kF32Cost, kF32Cost))
    return {f32_kernel(p, true), F32Tile::kSize, F32Tile::kDepth, shared, p.batches[1]};
  return {f32_kernel(p, false), F32Tile::kSize, F32Tile::kDepth, 0};
}

Choice choice_for(const Product& p, DType dtype) {
  if (dtype == DType::bf16) return bf16_choice(p);
  return cuda_tf32() ? tf32_choice(p) : f32_choice(p);
}

// Whether every address that base + i·ld + batch and segment steps give is a multiple of `elements` elements.
bool aligned(const void* base, int64_t elements, size_t bytes, std::initializer_list<int64_t> steps) {
  return reinterpret_cast<uintptr_t>(base) % (static_cast<size_t>(elements) * bytes) == 0 &&
         std::all_of(steps.begin(), steps.end(), [=](int64_t step) { return step % elements == 0; });
}

// The step from one of `count` batches or segments to the next: none where there is only one.
int64_t step_of(int64_t step, int64_t count) { return count > 1 ? step : 0; }

bool has_vector_operands(const Product& p, DType dtype) {
  const size_t bytes = size_of(dtype);
  const int64_t elements = static_cast<int64_t>(16 / bytes);
  return std::all_of(p.factors, p.factors + p.nfactors, [&](const Factor& f) {
    const auto aligned_operand = [&](const void* data, int64_t ld, const int64_t(&batch)[2], int64_t segment) {
      return aligned(
          data, elements, bytes,
          {ld, step_of(batch[0], p.batches[0]), step_of(batch[1], p.batches[1]), step_of(segment, f.segments)});
    };
    return aligned_operand(f.a, f.lda, f.a_batch, f.a_segment) && aligned_operand(f.b, f.ldb, f.b_batch, f.b_segment);
  });
}

// Whether every run of `elements` results, and of what is read and kept beside them, can be accessed at once.
bool has_whole_runs(const Product& p, int64_t elements, DType dtype) {
  const size_t bytes = p.c_is_f32 ? sizeof(float) : size_of(dtype);
  const auto all = [&](const void* data, int64_t ld, const int64_t(&batch)[2], int64_t step = 0) {
    return aligned(data, elements, bytes,
                   {ld, step_of(batch[0], p.batches[0]), step_of(batch[1], p.batches[1] / p.group), step});
  };
  const bool neighbours = p.group > 1 ? int64_t{p.results()} * p.group % elements == 0 : p.c_column == 1;
  return neighbours && p.shuffle_blocks == 0 && all(p.c, p.ldc, p.c_batch) && all(p.added, p.ldc, p.c_batch) &&
         all(p.pre, p.pre_ld, p.pre_batch, p.half() * p.c_column) &&
         (p.group > 1 || p.bias_column != 1 || all(p.bias, 0, p.bias_batch, p.half())) &&
         all(p.through.pre, p.ldc, p.c_batch, p.through.up) && all(p.through.activated, p.through.ld, p.through.batch);
}

// Terms of no weight are left out; the larger scale comes last, because the sums are rescaled by the ratio in between.
void order_factors(Product& p) {
  const auto empty = [](const Factor& f) { return f.scale == 0 || f.k == 0 || f.segments == 0; };
  if (p.nfactors == 2 && empty(p.factors[1])) p.nfactors = 1;
  if (p.nfactors == 2 && empty(p.factors[0])) p.factors[0] = p.factors[1], p.nfactors = 1;
  if (p.nfactors == 1 && empty(p.factors[0])) p.factors[0] = {.scale = 1};
  if (p.nfactors == 2 && std::abs(p.factors[0].scale) > std::abs(p.factors[1].scale))
    std::swap(p.factors[0], p.factors[1]);
}

// What every kernel of launch_chain needs: operands and results that can be accessed 16 bytes at a time. group: the
// second product's blocks whose columns interleave.
bool can_chain(const Product& first, Product second, DType dtype, int group) {
  const auto plain = [](const Product& p) {
    return p.nfactors == 1 && p.factors[0].k > 0 && p.a_k_contiguous && p.shuffle_blocks == 0 && !p.c_is_f32;
  };
  second.group = group;
  return dtype == DType::bf16 && plain(first) && plain(second) && second.factors[0].segments == 1 &&
         first.b_k_contiguous == second.b_k_contiguous && has_vector_operands(first, dtype) &&
         has_vector_operands(second, dtype) && second.factors[0].k % ChainSizes::kChunk == 0 &&
         aligned(first.c, ChainSizes::kChunk, sizeof(bf16), {first.ldc, first.c_batch[1]}) &&
         second.results() * group % ChainSizes::kChunk == 0 && has_whole_runs(second, ChainSizes::kChunk, dtype) &&
         (first.c_column > 1 || first.n % 2 == 0) && !first.bias && !first.pre && !first.added &&
         first.activation == Activation::none;
}

constexpr int kNarrow = 64;  // columns: fewer get tiles of this width

int64_t waves(int64_t blocks) { return ceil_div(blocks, multiprocessors()); }

// What a product takes by itself: waves of tiles of 128 rows times their steps of 64 terms and 64 columns.
int64_t steps_alone(const Product& p) {
  const int width = p.n <= kNarrow ? kNarrow : ChainSizes::kSize;
  const int64_t tiles = ceil_div(p.tile_columns(), width) * p.batches[0] * p.batches[1];
  return waves(ceil_div(p.m, ChainSizes::kSize) * tiles) *
         (p.factors[0].segments * ceil_div(p.factors[0].k, ChainSizes::kDepth) * (width / kNarrow));
}

// Whether a launch that takes so many steps takes at most an eighth longer than two launches. Fewer rows or columns
// would get small tiles.
bool is_worth_chaining(const Product& first, const Product& second, int64_t steps) {
  return first.m > 64 && second.n * second.batches[1] > 64 &&
         8 * steps <= 9 * (steps_alone(first) + steps_alone(second));
}

struct Chain {
  ChainKernel* kernel = nullptr;
  int64_t blocks = 0, shared = 0;
};

Chain chain_of(const Product& first, const Product& second, DType dtype) {
  using Tile = ChainSizes;
  const bool fits =
      can_chain(first, second, dtype, 1) && first.factors[0].segments == 1 && first.batches[1] == second.batches[0];
  if (!fits) return {};
  const int width = first.n <= kNarrow ? kNarrow : Tile::kSize;
  const int64_t shared = Tile::bytes(second.factors[0].k), rows = ceil_div(first.m, Tile::kSize);
  const int64_t steps1 = ceil_div(first.factors[0].k, Tile::kDepth),
                steps2 = ceil_div(second.factors[0].k, Tile::kDepth);
  const int64_t steps =
      waves(rows * second.batches[0]) *
      (first.batches[0] * ceil_div(first.n, width) * steps1 * (width / kNarrow) +
       second.batches[1] * ceil_div(second.tile_columns(), Tile::kSize) * steps2 * (Tile::kSize / kNarrow));
  if (shared > shared_memory_per_block() || !is_worth_chaining(first, second, steps)) return {};
  ChainKernel* const wgmma = wgmma_chain_kernel(first, width);
  return {wgmma ? wgmma : chain_kernel(first, width), rows * second.batches[0], shared};
}

template <int kBlocks>
Chain interleaved_chain_of(const Product& first, const Product& second, DType dtype) {
  using Tile = InterleavedChainSizes<kBlocks>;
  const bool fits = can_chain(first, second, dtype, kBlocks) && first.b_k_contiguous && first.batches[1] == kBlocks &&
                    first.c_column == 1 && first.factors[0].a_batch[1] == 0 &&
                    (second.half() == 0 || Tile::kEach % (2 * kGates) == 0);
  const int64_t shared = Tile::bytes(second.factors[0].k), rows = ceil_div(first.m, Tile::kRows);
  const auto tiles = [](const Product& p) { return ceil_div(p.tile_columns(), Tile::kEach); };
  const int64_t steps = waves(rows) * (first.batches[0] * tiles(first) * Tile::Sequence::tiles_of(first.factors[0]) +
                                       tiles(second) * Tile::Sequence::tiles_of(second.factors[0]));
  if (!fits || shared > shared_memory_per_block() || !is_worth_chaining(first, second, steps)) return {};
  ChainKernel* const wgmma = wgmma_interleaved_chain_kernel(kBlocks);
  return {wgmma ? wgmma : interleaved_chain_kernel(kBlocks), rows, shared};
}

Chain chain_for(const Product& first, const Product& second, DType dtype) {
  if (!interleaves(second)) return chain_of(first, second, dtype);
  switch (second.batches[1]) {
    case 2:
      return interleaved_chain_of<2>(first, second, dtype);
    case 4:
      return interleaved_chain_of<4>(first, second, dtype);
    case 8:
      return interleaved_chain_of<8>(first, second, dtype);
    default:
      return {};
  }
}

// A sum over many terms with few tiles of C leaves most of the device idle: parts of it are summed side by side.
int splits_for(const Product& p, const Choice& choice, int64_t blocks) {
  if (p.nfactors > 1) return 1;
  const int64_t wanted = 2 * multiprocessors() / std::max<int64_t>(blocks, 1);
  const int64_t possible = terms_of(p) / std::max(kSplitDepth, choice.depth);
  return static_cast<int>(std::clamp<int64_t>(std::min(wanted, possible), 1, kMaxSplits));
}

template <class T>
void launch_skinny_of(const Product& p) {
  // Batches in x, as for the tiles: y ends at 65535. A warp takes a column of the sums; a result of swiglu has two.
  const int64_t blocks = ceil_div(p.n, kSkinnyWarps) * p.batches[0] * p.batches[1];
  skinny_kernel<T>(p)->launch(static_cast<unsigned>(blocks), 0, p);
}

void launch_skinny(const Product& p, DType dtype) {
  dispatch_float(dtype, [&](auto zero) { launch_skinny_of<decltype(zero)>(p); });
}

// Adds the parts of a split sum, and stores as the product itself would have done.
void join_parts(Product p, DType dtype) {
  const int parts = std::exchange(p.splits, 1);
  const dim3 grid(static_cast<unsigned>(ceil_div(p.m * ceil_div(p.results(), kRun), kAddThreads)),
                  static_cast<unsigned>(p.batches[0] * p.batches[1]));
  dispatch_float(dtype, [&](auto zero) { add_parts_kernel<decltype(zero)>()->launch(grid, 0, p, parts); });
}

}  // namespace

bool launch_chain(const Product& first, Product second, DType dtype) {
  order_factors(second);
  const Chain chain = chain_for(first, second, dtype);
  if (!chain.kernel) return false;
  second.vector_c = true;
  for (const Product* p : {&first, &std::as_const(second)})
    count_flops(int64_t{2} * p->batches[0] * p->batches[1] * p->m * p->n * p->factors[0].k * p->factors[0].segments);
  chain.kernel->launch(static_cast<unsigned>(chain.blocks), chain.shared, first, second);
  return true;
}

void launch_gemm(Product p, DType dtype) {
  const int batches = p.batches[0] * p.batches[1];
  if (p.m == 0 || p.n == 0 || batches == 0) return;
  order_factors(p);
  for (int f = 0; f < p.nfactors; ++f)
    count_flops(int64_t{2} * batches * p.m * p.n * p.factors[f].k * p.factors[f].segments);
  p.vector_operands = has_vector_operands(p, dtype);
  if (p.m <= kSkinnyRows && p.a_k_contiguous && p.b_k_contiguous) return launch_skinny(p, dtype);
  const Choice choice = choice_for(p, dtype);
  p.group = choice.group;
  p.vector_c = has_whole_runs(p, p.group > 1 ? static_cast<int64_t>(16 / size_of(dtype)) : kRun, dtype);
  const int64_t blocks = ceil_div(p.m, choice.size) * ceil_div(p.tile_columns(), choice.size) * (batches / p.group);
  p.splits = p.group > 1 ? 1 : splits_for(p, choice, blocks);
  const int64_t results = int64_t{batches} * p.m * p.n, row_sums = p.row_sums.to ? int64_t{p.batches[0]} * p.m : 0;
  Workspace<float> partial(p.splits > 1 ? p.splits * (results + row_sums) : 0);
  p.partial = partial.get();
  p.row_sums.parts = p.partial + p.splits * results;
  const dim3 grid(static_cast<unsigned>(blocks), 1, static_cast<unsigned>(p.splits));
  choice.kernel->launch(grid, choice.shared, p);
  if (p.splits > 1) join_parts(p, dtype);
}

}  // namespace sffn::cuda
