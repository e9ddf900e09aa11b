// Chains of products (chain.cuh) by wgmma: Z, too, is laid out as an operand of wgmma.
#include "chain.cuh"
#include "kernels.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {

template <bool kBK, int kWidth>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(ChainSizes::kThreads), 1)
    gemm_chain_wgmma(const __grid_constant__ Product first, const __grid_constant__ Product second) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char shared[];
  chain<WgmmaTile<kWidth>, WgmmaTile<>, kBK>(first, second, shared);
#endif
}

ChainKernel* wgmma_chain_kernel(const Product& p, int width) {
  return with_constant(p.b_k_contiguous, [&]<bool kBK>(Truth<kBK>) {
    return with_constant_of<64, 128>(width, []<int kWidth>(Number<kWidth>) {
      return kernel_of<gemm_chain_wgmma<kBK, kWidth>, ChainSizes::kThreads>("gemm_chain_wgmma", kBK, kWidth);
    });
  });
}

}  // namespace sffn::cuda
