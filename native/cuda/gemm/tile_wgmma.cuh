// C tiles by wgmma, the tensor-core instructions of compute capability 9.0: 64 rows of the tile for each of two groups
// of four warps, with both operands read from shared memory while the program goes on. Only for bf16 operands that can
// be read 16 bytes at a time.
#pragma once

#include "tile_bf16.cuh"

namespace sffn::cuda {

// Stages, copies and the staged tile are those of Bf16Tile. Its lines of 128 bytes with exchanged chunks are what wgmma
// knows as the 128-byte swizzle: 64 terms of a row, or 64 rows of a term. An operand is two blocks of 64 rows.
struct WgmmaTile : Bf16Tile<128> {
  static constexpr int kSize = 128;
  static constexpr int kBlock = 64;
  static constexpr int kBlockBytes = kBlock * kDepth * 2;
  static constexpr int kTerms = 16;  // of an instruction

  using Sums = float[kSize / 2];

  // One block after the other: unrolled, the addresses take more registers than two blocks of threads leave each other.
  template <bool kKContiguous>
  static __device__ void load(uint32_t to, const bf16* from, int64_t ld, int first, int rows, int k0, int k,
                              int half = 0) {
#pragma unroll
    for (int block = 0; block < kSize / kBlock; ++block)
      Bf16Tile::load<kKContiguous, true, kBlock>(to + block * kBlockBytes, from, ld, first + block * kBlock, rows, k0,
                                                 k, half);
  }

  // What wgmma has to know of an operand from `address` on: 1024 bytes from eight of its lines to the next eight, which
  // are rows where k is contiguous and terms where it is not; then also the step from a block to the next. The address
  // of the first of them is a multiple of 1024.
  static __device__ uint64_t descriptor(uint32_t address) {
    constexpr uint64_t kSwizzle128 = 1, kLines = 1024;
    return kSwizzle128 << 62 | kLines / 16 << 32 | uint64_t{kBlockBytes / 16} << 16 | (address & 0x3ffff) / 16;
  }

  // Begins to add the product of a stage to the sums.
  template <bool kAK, bool kBK>
  static __device__ void multiply(Sums& sums, uint32_t a_stage, uint32_t b_stage) {
    const uint64_t a = descriptor(a_stage), b = descriptor(b_stage);
    // From the terms of an instruction to the next ones, in units of 16 bytes.
    const auto step = [](bool k_contiguous) { return (k_contiguous ? kTerms * 2 : kTerms * kBlock * 2) / 16; };
    begin_products();
#pragma unroll
    for (int i = 0; i < kDepth / kTerms; ++i)
      multiply_accumulate_async<!kAK, !kBK>(sums, a + i * step(kAK), b + i * step(kBK));
    commit_products();
  }
};

// The kernel for operands that lie like this; null where the device or this binary has none.
Kernel wgmma_kernel(bool a_k_contiguous, bool b_k_contiguous);

}  // namespace sffn::cuda
