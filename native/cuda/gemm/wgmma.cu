// Products by wgmma. Apart from the others because, where the PTX executor runs them, these alone are compiled for
// compute capability 9.0.
#include "tile_wgmma.cuh"

namespace sffn::cuda {

// Compiled for anything but compute capability 9.0 with its own instructions, the kernel is empty, and takes a single
// thread, so that the host can tell and a launch would fail.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
constexpr int kWgmmaThreads = WgmmaTile::kThreads;
#else
constexpr int kWgmmaThreads = 1;
#endif

template <bool kAK, bool kBK>
__global__ void __launch_bounds__(kWgmmaThreads, 2) gemm_wgmma(const __grid_constant__ Product p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Tile = WgmmaTile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [batch, row0, column0] = place_of<Tile::kSize>(p);
  const int group = threadIdx.x / (4 * kWarp), warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;

  const int half = kAK && kBK ? p.half() : 0;
  const Terms<bf16, Tile::kDepth, false> terms(p, batch);
  int t, end;
  split_range(p, terms.count(), t, end);
  const auto stage = [&](int t) { return shared_address(shared) + t % Tile::kStages * Tile::kStageBytes; };
  const auto load = [&](int t) {
    if (t < end) {
      const Term<bf16> term = terms(t);
      Tile::load<kAK>(stage(t), term.a, term.lda, row0, p.m, term.k0, term.k);
      Tile::load<kBK>(stage(t) + Tile::kOperandBytes, term.b, term.ldb, column0, p.n, term.k0, term.k, half);
    }
    commit_copies();
  };

  Tile::Sums sums = {};
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(t + s);
  for (int f = 0; f < p.nfactors; ++f) {
    const bool last = f + 1 == p.nfactors;
    for (const int stop = last ? end : Terms<bf16, Tile::kDepth, false>::tiles_of(p.factors[f]); t < stop; ++t) {
      wait_copies<Tile::kStages - 2>();
      fence_async_proxy();
      __syncthreads();
      Tile::multiply<kAK, kBK>(sums, stage(t) + group * Tile::kBlockBytes, stage(t) + Tile::kOperandBytes);
      // While that goes on, the stage before it is free, once both groups are done with it.
      wait_products<1>();
      __syncthreads();
      load(t + Tile::kStages - 1);
    }
    wait_products<0>();
    const float scale = last ? p.factors[f].scale : p.factors[f].scale / p.factors[f + 1].scale;
#pragma unroll
    for (float& sum : sums) {
      settle(sum);
      sum *= scale;
    }
  }

  wait_copies<0>();
  __syncthreads();
  // Through shared memory, so that each row leaves in whole sectors.
  float* staged = reinterpret_cast<float*>(shared);
#pragma unroll
  for (int i = 0; i < Tile::kSize / 2; i += 2) {
    const int row = warp * 16 + i % 4 / 2 * 8 + lane / 4, column = i / 4 * 8 + lane % 4 * 2;
    *reinterpret_cast<float2*>(staged + row * Tile::kStagedRow + column) = make_float2(sums[i], sums[i + 1]);
  }
  __syncthreads();
  store_tile<bf16, kAK, kBK, Tile::kSize>(p, batch, staged, Tile::kStagedRow, row0, column0);
#endif
}

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
