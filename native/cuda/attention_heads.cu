// The pass before attention. Rows that many blocks of threads load are rotated here once, not once for each block. Rows
// of any head size come out padded and aligned for 16-byte copies.
#include "attention_heads.cuh"

namespace sffn::cuda {
namespace {

// A thread has two packs of N columns of one row of the result [batch, count, seq, padded].
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    pack_heads_kernel(const T* rows, T* packed, int64_t tasks, int64_t width, int64_t count, int64_t turned,
                      int64_t seq, int head_size, int padded, Rotary rotary) {
  const int row_tasks = padded / 2 / N;
  for (int64_t task = first_item(); task < tasks; task += item_stride()) {
    const int64_t row = task / row_tasks, position = row % seq, head = row / seq % count, batch = row / seq / count;
    const Rotary own{rotary.table, head < turned ? rotary.half : 0};
    for_turned<N>(rows + (batch * seq + position) * width + head * head_size, static_cast<int>(task % row_tasks) * N,
                  padded, head_size, position, own,
                  [&](int column, const float(&value)[N]) { store_pack<N>(packed + row * padded + column, value); });
  }
}

}  // namespace

template <class T>
PackedHeads<T>::PackedHeads(const T* rows, int64_t slots, int64_t first, int64_t turned, int64_t padded,
                            const Rotary& rotary, const AttentionSizes& sizes)
    : rows_(rows), slots_(slots), first_(first), end_(slots), padded_(padded), sizes_(sizes) {
  if (sizes.head_size == padded && aligned(rows, 16)) end_ = rotary.half > 0 ? turned : first;
  if (end_ <= first_) return;
  const int64_t count = end_ - first_, size = sizes.batch * count * sizes.seq * padded;
  packed_ = Workspace<T>(size);
  const auto launch = [&](auto pack) {
    constexpr int N = decltype(pack)::value;
    const int64_t tasks = size / (2 * N);
    pack_heads_kernel<T, N><<<blocks_for(tasks), kThreads, 0, stream()>>>(
        rows + first * sizes.head_size, packed_.get(), tasks, slots * sizes.head_size, count, turned - first, sizes.seq,
        static_cast<int>(sizes.head_size), static_cast<int>(padded), rotary);
  };
  if (has_turned_packs(rows, rotary, sizes))
    launch(std::integral_constant<int, kTurnedPack>{});
  else
    launch(std::integral_constant<int, 1>{});
  check_launch("attention: packing");
}

template <class T>
Heads<T> PackedHeads<T>::from(int64_t slot) const {
  if (slot < first_ || slot >= end_)
    return {rows_ + slot * sizes_.head_size, sizes_.seq * slots_ * sizes_.head_size, sizes_.head_size,
            slots_ * sizes_.head_size};
  const int64_t head = sizes_.seq * padded_;
  return {packed_.get() + (slot - first_) * head, (end_ - first_) * head, head, padded_};
}

template class PackedHeads<float>;
template class PackedHeads<bf16>;

}  // namespace sffn::cuda
