// The kernels by wgmma, apart from the others because they alone are compiled for compute capability 9.0 where the PTX
// executor runs them.
#include "wgmma.cuh"

#include "chain_wgmma.cuh"

namespace sffn::cuda {

// Compiled for anything but compute capability 9.0 with its own instructions, the kernels are empty, and take a single
// thread, so that the host can tell and a launch would fail.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define SFFN_WGMMA_THREADS(threads) (threads)
#else
#define SFFN_WGMMA_THREADS(threads) 1
#endif

template <bool kAK, bool kBK>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(WgmmaTile<>::kThreads), 2)
    gemm_wgmma(const __grid_constant__ Product p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Tile = WgmmaTile<>;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [batch, row0, column0] = place_of<Tile::kSize>(p);

  const int half = kAK && kBK ? p.half() : 0;
  const Terms<bf16, Tile::kDepth, false> terms(p, batch);
  int t, end;
  split_range(p, terms.count(), t, end);
  const auto stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kStageBytes; };
  const auto load = [&](int t) {
    if (t < end) {
      const Term<bf16> term = terms(t);
      Tile::load<kAK>(stage(t), term.a, term.lda, row0, p.m, term.k0, term.k);
      Tile::load<kBK>(stage(t) + Tile::kOperandBytes, term.b, term.ldb, column0, p.n, term.k0, term.k, half);
    }
    commit_copies();
  };

  Tile::Sums sums = {};
  const bool sums_rows = !kAK && !kBK && makes_row_sums(p, batch, column0);
  StagedRowSums<Tile> row_sums;
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(t + s);
  for (int f = 0; f < p.nfactors; ++f) {
    const bool last = f + 1 == p.nfactors;
    for (const int stop = last ? end : Terms<bf16, Tile::kDepth, false>::tiles_of(p.factors[f]); t < stop; ++t)
      pass_stage<Tile>(
          [&] {
            Tile::multiply<kAK, kBK>(sums, stage(t), stage(t) + Tile::kOperandBytes);
            if (sums_rows) row_sums.add(stage(t));
          },
          [&] { load(t + Tile::kStages - 1); });
    Tile::scale(sums, last ? p.factors[f].scale : p.factors[f].scale / p.factors[f + 1].scale);
  }

  wait_copies<0>();
  __syncthreads();
  float* staged = reinterpret_cast<float*>(shared);
  if (sums_rows) row_sums.store(p, batch, row0, staged);
  // Through shared memory, so that each row leaves in whole sectors.
  each_pair<Tile>(sums, [&](int row, int j, float x, float y) {
    *reinterpret_cast<float2*>(staged + row * Tile::kStagedRow + Tile::column_of(j)) = make_float2(x, y);
  });
  __syncthreads();
  store_tile<bf16, kAK, kBK, Tile::kSize>(p, batch, staged, Tile::kStagedRow, row0, column0);
#endif
}

template <bool kBK, int kWidth>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(ChainSizes::kThreads), 1)
    gemm_chain_wgmma(const __grid_constant__ Product first, const __grid_constant__ Product second) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char shared[];
  chain<WgmmaTile<kWidth>, WgmmaTile<>, kBK>(first, second, shared);
#endif
}

template <int kBlocks>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(InterleavedChainSizes<kBlocks>::kThreads), 1)
    gemm_chain_interleaved_wgmma(const __grid_constant__ Product first, const __grid_constant__ Product second) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char shared[];
  chain_interleaved<WgmmaInterleavedChainTile<kBlocks>>(first, second, shared);
#endif
}

namespace {

template <auto kKernel, int kThreads>
auto available() {
  static const auto kernel = []() -> decltype(kKernel) {
    const void* const function = reinterpret_cast<const void*>(kKernel);
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, function), "gemm");
    // Of the code that this device would run: machine code for it alone, or made from PTX for any, where the kernel is
    // empty and takes one thread.
    if (attributes.binaryVersion != 90 || attributes.maxThreadsPerBlock < kThreads) return nullptr;
    check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_memory_per_block()),
          "gemm");
    return kKernel;
  }();
  return kernel;
}

template <bool kAK, bool kBK>
Kernel product() {
  return available<gemm_wgmma<kAK, kBK>, WgmmaTile<>::kThreads>();
}
template <bool kBK, int kWidth>
ChainKernel chain() {
  return available<gemm_chain_wgmma<kBK, kWidth>, ChainSizes::kThreads>();
}
template <int kBlocks>
ChainKernel interleaved_chain() {
  return available<gemm_chain_interleaved_wgmma<kBlocks>, InterleavedChainSizes<kBlocks>::kThreads>();
}

}  // namespace

Kernel wgmma_kernel(bool a_k_contiguous, bool b_k_contiguous) {
  if (a_k_contiguous) return b_k_contiguous ? product<true, true>() : product<true, false>();
  return b_k_contiguous ? product<false, true>() : product<false, false>();
}

ChainKernel wgmma_chain(bool b_k_contiguous, int width) {
  if (width == 64) return b_k_contiguous ? chain<true, 64>() : chain<false, 64>();
  return b_k_contiguous ? chain<true, 128>() : chain<false, 128>();
}

ChainKernel wgmma_interleaved_chain(int blocks) {
  if (blocks == 2) return interleaved_chain<2>();
  return blocks == 4 ? interleaved_chain<4>() : interleaved_chain<8>();
}

}  // namespace sffn::cuda
