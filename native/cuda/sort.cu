// A stable radix sort, 8 bits at a time from the lowest. Each warp has a tile of the input: it counts the digits of its
// tile, a scan over all tiles says where each digit of each tile begins, and the warp moves its tile there in order.
#include "sort.cuh"

#include "rows.cuh"

namespace sffn::cuda {
namespace {

constexpr int kDigits = 256, kDigitBits = 8;
constexpr int64_t kTileIds = 512;

__global__ void __launch_bounds__(kThreads)
    make_keys_kernel(const int* ids, uint32_t* keys, uint32_t* positions, int64_t n, int64_t rows) {
  for (int64_t i = first_item(); i < n; i += item_stride()) {
    keys[i] = ids[i] >= 0 && ids[i] < rows ? ids[i] : static_cast<uint32_t>(rows);
    positions[i] = static_cast<uint32_t>(i);
  }
}

// Calls body(element, digit, is inside) for 32 elements of the tile at a time; all lanes take part.
template <class Body>
__device__ void for_tile(const uint32_t* keys, int64_t n, int shift, Body body) {
  const int64_t first = blockIdx.x * kTileIds, last = min(first + kTileIds, n);
  for (int64_t from = first; from < last; from += kWarp) {
    const int64_t i = from + threadIdx.x;
    const bool inside = i < last;
    body(i, inside ? keys[i] >> shift & (kDigits - 1) : kDigits, inside);
  }
}

__device__ unsigned lower_lanes() { return (1u << threadIdx.x) - 1; }

// counts [kDigits, tiles].
__global__ void __launch_bounds__(kWarp)
    count_digits_kernel(const uint32_t* keys, uint32_t* counts, int64_t n, int shift) {
  __shared__ uint32_t own[kDigits + 1];
  for (int d = threadIdx.x; d <= kDigits; d += kWarp) own[d] = 0;
  __syncwarp();
  for_tile(keys, n, shift, [&](int64_t, uint32_t digit, bool) {
    const unsigned same = __match_any_sync(kAllLanes, digit);
    if ((same & lower_lanes()) == 0) own[digit] += __popc(same);
    __syncwarp();
  });
  for (int d = threadIdx.x; d < kDigits; d += kWarp) counts[d * int64_t{gridDim.x} + blockIdx.x] = own[d];
}

// One block: each element becomes the sum of those before it.
__global__ void __launch_bounds__(kThreads) scan_kernel(uint32_t* counts, int64_t size) {
  __shared__ uint32_t totals[kThreads];
  const int64_t share = (size + kThreads - 1) / kThreads;
  const int64_t first = min(share * threadIdx.x, size), last = min(first + share, size);
  uint32_t total = 0;
  for (int64_t i = first; i < last; ++i) total += counts[i];
  totals[threadIdx.x] = total;
  for (int step = 1; step < kThreads; step *= 2) {
    __syncthreads();
    const uint32_t before = static_cast<int>(threadIdx.x) >= step ? totals[threadIdx.x - step] : 0;
    __syncthreads();
    totals[threadIdx.x] += before;
  }
  uint32_t at = totals[threadIdx.x] - total;
  for (int64_t i = first; i < last; ++i) {
    const uint32_t count = counts[i];
    counts[i] = at;
    at += count;
  }
}

__global__ void __launch_bounds__(kWarp)
    move_digits_kernel(const uint32_t* keys, const uint32_t* positions, uint32_t* to_keys, uint32_t* to_positions,
                       const uint32_t* starts, int64_t n, int shift) {
  __shared__ uint32_t next[kDigits + 1];
  for (int d = threadIdx.x; d < kDigits; d += kWarp) next[d] = starts[d * int64_t{gridDim.x} + blockIdx.x];
  if (threadIdx.x == 0) next[kDigits] = 0;
  __syncwarp();
  for_tile(keys, n, shift, [&](int64_t i, uint32_t digit, bool inside) {
    const unsigned same = __match_any_sync(kAllLanes, digit);
    const uint32_t to = next[digit] + __popc(same & lower_lanes());
    __syncwarp();
    if ((same & lower_lanes()) == 0) next[digit] += __popc(same);
    __syncwarp();
    if (!inside) return;
    to_keys[to] = keys[i];
    to_positions[to] = positions[i];
  });
}

}  // namespace

SortedIds sort_ids(const int* ids, int64_t n, int64_t rows) {
  SortedIds from{Workspace<uint32_t>(n), Workspace<uint32_t>(n)}, to{Workspace<uint32_t>(n), Workspace<uint32_t>(n)};
  make_keys_kernel<<<blocks_for(n), kThreads, 0, stream()>>>(ids, from.keys.get(), from.positions.get(), n, rows);
  const unsigned tiles = static_cast<unsigned>(ceil_div(n, kTileIds));
  const Workspace<uint32_t> counts(int64_t{kDigits} * tiles);
  for (int shift = 0; shift == 0 || rows >> shift > 0; shift += kDigitBits) {
    count_digits_kernel<<<tiles, kWarp, 0, stream()>>>(from.keys.get(), counts.get(), n, shift);
    scan_kernel<<<1, kThreads, 0, stream()>>>(counts.get(), int64_t{kDigits} * tiles);
    move_digits_kernel<<<tiles, kWarp, 0, stream()>>>(from.keys.get(), from.positions.get(), to.keys.get(),
                                                      to.positions.get(), counts.get(), n, shift);
    std::swap(from, to);
  }
  check_launch("sorting ids");
  return from;
}

}  // namespace sffn::cuda
