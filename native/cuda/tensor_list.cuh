// Many tensors in one launch. Their addresses are kernel parameters, so that nothing is copied to the device first and
// nothing must outlive the call.
#pragma once

#include "pack.cuh"

namespace sffn::cuda {

// Tensors of one launch: Entry (addresses) and size of each; each is cut into pieces of kPiece elements, one to a
// block.
template <class Entry>
struct TensorList {
  static constexpr int kTensors = 48;  // 48 entries of up to 6 addresses fit in the 4 KiB of parameters
  static constexpr int64_t kPiece = 8192;

  Entry entries[kTensors];
  int64_t sizes[kTensors];
  int first_piece[kTensors + 1];
  int count = 0;

  void add(const Entry& entry, int64_t size) {
    if (count == 0) first_piece[0] = 0;
    entries[count] = entry;
    sizes[count] = size;
    first_piece[count + 1] = first_piece[count] + static_cast<int>(ceil_div(size, kPiece));
    ++count;
  }
  int pieces() const { return count > 0 ? first_piece[count] : 0; }

  // The tensor of this block's piece, and the piece's first element.
  __device__ int find(int64_t& begin) const {
    int tensor = 0;
    while (static_cast<int>(blockIdx.x) >= first_piece[tensor + 1]) ++tensor;
    begin = (static_cast<int>(blockIdx.x) - first_piece[tensor]) * kPiece;
    return tensor;
  }
};

// Calls launch(list) for lists of all tensors 0 .. count-1; entry_of(t) and size_of(t) describe one. Empty tensors are
// left out. A list never has more than 2^31 pieces.
template <class Entry, class EntryOf, class SizeOf, class Launch>
void for_tensor_lists(size_t count, EntryOf entry_of, SizeOf size_of, Launch launch) {
  TensorList<Entry> list;
  for (size_t t = 0; t < count; ++t) {
    if (size_of(t) > 0) list.add(entry_of(t), size_of(t));
    if (list.count == 0 || (list.count < list.kTensors && t + 1 < count)) continue;
    launch(list);
    list = {};
  }
}

}  // namespace sffn::cuda
