// The kernels of chain.cuh.
#include "chain.cuh"

#include "kernels.cuh"

namespace sffn::cuda {

ChainKernel* chain_kernel(const Product& p, int width) {
  return with_constant(p.b_k_contiguous, [&]<bool kBK>(Truth<kBK>) {
    return with_constant_of<64, 128>(width, []<int kWidth>(Number<kWidth>) {
      return kernel_of<gemm_chain<kBK, kWidth>, ChainSizes::kThreads>("gemm_chain", kBK, kWidth);
    });
  });
}

}  // namespace sffn::cuda
