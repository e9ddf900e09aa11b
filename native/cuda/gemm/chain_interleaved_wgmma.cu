// Chains of interleaved blocks (chain_interleaved.cuh) by wgmma.
#include "chain_interleaved.cuh"
#include "kernels.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {

// Four warps together have the 64 rows. The blocks of the first product read the same rows in one instruction.
template <int kBlocks>
struct WgmmaInterleavedChainTile : InterleavedChainSizes<kBlocks> {
  using Sizes = InterleavedChainSizes<kBlocks>;
  using Whole = WgmmaTile<Sizes::kColumns>;
  static constexpr bool kAsync = true;
  static constexpr int kFragments = Whole::kFragmentsN, kSumsOfBlock = Sizes::kEach / 2;

  using Sums = typename Whole::Sums;
  static __device__ int column_of(int j) { return Whole::column_of(j); }
  static __device__ void scale(Sums& sums, float factor) { Whole::scale(sums, factor); }
  template <class Body>
  static __device__ void each_pair(Sums& sums, Body&& body) {
    sffn::cuda::each_pair<Whole>(sums, body);
  }

  template <bool kSame, class A>
  static __device__ void multiply(Sums& sums, A&& a, uint32_t b_stage) {
    if constexpr (kSame) {
      Whole::template multiply<true, true>(sums, a(0), b_stage);
      return;
    }
    begin_products();
#pragma unroll
    for (int block = 0; block < kBlocks; ++block) {
      const auto sum = [&](int index) -> float& { return sums[block * kSumsOfBlock + index]; };
      const uint64_t left = wgmma_descriptor(a(block));
      const uint64_t right = wgmma_descriptor(b_stage + block * Sizes::kEach * Sizes::kDepth * 2);
#pragma unroll
      for (int i = 0; i < Sizes::kDepth / Whole::kTerms; ++i) {
        constexpr int kStep = Whole::kTerms * 2 / 16;  // in units of 16 bytes
        multiply_accumulate_async<Sizes::kEach, false, false>(sum, left + i * kStep, right + i * kStep);
      }
    }
    commit_products();
  }
};

template <int kBlocks>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(InterleavedChainSizes<kBlocks>::kThreads), 1)
    gemm_chain_interleaved_wgmma(const __grid_constant__ Product first, const __grid_constant__ Product second) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char shared[];
  chain_interleaved<WgmmaInterleavedChainTile<kBlocks>>(first, second, shared);
#endif
}

ChainKernel* wgmma_interleaved_chain_kernel(int blocks) {
  return with_constant_of<2, 4, 8>(blocks, []<int kBlocks>(Number<kBlocks>) {
    return kernel_of<gemm_chain_interleaved_wgmma<kBlocks>, InterleavedChainSizes<kBlocks>::kThreads>(
        "gemm_chain_interleaved_wgmma", kBlocks);
  });
}

}  // namespace sffn::cuda
