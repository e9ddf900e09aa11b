// The instructions that C++ cannot express. No other file contains inline PTX.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// Copies 16 bytes from global to shared memory asynchronously; only `bytes` of `from` are read, the rest is zero.
__device__ inline void copy_async(uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all but the latest `pending` groups of this thread's copies.
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// Four 8x8 matrices of 16-bit elements; lane 8i + j gives the address of row j of matrix i. `transposed` swaps the
// roles of rows and columns within each matrix.
template <bool transposed>
__device__ inline void load_matrices(uint32_t (&to)[4], uint32_t address) {
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

// c += a · b, 16x16 times 16x8 bf16 into f32.
__device__ inline void multiply_accumulate(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The nearest number with TF32's 10 bits of mantissa, ties away from zero.
__device__ inline float rounded_to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return __uint_as_float(bits);
}

// c += a · b, 16x8 times 8x8 TF32 into f32.
__device__ inline void multiply_accumulate_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// wgmma works asynchronously on operands in shared memory. Like copies, products come in groups that are waited for.
// Only then may their sums be read and their operands be written. Compute capability 9.0 alone has it.

// Makes this thread's view of shared memory visible to wgmma.
__device__ inline void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// To be called before products: makes the program's writes to the sums visible.
__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all but the latest `pending` groups of this thread's products.
template <int pending>
__device__ inline void wait_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
// Keeps the compiler from using a sum before the wait that precedes this.
__device__ inline void settle(float& sum) { asm volatile("" : "+f"(sum)); }

// c += a · b, 64x16 times 16 x kColumns bf16 into f32, by four warps together; c(i) is sum i of this thread. a and b
// describe matrices in shared memory. With kAMajor and kBMajor their rows are contiguous, otherwise their terms. Warp w
// has the rows from 16w on, laid out as in the fragments of multiply_accumulate.
template <int kColumns, bool kAMajor, bool kBMajor, class Sums>
__device__ inline void multiply_accumulate_async(Sums&& c, uint64_t a, uint64_t b) {
#define NAMES_8 "%0,%1,%2,%3,%4,%5,%6,%7"
#define NAMES_16 NAMES_8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define NAMES_32 NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES_64                                                             \
  NAMES_32                                                                   \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49" \
  ",%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define FOUR_SUMS(i) "+f"(c(i)), "+f"(c(i + 1)), "+f"(c(i + 2)), "+f"(c(i + 3))
#define SUMS_8 FOUR_SUMS(0), FOUR_SUMS(4)
#define SUMS_16 SUMS_8, FOUR_SUMS(8), FOUR_SUMS(12)
#define SUMS_32 SUMS_16, FOUR_SUMS(16), FOUR_SUMS(20), FOUR_SUMS(24), FOUR_SUMS(28)
#define SUMS_64                                                                                                     \
  SUMS_32, FOUR_SUMS(32), FOUR_SUMS(36), FOUR_SUMS(40), FOUR_SUMS(44), FOUR_SUMS(48), FOUR_SUMS(52), FOUR_SUMS(56), \
      FOUR_SUMS(60)
#define MULTIPLY(columns, names, operands, ...)                                                           \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32.bf16.bf16 {" names "}, " operands ";" \
               : __VA_ARGS__                                                                              \
               : "l"(a), "l"(b), "n"(int{kAMajor}), "n"(int{kBMajor}))
  static_assert(kColumns == 16 || kColumns == 32 || kColumns == 64 || kColumns == 128);
  if constexpr (kColumns == 16)
    MULTIPLY("16", NAMES_8, "%8, %9, 1, 1, 1, %10, %11", SUMS_8);
  else if constexpr (kColumns == 32)
    MULTIPLY("32", NAMES_16, "%16, %17, 1, 1, 1, %18, %19", SUMS_16);
  else if constexpr (kColumns == 64)
    MULTIPLY("64", NAMES_32, "%32, %33, 1, 1, 1, %34, %35", SUMS_32);
  else
    MULTIPLY("128", NAMES_64, "%64, %65, 1, 1, 1, %66, %67", SUMS_64);
#undef MULTIPLY
#undef SUMS_64
#undef SUMS_32
#undef SUMS_16
#undef SUMS_8
#undef FOUR_SUMS
#undef NAMES_64
#undef NAMES_32
#undef NAMES_16
#undef NAMES_8
}

}  // namespace sffn::cuda
