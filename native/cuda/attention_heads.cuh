// The operands of attention as its kernels need them: rotated, padded, aligned.
#pragma once

#include "attention_tiles.cuh"
#include "rotary.cuh"

namespace sffn::cuda {

struct AttentionSizes {
  int64_t batch, seq, heads, kv_heads, head_size;

  __host__ __device__ int64_t slots() const { return heads + 2 * kv_heads; }  // heads of a token in qkv
  __host__ __device__ int64_t width() const { return slots() * head_size; }
  __host__ __device__ int64_t group() const { return heads / kv_heads; }
};

// Two packs of N columns of one row of a head. Where the head is rotated, they are the pairs from `pair` on; else two
// packs that no other call has, with zeros for the columns between head_size and `padded`. Calls store(column, values)
// for each.
template <int N, class T, class Store>
__device__ inline void for_turned(const T* row, int pair, int padded, int head_size, int64_t position,
                                  const Rotary& rotary, Store store) {
  const bool turned = pair < rotary.half;
  const int columns[2] = {turned ? pair : padded / 2 + pair, rotary.half + pair};
  float value[2][N] = {};
#pragma unroll
  for (int e = 0; e < 2; ++e)
    if (columns[e] < head_size) load_pack<N>(row + columns[e], value[e]);
  if (turned) {
    float cosine[N], sine[N];
    load_turns(rotary, position, pair, cosine, sine);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float first = value[0][k], second = value[1][k];
      value[0][k] = first * cosine[k] - second * sine[k];
      value[1][k] = second * cosine[k] + first * sine[k];
    }
  }
#pragma unroll
  for (int e = 0; e < 2; ++e) store(columns[e], value[e]);
}

// Neighbouring pairs that are rotated together: their cosines are 16 bytes.
constexpr int kTurnedPack = 4;
// Whether this many columns of heads of `rows` can be read at once.
template <class T>
bool has_turned_packs(const T* rows, const Rotary& rotary, const AttentionSizes& sizes) {
  return sizes.head_size % kTurnedPack == 0 && rotary.half % kTurnedPack == 0 && aligned(rows, kTurnedPack * sizeof(T));
}

// As load_tile, but rotated, padded and at any address. The data passes through registers and is complete after a
// barrier of all threads. Indexed by packs, for the same reason as store_rows by runs.
template <class T, int D, int ROWS, int N>
__device__ inline void load_turned(T* tile, const T* head, int64_t row_step, int first, int seq, int head_size,
                                   const Rotary& rotary) {
  using Shape = Tile<T, D>;
  constexpr int kPairs = D / 2 / N;
  auto* packs = reinterpret_cast<Pack<T, N>*>(tile);
  for (int i = threadIdx.x; i < ROWS * kPairs; i += Shape::kThreads) {
    const int row = spread_row<D / 2 * int{sizeof(T)}>(i / kPairs), pair = i % kPairs * N;
    const bool inside = first + row < seq;
    const int64_t position = inside ? first + row : 0;
    for_turned<N>(head + position * row_step, pair, D, inside ? head_size : 0, position, rotary,
                  [&](int column, const float(&value)[N]) {
                    store_pack<N>(packs[row * (Shape::kStride / N) + column / N].value, value);
                  });
  }
}

// Rows of `slots` heads, [batch, seq, slots, head_size], padded to D columns. Heads from slot `first` on are copied, in
// one launch, unless they can be read in place. Heads before slot `turned` are copied with their rotary positions.
template <class T>
class PackedHeads {
 public:
  PackedHeads(const T* rows, int64_t slots, int64_t first, int64_t turned, int64_t padded, const Rotary& rotary,
              const AttentionSizes& sizes);
  // The heads from this slot on.
  Heads<T> from(int64_t slot) const;

 private:
  const T* rows_;
  int64_t slots_, first_, end_, padded_;
  AttentionSizes sizes_;
  Workspace<T> packed_;
};

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
