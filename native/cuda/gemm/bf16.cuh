// The host side of the kernels of tile_bf16.cuh; each source compiles one size.
#pragma once

#include "kernels.cuh"
#include "tile_bf16.cuh"

namespace sffn::cuda {

template <int kSize>
ProductKernel* bf16_kernel(const Product& p, bool group) {
  return with_layout(p, [&]<bool kAK, bool kBK, bool kVector>(Truth<kAK>, Truth<kBK>, Truth<kVector>) {
    return with_constant(group, []<bool kWanted>(Truth<kWanted>) {
      constexpr bool kGroup = kAK && kWanted;
      return kernel_of<gemm_bf16<kSize, kAK, kBK, kVector, kGroup>, Bf16Tile<kSize>::kThreads>("gemm_bf16", kSize, kAK,
                                                                                               kBK, kVector, kGroup);
    });
  });
}

}  // namespace sffn::cuda
