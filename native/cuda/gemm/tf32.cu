// The kernels of tile_tf32.cuh.
#include "kernels.cuh"
#include "tile_tf32.cuh"

namespace sffn::cuda {

// Only small tiles are computed in groups.
ProductKernel* tf32_kernel(const Product& p, int size, bool group) {
  return with_layout(p, [&]<bool kAK, bool kBK, bool kVector>(Truth<kAK>, Truth<kBK>, Truth<kVector>) {
    return with_constant_of<64, 128>(size, [&]<int kSize>(Number<kSize>) {
      return with_constant(group, []<bool kWanted>(Truth<kWanted>) {
        constexpr bool kGroup = kAK && kSize == 64 && kWanted;
        return kernel_of<gemm_tf32<kSize, kAK, kBK, kVector, kGroup>, Tf32Tile<kSize>::kThreads>(
            "gemm_tf32", kSize, kAK, kBK, kVector, kGroup);
      });
    });
  });
}

}  // namespace sffn::cuda
