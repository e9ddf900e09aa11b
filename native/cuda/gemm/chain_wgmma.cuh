// The chains of products of chain.cuh and chain_interleaved.cuh by wgmma: Z lies as an operand of wgmma does, too.
#pragma once

#include "chain_interleaved.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {

// Four warps together have the 64 rows. The blocks of the first product read the same rows, and are one instruction.
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
    Whole::each_pair(sums, body);
  }

  template <bool kSame, class A>
  static __device__ void multiply(Sums& sums, A&& a, uint32_t b_stage) {
    if constexpr (kSame) {
      Whole::template multiply<true, true>(sums, a(0), b_stage);
      return;
    }
    begin_products();
#pragma unroll
    for (int block = 0; block < kBlocks; ++block)
#pragma unroll
      for (int i = 0; i < Sizes::kDepth / Whole::kTerms; ++i) {
        const auto sum = [&](int index) -> float& { return sums[block * kSumsOfBlock + index]; };
        const uint32_t b = b_stage + block * Sizes::kEach * Sizes::kDepth * 2, term = i * Whole::kTerms * 2;
        multiply_accumulate_async<Sizes::kEach, false, false>(sum, wgmma_descriptor(a(block) + term),
                                                              wgmma_descriptor(b + term));
      }
    commit_products();
  }
};

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

// The kernels whose tiles of Z have 64 or 128 columns, and those of 2, 4 or 8 blocks; null where the device or this
// binary has none.
ChainKernel wgmma_chain(bool b_k_contiguous, int width);
ChainKernel wgmma_interleaved_chain(int blocks);

}  // namespace sffn::cuda
