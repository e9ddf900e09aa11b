// The kernels by wgmma, apart from the others because they alone are compiled for compute capability 9.0 where the PTX
// executor runs them.
#include "chain_wgmma.cuh"

namespace sffn::cuda {
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
