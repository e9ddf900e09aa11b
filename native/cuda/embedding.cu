// Rows of a table by id, and the gradient of the table.
#include "rows.cuh"
#include "sort.cuh"

namespace sffn::cuda {
namespace {

// A copy of bits: Bits is 16 bytes, or one element. An id outside the table sets a fault and reads row 0.
template <class Bits>
__global__ void __launch_bounds__(kThreads)
    embedding_forward_kernel(const int* ids, const Bits* table, Bits* y, int64_t size, int64_t rows, int64_t row_size,
                             int* faults) {
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    const int64_t row = i / row_size;
    int id = ids[row];
    if (id < 0 || id >= rows) {
      atomicOr(faults, kIdOutOfRange);
      id = 0;
    }
    y[i] = table[id * row_size + (i - row * row_size)];
  }
}

// first[row] .. last[row] of the sorted keys belong to the row; rows without an id keep 0 .. 0.
__global__ void __launch_bounds__(kThreads)
    find_rows_kernel(const uint32_t* keys, uint32_t* first, uint32_t* last, int64_t n, int64_t rows, int* faults) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    const uint32_t key = keys[i];
    if (key == rows) {
      atomicOr(faults, kIdOutOfRange);
      continue;
    }
    if (i == 0 || keys[i - 1] != key) first[key] = static_cast<uint32_t>(i);
    if (i + 1 == n || keys[i + 1] != key) last[key] = static_cast<uint32_t>(i + 1);
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    sum_rows_kernel(const T* dy, const uint32_t* positions, const uint32_t* first, const uint32_t* last, T* dtable,
                    int64_t rows, int64_t features) {
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x)
    for_packs<N>(features, [&](int64_t i) {
      float total[N] = {};
#pragma unroll 4
      for (uint32_t p = first[r]; p < last[r]; ++p) {
        float value[N];
        load_pack<N>(dy + positions[p] * features + i, value);
#pragma unroll
        for (int k = 0; k < N; ++k) total[k] += value[k];
      }
      store_pack<N>(dtable + r * features + i, total);
    });
}

}  // namespace

void embedding_forward(View ids, View table, View y, int64_t n, int64_t rows, int64_t features) {
  if (n * features == 0) return;
  if (rows == 0) throw Error("ERR_RANGE", "embedding: an id for a table without rows");
  const auto launch = [&](auto bits, int64_t row_size) {
    using Bits = decltype(bits);
    embedding_forward_kernel<Bits><<<blocks_for(n * row_size), kThreads, 0, stream()>>>(
        data_of<int>(ids), data_of<Bits>(table), data_of<Bits>(y), n * row_size, rows, row_size, fault_flags());
  };
  const int64_t row_bytes = features * static_cast<int64_t>(size_of(y.dtype));
  if (row_bytes % 16 == 0 && aligned(table.data, 16) && aligned(y.data, 16))
    launch(uint4{}, row_bytes / 16);
  else if (size_of(y.dtype) == 2)
    launch(uint16_t{}, features);
  else
    launch(uint32_t{}, features);
  check_launch("embedding_forward");
}

void embedding_backward(View dy, View ids, View dtable, int64_t n, int64_t rows, int64_t features) {
  if (rows * features == 0) return;
  if (n >= int64_t{1} << 32) throw Error("ERR_SHAPE", "embedding: more than 2^32 ids");
  const Workspace<uint32_t> bounds(2 * rows);
  uint32_t *first = bounds.get(), *last = first + rows;
  check(cudaMemsetAsync(first, 0, static_cast<size_t>(2 * rows) * sizeof(uint32_t), stream()), "embedding_backward");
  SortedIds sorted;
  if (n > 0) {
    sorted = sort_ids(data_of<int>(ids), n, rows);
    find_rows_kernel<<<blocks_for(n), kThreads, 0, stream()>>>(sorted.keys.get(), first, last, n, rows, fault_flags());
  }
  dispatch_float(dtable.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {dy.data, dtable.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      sum_rows_kernel<T, N><<<row_blocks(rows), row_threads(features / N), 0, stream()>>>(
          data_of<T>(dy), sorted.positions.get(), first, last, data_of<T>(dtable), rows, features);
    });
  });
  check_launch("embedding_backward");
}

}  // namespace sffn::cuda
