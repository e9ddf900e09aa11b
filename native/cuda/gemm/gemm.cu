// Chooses the kernel of a product: the tile, the layout of the operands, whether they can be read 16 bytes at a time,
// and into how many parts a long sum is split. The choice depends on sizes and addresses alone, so a repeated call
// gives the same bits.
#include <algorithm>
#include <utility>

#include "kernels.cuh"
#include "model.cuh"
#include "settings.cuh"
#include "tile_bf16.cuh"
#include "tile_f32.cuh"
#include "tile_tf32.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {
namespace {

constexpr int kMaxSplits = 32;

// shared: dynamic bytes. group: inner batches that a block of threads computes in turn.
struct Choice {
  ProductKernel* kernel;
  TileShape tile;
  int64_t shared;
  int group = 1;

  int resident() const { return kernel->resident_blocks(shared); }
};

// A sum over many terms with few tiles of C leaves most of the device idle: its parts are summed side by side.
int splits_for(const Product& p, const Choice& choice) {
  if (p.nfactors > 1 || choice.group > 1) return 1;
  const int64_t wanted = 2 * multiprocessors() / std::max<int64_t>(blocks_of(p, choice.tile, 1), 1);
  const int64_t terms = int64_t{p.factors[0].k} * p.factors[0].segments;
  const int64_t possible = terms / std::max(static_cast<int64_t>(costs().split_depth), int64_t{choice.tile.depth});
  return static_cast<int>(std::clamp<int64_t>(std::min(wanted, possible), 1, kMaxSplits));
}

double time_of(const Product& p, const Choice& choice, int splits = 1) {
  const Work work = work_of(p, choice.tile, choice.group, splits, choice.resident(), costs());
  return time_of(work, costs(), multiprocessors()) + (splits > 1 ? costs().latency : 0);
}

// Whether the columns of the inner batches interleave.
bool interleaves(const Product& p) { return p.batches[1] > 1 && p.c_column == p.batches[1] && p.c_batch[1] == 1; }

// Whether a block of threads may compute all inner batches of its tile in turn.
bool can_group(const Product& p, int64_t shared) {
  return p.a_k_contiguous && interleaves(p) && !p.c_is_f32 && shared <= shared_memory_per_block();
}

// The large tile reads half as much of each operand. It is taken where it is not mostly empty.
bool is_large(const Product& p) {
  return switches().tile > 0 ? switches().tile == 128 : p.m > 64 && p.tile_columns() > 64;
}

template <int kSize>
TileShape bf16_tile() {
  return {kSize, Bf16Tile<kSize>::kDepth, kSize == 128 ? costs().bf16_128 : costs().bf16_64, sizeof(bf16)};
}
TileShape wgmma_tile() { return {WgmmaTile<>::kSize, WgmmaTile<>::kDepth, costs().wgmma, sizeof(bf16)}; }
template <int kSize>
TileShape tf32_tile() {
  return {kSize, Tf32Tile<kSize>::kDepth, kSize == 128 ? costs().tf32_128 : costs().tf32_64, sizeof(float)};
}

template <int kSize>
Choice bf16_choice_of(const Product& p) {
  return {bf16_kernel<kSize>(p, false), bf16_tile<kSize>(), Bf16Tile<kSize>::kSharedBytes};
}

// The wgmma kernel, where it is wanted. kernel: null where this device has none.
template <class AnyKernel>
AnyKernel* wished_wgmma(AnyKernel* kernel) {
  if (switches().wgmma == Wish::on && !kernel)
    throw Error("ERR_OPTION",
                "STRUCTURED_FFN_CUDA_WGMMA: expected auto or off on a device or in a build without wgmma (compute "
                "capability 9.0), got 'on'");
  return kernel;
}

// With or without wgmma, one batch to a block of threads.
Choice single_bf16_choice(const Product& p) {
  const Wish wish = switches().wgmma;
  const bool fits = is_large(p) || (wish == Wish::on && switches().tile != 64);
  if (fits && p.vector_operands && wish != Wish::off)
    if (ProductKernel* const kernel = wished_wgmma(wgmma_kernel(p)))
      return {kernel, wgmma_tile(), WgmmaTile<>::kSharedBytes};
  return is_large(p) ? bf16_choice_of<128>(p) : bf16_choice_of<64>(p);
}

// Takes a group instead if it needs no longer than `time`, and puts the group's time there.
template <int kSize>
void consider_group(const Product& p, double& time, Choice& choice) {
  const int64_t shared = Bf16Tile<kSize>::kSharedBytes + KeptTile<bf16, kSize>::bytes(p.batches[1]);
  if (!can_group(p, shared)) return;
  const Choice group{bf16_kernel<kSize>(p, true), bf16_tile<kSize>(), shared, p.batches[1]};
  const double group_time = time_of(p, group);
  if (group_time > time) return;
  time = group_time;
  choice = group;
}

Choice bf16_choice(const Product& p) {
  Choice choice = single_bf16_choice(p);
  if (!interleaves(p) || switches().wgmma == Wish::on) return choice;
  double time = costs().group_patience * time_of(p, choice);
  if (switches().tile != 128) consider_group<64>(p, time, choice);
  if (is_large(p)) consider_group<128>(p, time, choice);
  return choice;
}

// The group, if it takes no longer than the patience for groups allows.
Choice better_of(const Product& p, const Choice& single, const Choice& group) {
  return time_of(p, group) <= costs().group_patience * time_of(p, single) ? group : single;
}

Choice tf32_choice(const Product& p) {
  using Small = Tf32Tile<64>;
  const Choice single = is_large(p) ? Choice{tf32_kernel(p, 128, false), tf32_tile<128>(), Tf32Tile<128>::kSharedBytes}
                                    : Choice{tf32_kernel(p, 64, false), tf32_tile<64>(), Small::kSharedBytes};
  const int64_t shared = Small::kSharedBytes + Small::Kept::bytes(p.batches[1]);
  if (switches().tile == 128 || !can_group(p, shared)) return single;
  return better_of(p, single, {tf32_kernel(p, 64, true), tf32_tile<64>(), shared, p.batches[1]});
}

Choice f32_choice(const Product& p) {
  const TileShape tile{F32Tile::kSize, F32Tile::kDepth, costs().f32, sizeof(float)};
  const Choice single{f32_kernel(p, false), tile, 0};
  const int64_t shared = F32Tile::Kept::bytes(p.batches[1]);
  if (!can_group(p, F32Tile::kStaticBytes + shared)) return single;
  return better_of(p, single, {f32_kernel(p, true), tile, shared, p.batches[1]});
}

Choice choice_for(const Product& p, DType dtype) {
  if (dtype == DType::bf16) return bf16_choice(p);
  return tf32_is_allowed() ? tf32_choice(p) : f32_choice(p);
}

// Whether every address that base + i·ld plus the steps of batches and segments give is a multiple of `elements`
// elements.
bool aligned(const void* base, int64_t elements, size_t bytes, std::initializer_list<int64_t> steps) {
  return reinterpret_cast<uintptr_t>(base) % (static_cast<size_t>(elements) * bytes) == 0 &&
         std::all_of(steps.begin(), steps.end(), [=](int64_t step) { return step % elements == 0; });
}

// The step from one of `count` batches or segments to the next: 0 if there is only one.
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

// Whether every run of `elements` results, and of what is read and stored along with them, can be accessed at once.
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

// Terms of weight 0 are left out. The larger scale comes last, because the sums are rescaled by the ratio in between.
void order_factors(Product& p) {
  const auto empty = [](const Factor& f) { return f.scale == 0 || f.k == 0 || f.segments == 0; };
  if (p.nfactors == 2 && empty(p.factors[1])) p.nfactors = 1;
  if (p.nfactors == 2 && empty(p.factors[0])) p.factors[0] = p.factors[1], p.nfactors = 1;
  if (p.nfactors == 1 && empty(p.factors[0])) p.factors[0] = {.scale = 1};
  if (p.nfactors == 2 && std::abs(p.factors[0].scale) > std::abs(p.factors[1].scale))
    std::swap(p.factors[0], p.factors[1]);
}

// What every kernel of launch_chain needs: operands and results that can be accessed 16 bytes at a time. group: the
// blocks of the second product whose columns interleave.
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

// The launch of the product alone.
double time_alone(Product p, DType dtype) {
  p.vector_operands = true;
  const Choice choice = choice_for(p, dtype);
  return time_of(p, choice, splits_for(p, choice));
}

struct Chain {
  ChainKernel* kernel = nullptr;
  int64_t shared = 0;  // dynamic bytes
  Work work{};
};

// make(wgmma): the kernel by wgmma, or by mma.sync. work_of(step, resident): what it does.
template <class Make, class WorkOf>
Chain chain_with(int64_t shared, Make&& make, WorkOf&& work_of) {
  if (shared > shared_memory_per_block()) return {};
  ChainKernel* const wgmma = switches().wgmma == Wish::off ? nullptr : wished_wgmma(make(true));
  ChainKernel* const kernel = wgmma ? wgmma : make(false);
  return {kernel, shared, work_of(wgmma ? costs().wgmma : costs().bf16_128, kernel->resident_blocks(shared))};
}

Chain chain_of(const Product& first, const Product& second, DType dtype) {
  constexpr int kNarrow = 64;
  const bool fits =
      can_chain(first, second, dtype, 1) && first.factors[0].segments == 1 && first.batches[1] == second.batches[0];
  if (!fits) return {};
  const int width = first.n <= kNarrow ? kNarrow : ChainSizes::kSize;
  return chain_with(
      ChainSizes::bytes(second.factors[0].k),
      [&](bool wgmma) { return wgmma ? wgmma_chain_kernel(first, width) : chain_kernel(first, width); },
      [&](double step, int resident) { return chain_work(first, second, width, step, resident, costs()); });
}

template <int kBlocks>
Chain interleaved_chain_of(const Product& first, const Product& second, DType dtype) {
  using Sizes = InterleavedChainSizes<kBlocks>;
  const bool fits = can_chain(first, second, dtype, kBlocks) && first.b_k_contiguous && first.batches[1] == kBlocks &&
                    first.c_column == 1 && first.factors[0].a_batch[1] == 0 &&
                    (second.half() == 0 || Sizes::kEach % (2 * kGates) == 0);
  if (!fits) return {};
  return chain_with(
      Sizes::bytes(second.factors[0].k),
      [](bool wgmma) { return wgmma ? wgmma_interleaved_chain_kernel(kBlocks) : interleaved_chain_kernel(kBlocks); },
      [&](double step, int resident) {
        return interleaved_chain_work<kBlocks>(first, second, step, resident, costs());
      });
}

// One launch for both products, where there can be one.
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

// Fewer rows or columns than a small tile has are faster in small tiles.
bool is_better(const Chain& chain, const Product& first, const Product& second, DType dtype) {
  return first.m > 64 && second.n * second.batches[1] > 64 &&
         prefers_chain(chain.work, time_alone(first, dtype) + time_alone(second, dtype), costs(), multiprocessors());
}

template <class T>
void launch_skinny_of(const Product& p) {
  // Batches in x, as for the tiles: y ends at 65535. A warp takes one column of the sums; a result of swiglu has two.
  const int64_t blocks = ceil_div(p.n, kSkinnyWarps) * p.batches[0] * p.batches[1];
  skinny_kernel<T>(p)->launch(static_cast<unsigned>(blocks), 0, p);
}

void launch_skinny(const Product& p, DType dtype) {
  dispatch_float(dtype, [&](auto zero) { launch_skinny_of<decltype(zero)>(p); });
}

// Adds the parts of a split sum, and stores the result exactly as an unsplit product would.
void join_parts(Product p, DType dtype) {
  const int parts = std::exchange(p.splits, 1);
  const dim3 grid(static_cast<unsigned>(ceil_div(p.m * ceil_div(p.results(), kRun), kAddThreads)),
                  static_cast<unsigned>(p.batches[0] * p.batches[1]));
  dispatch_float(dtype, [&](auto zero) { add_parts_kernel<decltype(zero)>()->launch(grid, 0, p, parts); });
}

}  // namespace

bool launch_chain(const Product& first, Product second, DType dtype) {
  if (switches().chains == Wish::off) return false;
  order_factors(second);
  const Chain chain = chain_for(first, second, dtype);
  if (!chain.kernel || (switches().chains != Wish::on && !is_better(chain, first, second, dtype))) return false;
  second.vector_c = true;
  for (const Product* p : {&first, &std::as_const(second)})
    count_flops(int64_t{2} * p->batches[0] * p->batches[1] * p->m * p->n * p->factors[0].k * p->factors[0].segments);
  chain.kernel->launch(static_cast<unsigned>(chain.work.blocks), chain.shared, first, second);
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
  p.splits = splits_for(p, choice);
  const int64_t results = int64_t{batches} * p.m * p.n, row_sums = p.row_sums.to ? int64_t{p.batches[0]} * p.m : 0;
  Workspace<float> partial(p.splits > 1 ? p.splits * (results + row_sums) : 0);
  p.partial = partial.get();
  p.row_sums.parts = p.partial + p.splits * results;
  const dim3 grid(static_cast<unsigned>(blocks_of(p, choice.tile, p.group)), 1, static_cast<unsigned>(p.splits));
  choice.kernel->launch(grid, choice.shared, p);
  if (p.splits > 1) join_parts(p, dtype);
}

Settings plan_product(int64_t m, int64_t n, int64_t k, DType dtype) {
  Product p;
  p.m = static_cast<int>(m);
  p.n = static_cast<int>(n);
  p.ldc = n;
  p.factors[0] = {.lda = k, .ldb = k, .k = static_cast<int>(k)};
  p.vector_operands = has_vector_operands(p, dtype);
  const Choice choice = choice_for(p, dtype);
  const int splits = splits_for(p, choice);
  return {{"kernel", choice.kernel->name()},
          {"blocks", static_cast<double>(blocks_of(p, choice.tile, 1) * splits)},
          {"steps", static_cast<double>(ceil_div(steps_of(p, choice.tile.depth), splits))},
          {"resident", static_cast<double>(choice.resident())},
          {"multiprocessors", static_cast<double>(multiprocessors())}};
}

Settings plan_chain(int64_t m, int64_t n, int64_t k, int64_t rank) {
  Product first, second;
  first.m = second.m = static_cast<int>(m);
  first.n = static_cast<int>(rank);
  second.n = static_cast<int>(n);
  first.ldc = rank;
  second.ldc = n;
  first.factors[0] = {.lda = k, .ldb = k, .k = static_cast<int>(k)};
  second.factors[0] = {.lda = rank, .ldb = rank, .k = static_cast<int>(rank)};
  const Chain chain = chain_for(first, second, DType::bf16);
  if (!chain.kernel) throw Error("ERR_OPTION", "these products cannot be one launch on this device");
  return {{"kernel", chain.kernel->name()},
          {"together", time_of(chain.work, costs(), multiprocessors())},
          {"alone", time_alone(first, DType::bf16) + time_alone(second, DType::bf16)}};
}

}  // namespace sffn::cuda
