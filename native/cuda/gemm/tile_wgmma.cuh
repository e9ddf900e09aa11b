// C tiles by wgmma, the tensor-core instructions of compute capability 9.0. Each of two groups of four warps has 64
// rows of the tile. Both operands are read from shared memory while the program goes on. Only for bf16 operands that
// can be read 16 bytes at a time.
#pragma once

#include "tile_bf16.cuh"

namespace sffn::cuda {

// Compiled for any target without the instructions of compute capability 9.0, the kernels are empty and allow a single
// thread, so that the host can tell, and a launch would fail.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define SFFN_WGMMA_THREADS(threads) (threads)
#else
#define SFFN_WGMMA_THREADS(threads) 1
#endif

// wgmma's description of an operand that starts at `address`: it is 1024 bytes from eight of its lines to the next
// eight. Lines are rows where k is contiguous, else terms; then the step from 64 rows to the next 64 is needed too. The
// address of the first lines is a multiple of 1024.
__device__ inline uint64_t wgmma_descriptor(uint32_t address) {
  constexpr uint64_t kSwizzle128 = 1, kLines = 1024, kBlock = 64 * 64 * sizeof(bf16);
  return kSwizzle128 << 62 | kLines / 16 << 32 | kBlock / 16 << 16 | (address & 0x3ffff) / 16;
}

// Stages, copies and the staged tile are those of Bf16Tile. Its lines of 128 bytes with permuted chunks are wgmma's
// 128-byte swizzle: 64 terms of a row, or 64 rows of a term. An operand is blocks of 64 rows.
template <int kColumns = 128>
struct WgmmaTile : Bf16Tile<128, kColumns> {
  using Stages = Bf16Tile<128>;
  static constexpr bool kAsync = true;
  static constexpr int kSize = 128;
  static constexpr int kBlock = 64;
  static constexpr int kBlockBytes = kBlock * Stages::kDepth * 2;
  static constexpr int kTerms = 16;  // of an instruction

  using Sums = float[kColumns / 2];
  static constexpr int kRowsEach = 2, kFragmentsN = kColumns / 8;

  static __device__ int row_of(int i) { return threadIdx.x / kWarp * 16 + i * 8 + threadIdx.x % kWarp / 4; }
  static __device__ int column_of(int j) { return j * 8 + threadIdx.x % 4 * 2; }
  static __device__ float& sum_of(Sums& sums, int i, int j, int e) { return sums[j * 4 + i * 2 + e]; }

  static __device__ uint32_t place_in_term(int term, int chunk) {
    constexpr int kPerLine = kBlock / Stages::kChunk;
    return chunk / kPerLine * kBlockBytes + Stages::template place<false, kBlock>(term, chunk % kPerLine);
  }

  // Waits for the earlier sums.
  static __device__ void scale(Sums& sums, float factor) {
    wait_products<0>();
#pragma unroll
    for (float& sum : sums) {
      settle(sum);
      sum *= factor;
    }
  }

  template <bool kKContiguous, int kSpan = kSize>
  static __device__ void load(uint32_t to, const bf16* from, int64_t ld, int first, int rows, int k0, int k,
                              int half = 0) {
#pragma unroll
    for (int block = 0; block < kSpan / kBlock; ++block)
      Stages::template load<kKContiguous, true, kBlock>(to + block * kBlockBytes, from, ld, first + block * kBlock,
                                                        rows, k0, k, half);
  }
  template <bool kKContiguous>
  static __device__ void load_right(uint32_t to, const bf16* from, int64_t ld, int first, int rows, int k0, int k,
                                    int half = 0) {
    load<kKContiguous, kColumns>(to, from, ld, first, rows, k0, k, half);
  }

  // Begins to add the product of a stage to the sums.
  template <bool kAK, bool kBK>
  static __device__ void multiply(Sums& sums, uint32_t a_stage, uint32_t b_stage) {
    const uint64_t a = wgmma_descriptor(a_stage + threadIdx.x / (4 * kWarp) * kBlockBytes);
    const uint64_t b = wgmma_descriptor(b_stage);
    // From the terms of an instruction to the next ones, in units of 16 bytes.
    const auto step = [](bool k_contiguous) { return (k_contiguous ? kTerms * 2 : kTerms * kBlock * 2) / 16; };
    begin_products();
#pragma unroll
    for (int i = 0; i < Stages::kDepth / kTerms; ++i)
      multiply_accumulate_async<kColumns, !kAK, !kBK>([&](int sum) -> float& { return sums[sum]; }, a + i * step(kAK),
                                                      b + i * step(kBK));
    commit_products();
  }
};

}  // namespace sffn::cuda
