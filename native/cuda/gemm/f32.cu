// The kernels of tile_f32.cuh.
#include "kernels.cuh"
#include "tile_f32.cuh"

namespace sffn::cuda {

ProductKernel* f32_kernel(const Product& p, bool group) {
  return with_layout(p, [&]<bool kAK, bool kBK, bool kVector>(Truth<kAK>, Truth<kBK>, Truth<kVector>) {
    return with_constant(group, []<bool kWanted>(Truth<kWanted>) {
      constexpr bool kGroup = kAK && kWanted;
      return kernel_of<gemm_f32<kAK, kBK, kVector, kGroup>, F32Tile::kThreads>("gemm_f32", kAK, kBK, kVector, kGroup);
    });
  });
}

}  // namespace sffn::cuda
