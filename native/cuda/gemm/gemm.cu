// Chooses the kernel of a product: the tile, how its operands lie, whether they can be read 16 bytes at a time, and
// into how many parts a long sum is split. The choice depends on sizes and addresses alone, so a repeated call repeats
// every bit.
#include <algorithm>
#include <utility>

#include "../../counters.h"
#include "../../devices.h"
#include "chain_interleaved.cuh"
#include "skinny.cuh"
#include "tile_bf16.cuh"
#include "tile_f32.cuh"
#include "tile_tf32.cuh"
#include "tile_wgmma.cuh"
#include "wgmma.cuh"

namespace sffn::cuda {
namespace {

constexpr int kMaxSplits = 32;
constexpr int kSplitDepth = 128;  // terms that a part of a split sum has at least
constexpr int kReduceThreads = 128;

// Adds the parts of a split sum in order, and stores as the product itself would have done.
template <class T>
__global__ void __launch_bounds__(kReduceThreads, 8) add_parts(const __grid_constant__ Product p, int parts) {
  const int runs = (p.results() + kRun - 1) / kRun;
  const int64_t index = blockIdx.x * int64_t{kReduceThreads} + threadIdx.x;
  const int row = static_cast<int>(index / runs), column = static_cast<int>(index % runs) * kRun;
  if (row >= p.m) return;
  const int64_t batches = p.batches[0] * p.batches[1];
  const auto sum = [&](int first, float(&values)[kRun]) {
    for (int part = 0; part < parts; ++part) {
      const float* from = p.partial + ((part * batches + blockIdx.y) * p.m + row) * p.n + first;
      if (p.whole_parts()) {
        const float4 run = *reinterpret_cast<const float4*>(from);
        values[0] += run.x, values[1] += run.y, values[2] += run.z, values[3] += run.w;
        continue;
      }
#pragma unroll
      for (int j = 0; j < kRun; ++j)
        if (column + j < p.results()) values[j] += from[j];
    }
  };
  if (p.row_sums.to && column == 0 && blockIdx.y % p.batches[1] == 0) {
    const int outer = blockIdx.y / p.batches[1];
    float total = 0;
    for (int part = 0; part < parts; ++part) total += row_sum_part(p, part, outer, row);
    store_row_sum<T>(p, outer, row, total);
  }
  float values[kRun] = {};
  sum(column, values);
  if (p.gated()) {
    float ups[kRun] = {};
    sum(column + p.half(), ups);
    store_gated<T>(p, blockIdx.y, row, column, values, ups);
  } else {
    store_run<T, true>(p, blockIdx.y, row, column, values);
  }
}

// size, depth: of the tile. shared: dynamic bytes. group: inner batches that a block of threads takes in turn.
struct Choice {
  Kernel kernel;
  int size, depth, threads, shared;
  int group = 1;
};

// Lets a kernel have as much dynamic shared memory as there is beside its own.
template <auto kKernel>
auto with_shared(int own = 0) {
  static const bool allowed = [&] {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kKernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               shared_memory_per_block() - own),
          "gemm");
    return true;
  }();
  static_cast<void>(allowed);
  return kKernel;
}

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

template <int kSize, bool kAK, bool kBK, bool kVector>
Choice bf16_choice() {
  using Tile = Bf16Tile<kSize>;
  return {with_shared<gemm_bf16<kSize, kAK, kBK, kVector, false>>(), kSize, Tile::kDepth, Tile::kThreads,
          Tile::kSharedBytes};
}

template <int kSize, bool kBK, bool kVector>
int64_t consider_group(const Product& p, int64_t cycles, Choice& choice) {
  using Tile = Bf16Tile<kSize>;
  const int64_t shared = Tile::kSharedBytes + KeptTile<bf16, kSize>::bytes(p.batches[1]);
  if (!can_group(p, shared) || kBf16Cost<kSize>.cycles(p, p.batches[1]) > cycles) return cycles;
  choice = {with_shared<gemm_bf16<kSize, true, kBK, kVector, true>>(),
            kSize,
            Tile::kDepth,
            Tile::kThreads,
            static_cast<int>(shared),
            p.batches[1]};
  return kBf16Cost<kSize>.cycles(p, p.batches[1]);
}

template <bool kAK, bool kBK, bool kVector>
Choice bf16_choice(const Product& p) {
  // The large tile reads half as much of each operand, where it is not mostly empty.
  const bool large = p.m > 64 && p.tile_columns() > 64;
  Choice choice = large ? bf16_choice<128, kAK, kBK, kVector>() : bf16_choice<64, kAK, kBK, kVector>();
  const Kernel wgmma = large && kVector ? wgmma_kernel(kAK, kBK) : nullptr;
  if (wgmma)
    choice = {wgmma, WgmmaTile<>::kSize, WgmmaTile<>::kDepth, WgmmaTile<>::kThreads, WgmmaTile<>::kSharedBytes};
  if constexpr (kAK) {
    int64_t cycles = kGroupPatience * (wgmma ? kWgmmaCost : large ? kBf16Cost<128> : kBf16Cost<64>).cycles(p, 1);
    cycles = consider_group<64, kBK, kVector>(p, cycles, choice);
    if (large) consider_group<128, kBK, kVector>(p, cycles, choice);
  }
  return choice;
}

bool prefers_group(const Product& p, int64_t shared, const TileCost& group, const TileCost& single) {
  return can_group(p, shared) && group.cycles(p, p.batches[1]) <= kGroupPatience * single.cycles(p, 1);
}

template <int kSize, bool kAK, bool kBK, bool kVector>
Choice tf32_choice() {
  using Tile = Tf32Tile<kSize>;
  return {with_shared<gemm_tf32<kSize, kAK, kBK, kVector, false>>(), kSize, Tile::kDepth, Tile::kThreads,
          Tile::kSharedBytes};
}

template <bool kAK, bool kBK, bool kVector>
Choice tf32_choice(const Product& p) {
  const bool large = p.m > 64 && p.tile_columns() > 64;
  if constexpr (kAK) {
    using Tile = Tf32Tile<64>;
    const int64_t shared = Tile::kSharedBytes + Tile::Kept::bytes(p.batches[1]);
    if (prefers_group(p, shared, kTf32Cost<64>, large ? kTf32Cost<128> : kTf32Cost<64>)) {
      const Kernel kernel = with_shared<gemm_tf32<64, kAK, kBK, kVector, true>>();
      return {kernel, 64, Tile::kDepth, Tile::kThreads, static_cast<int>(shared), p.batches[1]};
    }
  }
  return large ? tf32_choice<128, kAK, kBK, kVector>() : tf32_choice<64, kAK, kBK, kVector>();
}

template <bool kAK, bool kBK, bool kVector>
Choice f32_choice(const Product& p) {
  if (cuda_tf32()) return tf32_choice<kAK, kBK, kVector>(p);
  using Tile = F32Tile;
  if constexpr (kAK) {
    const int64_t shared = Tile::Kept::bytes(p.batches[1]);
    if (prefers_group(p, Tile::kStaticBytes + shared, kF32Cost, kF32Cost)) {
      const Kernel kernel = with_shared<gemm_f32<kAK, kBK, kVector, true>>(Tile::kStaticBytes);
      return {kernel, Tile::kSize, Tile::kDepth, Tile::kThreads, static_cast<int>(shared), p.batches[1]};
    }
  }
  return {gemm_f32<kAK, kBK, kVector, false>, Tile::kSize, Tile::kDepth, Tile::kThreads, 0};
}

template <class T, bool kVector>
Kernel skinny_kernel(int rows) {
  if (rows == 1) return gemm_skinny<T, 1, kVector>;
  if (rows <= 4) return gemm_skinny<T, 4, kVector>;
  if (rows <= 8) return gemm_skinny<T, 8, kVector>;
  return gemm_skinny<T, kSkinnyRows, kVector>;
}

template <bool kAK, bool kBK, bool kVector>
Choice choice_of_layout(const Product& p, DType dtype) {
  return dtype == DType::f32 ? f32_choice<kAK, kBK, kVector>(p) : bf16_choice<kAK, kBK, kVector>(p);
}

template <bool kVector>
Choice choice_of_access(const Product& p, DType dtype) {
  if (p.a_k_contiguous)
    return p.b_k_contiguous ? choice_of_layout<true, true, kVector>(p, dtype)
                            : choice_of_layout<true, false, kVector>(p, dtype);
  return p.b_k_contiguous ? choice_of_layout<false, true, kVector>(p, dtype)
                          : choice_of_layout<false, false, kVector>(p, dtype);
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
  ChainKernel kernel = nullptr;
  int64_t blocks = 0, shared = 0;
  int threads = 0;
};

template <bool kBK, int kWidth>
Chain chain_of_width(const Product& first, const Product& second) {
  using Tile = ChainSizes;
  const int64_t shared = Tile::bytes(second.factors[0].k), rows = ceil_div(first.m, Tile::kSize);
  const int64_t steps1 = ceil_div(first.factors[0].k, Tile::kDepth),
                steps2 = ceil_div(second.factors[0].k, Tile::kDepth);
  const int64_t steps =
      waves(rows * second.batches[0]) *
      (first.batches[0] * ceil_div(first.n, kWidth) * steps1 * (kWidth / kNarrow) +
       second.batches[1] * ceil_div(second.tile_columns(), Tile::kSize) * steps2 * (Tile::kSize / kNarrow));
  if (shared > shared_memory_per_block() || !is_worth_chaining(first, second, steps)) return {};
  const ChainKernel wgmma = wgmma_chain(kBK, kWidth);
  return {wgmma ? wgmma : with_shared<gemm_chain<kBK, kWidth>>(), rows * second.batches[0], shared, Tile::kThreads};
}

template <bool kBK>
Chain chain_of(const Product& first, const Product& second, DType dtype) {
  const bool fits =
      can_chain(first, second, dtype, 1) && first.factors[0].segments == 1 && first.batches[1] == second.batches[0];
  if (!fits) return {};
  return first.n <= kNarrow ? chain_of_width<kBK, kNarrow>(first, second)
                            : chain_of_width<kBK, ChainSizes::kSize>(first, second);
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
  const ChainKernel wgmma = wgmma_interleaved_chain(kBlocks);
  return {wgmma ? wgmma : with_shared<gemm_chain_interleaved<kBlocks>>(), rows, shared, Tile::kThreads};
}

Chain chain_for(const Product& first, const Product& second, DType dtype) {
  if (!interleaves(second))
    return first.b_k_contiguous ? chain_of<true>(first, second, dtype) : chain_of<false>(first, second, dtype);
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
  const Kernel kernel = p.vector_operands ? skinny_kernel<T, true>(p.m) : skinny_kernel<T, false>(p.m);
  // Batches in x, as for the tiles: y ends at 65535. A warp takes a column of the sums; a result of swiglu has two.
  const int64_t blocks = ceil_div(p.n, kSkinnyWarps) * p.batches[0] * p.batches[1];
  kernel<<<static_cast<unsigned>(blocks), kSkinnyWarps * kWarp, 0, stream()>>>(p);
  check_launch("gemm of few rows");
}

void launch_skinny(const Product& p, DType dtype) {
  dispatch_float(dtype, [&](auto zero) { launch_skinny_of<decltype(zero)>(p); });
}

}  // namespace

bool launch_chain(const Product& first, Product second, DType dtype) {
  order_factors(second);
  const Chain chain = chain_for(first, second, dtype);
  if (!chain.kernel) return false;
  second.vector_c = true;
  for (const Product* p : {&first, &std::as_const(second)})
    count_flops(int64_t{2} * p->batches[0] * p->batches[1] * p->m * p->n * p->factors[0].k * p->factors[0].segments);
  chain.kernel<<<static_cast<unsigned>(chain.blocks), chain.threads, static_cast<size_t>(chain.shared), stream()>>>(
      first, second);
  check_launch("two gemms");
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
  const Choice choice = p.vector_operands ? choice_of_access<true>(p, dtype) : choice_of_access<false>(p, dtype);
  p.group = choice.group;
  p.vector_c = has_whole_runs(p, p.group > 1 ? static_cast<int64_t>(16 / size_of(dtype)) : kRun, dtype);
  const int64_t blocks = ceil_div(p.m, choice.size) * ceil_div(p.tile_columns(), choice.size) * (batches / p.group);
  p.splits = p.group > 1 ? 1 : splits_for(p, choice, blocks);
  const int64_t results = int64_t{batches} * p.m * p.n, row_sums = p.row_sums.to ? int64_t{p.batches[0]} * p.m : 0;
  Workspace<float> partial(p.splits > 1 ? p.splits * (results + row_sums) : 0);
  p.partial = partial.get();
  p.row_sums.parts = p.partial + p.splits * results;
  const dim3 grid(static_cast<unsigned>(blocks), 1, static_cast<unsigned>(p.splits));
  choice.kernel<<<grid, choice.threads, choice.shared, stream()>>>(p);
  check_launch("gemm");
  if (p.splits == 1) return;
  const int parts = std::exchange(p.splits, 1);
  const dim3 runs(static_cast<unsigned>(ceil_div(p.m * ceil_div(p.results(), kRun), kReduceThreads)),
                  static_cast<unsigned>(batches));
  if (dtype == DType::f32)
    add_parts<float><<<runs, kReduceThreads, 0, stream()>>>(p, parts);
  else
    add_parts<bf16><<<runs, kReduceThreads, 0, stream()>>>(p, parts);
  check_launch("gemm: adding parts");
}

}  // namespace sffn::cuda
