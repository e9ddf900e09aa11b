// The operands of attention as its kernels want them: rotated, padded, aligned.
#pragma once

#include "attention_tiles.cuh"

namespace sffn::cuda {

struct AttentionSizes {
  int64_t batch, seq, heads, kv_heads, head_size;

  __host__ __device__ int64_t width() const { return (heads + 2 * kv_heads) * head_size; }  // of a token in qkv
  __host__ __device__ int64_t group() const { return heads / kv_heads; }
};

// cos and sin of every position and pair, [seq, 2, half]; half 0: no rotation.
struct Rotary {
  const float* table;
  int half;
};
// The turns of N neighbouring pairs at a position.
template <int N>
__device__ inline void load_turns(const Rotary& rotary, int64_t position, int pair, float (&cosine)[N],
                                  float (&sine)[N]) {
  const float* row = rotary.table + 2 * position * rotary.half;
  load_pack<N>(row + pair, cosine);
  load_pack<N>(row + rotary.half + pair, sine);
}

struct RotaryTable {
  Workspace<float> memory;
  Rotary rotary{nullptr, 0};
  RotaryTable(int64_t seq, int64_t head_size, double base);
};

// Heads, and the memory that they lie in unless they are read where they were.
template <class T>
struct PackedHeads {
  Workspace<T> memory;
  Heads<T> heads;
};

// `count` heads from column `first` of rows of `width` elements, [batch, seq, width], padded to D columns.
template <class T>
PackedHeads<T> pack_heads(const T* rows, int64_t width, int64_t first, int64_t count, int64_t padded, Rotary rotary,
                          const AttentionSizes& sizes);

// Calls body(std::integral_constant<int, D>{}) with the padded head size.
template <class Body>
void dispatch_head(int64_t head_size, Body&& body) {
  if (head_size <= 32) return body(std::integral_constant<int, 32>{});
  if (head_size <= 64) return body(std::integral_constant<int, 64>{});
  if (head_size <= 128) return body(std::integral_constant<int, 128>{});
  if (head_size <= 256) return body(std::integral_constant<int, 256>{});
  throw Error("ERR_OPTION", "causalAttention: head sizes above 256 are not supported on device 'cuda'");
}

template <class Kernel>
void allow_shared_memory(Kernel kernel, int bytes) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), "reserving shared memory");
}

}  // namespace sffn::cuda
