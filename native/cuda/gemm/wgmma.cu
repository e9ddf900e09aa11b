// The product by wgmma. Sources of this name are compiled for compute capability 9.0 where the PTX executor runs them.
#include "kernels.cuh"
#include "tile_wgmma.cuh"

namespace sffn::cuda {

template <bool kAK, bool kBK>
__global__ void __launch_bounds__(SFFN_WGMMA_THREADS(WgmmaTile<>::kThreads), 2)
    gemm_wgmma(const __grid_constant__ Product p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Tile = WgmmaTile<>;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [batch, row0, column0] = place_of<Tile::kSize>(p);

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
  const bool sums_rows = !kAK && !kBK && makes_row_sums(p, batch, column0);
  StagedRowSums<Tile> row_sums;
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) load(t + s);
  for (int f = 0; f < p.nfactors; ++f) {
    const bool last = f + 1 == p.nfactors;
    for (const int stop = last ? end : Terms<bf16, Tile::kDepth, false>::tiles_of(p.factors[f]); t < stop; ++t)
      pass_stage<Tile>(
          [&] {
            Tile::multiply<kAK, kBK>(sums, stage(t), stage(t) + Tile::kOperandBytes);
            if (sums_rows) row_sums.add(stage(t));
          },
          [&] { load(t + Tile::kStages - 1); });
    Tile::scale(sums, last ? p.factors[f].scale : p.factors[f].scale / p.factors[f + 1].scale);
  }

  wait_copies<0>();
  __syncthreads();
  float* staged = reinterpret_cast<float*>(shared);
  if (sums_rows) row_sums.store(p, batch, row0, staged);
  // Through shared memory, so that each row is stored in whole sectors.
  each_pair<Tile>(sums, [&](int row, int j, float x, float y) {
    *reinterpret_cast<float2*>(staged + row * Tile::kStagedRow + Tile::column_of(j)) = make_float2(x, y);
  });
  __syncthreads();
  store_tile<bf16, kAK, kBK, Tile::kSize>(p, batch, staged, Tile::kStagedRow, row0, column0);
#endif
}

ProductKernel* wgmma_kernel(const Product& p) {
  return with_constant(p.a_k_contiguous, [&]<bool kAK>(Truth<kAK>) {
    return with_constant(p.b_k_contiguous, []<bool kBK>(Truth<kBK>) {
      return kernel_of<gemm_wgmma<kAK, kBK>, WgmmaTile<>::kThreads>("gemm_wgmma", kAK, kBK);
    });
  });
}

}  // namespace sffn::cuda
