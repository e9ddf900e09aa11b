// Copies between a contiguous tensor and a strided one: transpose, slice, expand, and their reverse. Elements are moved
// as bits of their size, so that no pattern changes on the way.
#include <vector>

#include "pack.cuh"
#include "reduce.cuh"
#include "strides.cuh"

namespace sffn::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;

template <class Bits, class Index, bool Write>
__global__ void __launch_bounds__(kThreads)
    move_kernel(Bits* strided, Bits* contiguous, int64_t size, const __grid_constant__ Strided<2> shape) {
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    int64_t offset[2];
    locate(shape, static_cast<Index>(i), offset);
    if (Write)
      strided[offset[0]] = contiguous[offset[1]];
    else
      contiguous[offset[1]] = strided[offset[0]];
  }
}

// A matrix whose rows are contiguous on one side and whose columns are on the other: rows x columns of them for each
// position of `others`. Steps: from row to row of the contiguous side, from column to column of the strided side.
struct Transpose {
  int64_t rows, columns, row_step, column_step, matrices;
};

// Tiles go through shared memory, so that both sides are touched along their own rows. The odd row length keeps both
// directions free of bank conflicts.
template <class Bits, bool Write>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(Bits* strided, Bits* contiguous, Transpose matrix, const __grid_constant__ Strided<2> others) {
  __shared__ Bits tile[kTile][kTile + 1];
  const int64_t row_tiles = (matrix.rows + kTile - 1) / kTile, column_tiles = (matrix.columns + kTile - 1) / kTile;
  const int64_t tiles = row_tiles * column_tiles * matrix.matrices;
  for (int64_t task = blockIdx.x; task < tiles; task += gridDim.x) {
    const int64_t column = task % column_tiles * kTile, row = task / column_tiles % row_tiles * kTile;
    int64_t offset[2];
    locate(others, static_cast<uint64_t>(task / column_tiles / row_tiles), offset);
    // First for the contiguous side, then for the strided one: threadIdx.x runs along the contiguous direction.
    const auto along_columns = [&](auto body) {
      for (int i = threadIdx.y; i < kTile; i += kTileRows)
        if (row + i < matrix.rows && column + threadIdx.x < matrix.columns)
          body(tile[i][threadIdx.x], contiguous[offset[1] + (row + i) * matrix.row_step + column + threadIdx.x]);
    };
    const auto along_rows = [&](auto body) {
      for (int i = threadIdx.y; i < kTile; i += kTileRows)
        if (row + threadIdx.x < matrix.rows && column + i < matrix.columns)
          body(tile[threadIdx.x][i], strided[offset[0] + row + threadIdx.x + (column + i) * matrix.column_step]);
    };
    const auto load = [](Bits& shared, Bits& global) { shared = global; };
    const auto store = [](Bits& shared, Bits& global) { global = shared; };
    if (Write)
      along_columns(load);
    else
      along_rows(load);
    __syncthreads();
    if (Write)
      along_rows(store);
    else
      along_columns(store);
    __syncthreads();
  }
}

template <class Bits, bool Write>
void move(Bits* strided, Bits* contiguous, const Strided<2>& shape, int64_t size) {
  const int last = shape.rank - 1;
  int across = -1;  // the dimension in which the strided side is contiguous
  for (int d = 0; d < last; ++d)
    if (shape.stride[0][d] == 1) across = d;
  if (across < 0 || shape.inner_stride(0) == 1 || shape.inner() < 4) {
    dispatch_index(size, [&](auto index) {
      move_kernel<Bits, decltype(index), Write>
          <<<blocks_for(size), kThreads, 0, stream()>>>(strided, contiguous, size, shape);
    });
    return;
  }
  Strided<2> others = shape;
  others.size[across] = others.size[last] = 1;
  const Transpose matrix{shape.size[across], shape.inner(), shape.stride[1][across], shape.inner_stride(0),
                         others.count()};
  const int64_t tiles = ceil_div(matrix.rows, kTile) * ceil_div(matrix.columns, kTile) * matrix.matrices;
  transpose_kernel<Bits, Write>
      <<<static_cast<unsigned>(std::min<int64_t>(tiles, 1 << 30)), dim3(kTile, kTileRows), 0, stream()>>>(
          strided, contiguous, matrix, others);
}

template <bool Write>
void move_any(View strided, View contiguous, int64_t offset, Ints dims, Ints strides) {
  const Strided<2> shape = strided_pair(dims, strides);
  const auto move_bits = [&](auto bits) {
    using Bits = decltype(bits);
    move<Bits, Write>(data_of<Bits>(strided) + offset, data_of<Bits>(contiguous), shape, contiguous.size);
  };
  switch (size_of(contiguous.dtype)) {
    case 1:
      return move_bits(uint8_t{});
    case 2:
      return move_bits(uint16_t{});
    default:
      return move_bits(uint32_t{});
  }
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    strided_add_kernel(const From* from, To* acc, int64_t size, const __grid_constant__ Strided<2> shape) {
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    int64_t offset[2];
    locate(shape, static_cast<uint64_t>(i), offset);
    acc[offset[0]] = from_float<To>(to_float(acc[offset[0]]) + to_float(from[offset[1]]));
  }
}

}  // namespace

void strided_copy(View x, View y, int64_t offset, Ints dims, Ints strides) {
  if (y.size > 0) move_any<false>(x, y, offset, dims, strides);
  check_launch("strided_copy");
}

void strided_write(View y, View x, int64_t offset, Ints dims, Ints strides) {
  if (y.size > 0) move_any<true>(x, y, offset, dims, strides);
  check_launch("strided_write");
}

// Dimensions of stride 0 send several elements to one place (the gradient of a broadcast): they are summed first, one
// run of such dimensions after the other, in f32.
void strided_add(View y, View x, int64_t offset, Ints dims, Ints strides) {
  if (y.size == 0) return;
  std::vector<int32_t> kept_dims, kept_strides;
  Workspace<float> sums;
  const void* from = y.data;
  DType from_type = y.dtype;
  int64_t outer = 1, inner = y.size;
  for (size_t d = 0; d < dims.size();) {
    int64_t extent = 1;
    for (; d < dims.size() && strides[d] == 0; ++d) extent *= dims[d];
    inner /= extent;
    if (extent > 1) {
      Workspace<float> next(outer * inner);
      reduce_sum(from, from_type, next.get(), DType::f32, outer, extent, inner);
      sums = std::move(next);
      from = sums.get();
      from_type = DType::f32;
    }
    if (d == dims.size()) break;
    outer *= dims[d];
    inner /= dims[d];
    kept_dims.push_back(dims[d]);
    kept_strides.push_back(strides[d++]);
  }
  const Strided<2> shape = strided_pair(kept_dims, kept_strides);
  dispatch_float(from_type, [&](auto source) {
    dispatch_float(x.dtype, [&](auto target) {
      using From = decltype(source);
      using To = decltype(target);
      strided_add_kernel<<<blocks_for(outer), kThreads, 0, stream()>>>(static_cast<const From*>(from),
                                                                       data_of<To>(x) + offset, outer, shape);
    });
  });
  check_launch("strided_add");
}

}  // namespace sffn::cuda
