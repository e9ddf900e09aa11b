// The kernels of chain_interleaved.cuh.
#include "chain_interleaved.cuh"

#include "kernels.cuh"

namespace sffn::cuda {

ChainKernel* interleaved_chain_kernel(int blocks) {
  return with_constant_of<2, 4, 8>(blocks, []<int kBlocks>(Number<kBlocks>) {
    return kernel_of<gemm_chain_interleaved<kBlocks>, InterleavedChainSizes<kBlocks>::kThreads>(
        "gemm_chain_interleaved", kBlocks);
  });
}

}  // namespace sffn::cuda
