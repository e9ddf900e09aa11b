// The kernels of tile_wgmma.cuh, apart from the others because they alone are compiled for compute capability 9.0 where
// the PTX executor runs them.
#include "tile_wgmma.cuh"

namespace sffn::cuda {
namespace {

template <bool kAK, bool kBK>
Kernel kernel_of() {
  static const Kernel kernel = []() -> Kernel {
    cudaFuncAttributes attributes;
    check(cudaFuncGetAttributes(&attributes, gemm_wgmma<kAK, kBK>), "gemm");
    // Of the code that this device would run: machine code for it alone, or made from PTX for any, where the kernel is
    // empty and takes one thread.
    if (attributes.binaryVersion != 90 || attributes.maxThreadsPerBlock < WgmmaTile::kThreads) return nullptr;
    check(cudaFuncSetAttribute(gemm_wgmma<kAK, kBK>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               WgmmaTile::kSharedBytes),
          "gemm");
    return gemm_wgmma<kAK, kBK>;
  }();
  return kernel;
}

}  // namespace

Kernel wgmma_kernel(bool a_k_contiguous, bool b_k_contiguous) {
  if (a_k_contiguous) return b_k_contiguous ? kernel_of<true, true>() : kernel_of<true, false>();
  return b_k_contiguous ? kernel_of<false, true>() : kernel_of<false, false>();
}

}  // namespace sffn::cuda
