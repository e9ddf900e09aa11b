// The pass before attention: rotary positions are applied once here, and not again for every block of queries that
// meets a key; rows of any head size come out padded and aligned for 16-byte copies.
#include "attention_heads.cuh"

namespace sffn::cuda {
namespace {

// A thread has N columns of one row of the result [batch, count, seq, padded].
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    pack_heads_kernel(const T* rows, T* packed, int64_t packs, int64_t width, int64_t count, int64_t seq, int head_size,
                      int padded, Rotary rotary) {
  const int row_packs = padded / N;
  for (int64_t task = first_item(); task < packs; task += item_stride()) {
    const int64_t row = task / row_packs, position = row % seq, head = row / seq % count, batch = row / seq / count;
    const int column = static_cast<int>(task % row_packs) * N;
    const T* from = rows + (batch * seq + position) * width + head * head_size;
    float value[N] = {};
    if (column < head_size) {
      load_pack<N>(from + column, value);
      if (rotary.half > 0) {
        const bool second = column >= rotary.half;
        const int pair = second ? column - rotary.half : column;
        float other[N];
        load_pack<N>(from + (second ? pair : column + rotary.half), other);
        float cosine[N], sine[N];
        load_turns(rotary, position, pair, cosine, sine);
#pragma unroll
        for (int k = 0; k < N; ++k) value[k] = value[k] * cosine[k] + (second ? other[k] : -other[k]) * sine[k];
      }
    }
    store_pack<N>(packed + task * N, value);
  }
}

}  // namespace

template <class T>
PackedHeads<T> pack_heads(const T* rows, int64_t width, int64_t first, int64_t count, int64_t padded, Rotary rotary,
                          const AttentionSizes& sizes) {
  constexpr int64_t kPack = 16 / sizeof(T);
  const T* from = rows + first;
  const bool whole_packs = width % kPack == 0 && sizes.head_size % kPack == 0 && aligned(from, 16);
  if (rotary.half == 0 && sizes.head_size == padded && whole_packs)
    return {{}, {from, sizes.seq * width, sizes.head_size, width}};
  Workspace<T> packed(sizes.batch * count * sizes.seq * padded);
  const int64_t size = sizes.batch * count * sizes.seq * padded;
  const auto launch = [&](auto pack) {
    constexpr int N = decltype(pack)::value;
    pack_heads_kernel<T, N><<<blocks_for(size / N), kThreads, 0, stream()>>>(
        from, packed.get(), size / N, width, count, sizes.seq, static_cast<int>(sizes.head_size),
        static_cast<int>(padded), rotary);
  };
  if (whole_packs && rotary.half % kPack == 0)
    launch(std::integral_constant<int, kPack>{});
  else
    launch(std::integral_constant<int, 1>{});
  check_launch("attention: packing");
  const Heads<T> heads{packed.get(), count * sizes.seq * padded, sizes.seq * padded, padded};
  return {std::move(packed), heads};
}

template PackedHeads<float> pack_heads(const float*, int64_t, int64_t, int64_t, int64_t, Rotary, const AttentionSizes&);
template PackedHeads<bf16> pack_heads(const bf16*, int64_t, int64_t, int64_t, int64_t, Rotary, const AttentionSizes&);

}  // namespace sffn::cuda
