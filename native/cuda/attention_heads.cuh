// The operands of attention as its kernels want them: rotated, padded, aligned.
#pragma once

#include "attention_tiles.cuh"
#include "rotary.cuh"

namespace sffn::cuda {

struct AttentionSizes {
  int64_t batch, seq, heads, kv_heads, head_size;

  __host__ __device__ int64_t width() const { return (heads + 2 * kv_heads) * head_size; }  // of a token in qkv
  __host__ __device__ int64_t group() const { return heads / kv_heads; }
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
