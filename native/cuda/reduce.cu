// Sums, means, maxima and their places over the middle dimension of [outer, extent, inner], in f64: where large numbers
// cancel, the small ones stay right. A long extent is cut into pieces that depend on sizes alone, and their results are
// joined in order: the same bits on every device.
#include "reduce.cuh"

#include "rows.cuh"

namespace sffn::cuda {
namespace {

struct SumOf {
  static __device__ double initial() { return 0; }
  static __device__ double join(double a, double b) { return a + b; }
};
// A NaN is kept.
struct MaxOf {
  static __device__ double initial() { return -INFINITY; }
  static __device__ double join(double a, double b) { return b > a || b != b ? b : a; }
};

template <class T>
__device__ double to_double(T x) {
  if constexpr (std::is_same_v<T, double>)
    return x;
  else
    return to_float(x);
}
template <class T>
__device__ T from_double(double x) {
  if constexpr (std::is_same_v<T, double>)
    return x;
  else
    return from_float<T>(static_cast<float>(x));
}

// inner = 1: a block for each piece of a row; result [rows, pieces].
template <class Op, class From, class To, int N>
__global__ void __launch_bounds__(kRowThreads) reduce_rows_kernel(const From* x, To* y, int64_t rows, int64_t extent,
                                                                  int64_t piece, int64_t pieces, double scale) {
  for (int64_t task = blockIdx.x; task < rows * pieces; task += gridDim.x) {
    const int64_t first = task % pieces * piece;
    const From* from = x + task / pieces * extent + first;
    double own = Op::initial();
    for_packs<N>(min(piece, extent - first), [&](int64_t i) {
      const auto pack = *reinterpret_cast<const Pack<From, N>*>(from + i);
#pragma unroll
      for (int k = 0; k < N; ++k) own = Op::join(own, to_double(pack.value[k]));
    });
    own = block_join(own, Op::initial(), [](double a, double b) { return Op::join(a, b); });
    if (threadIdx.x == 0) y[task] = from_double<To>(own * scale);
  }
}

constexpr int kColumns = 32, kLines = 8;  // a block: columns x lines, which share the extent

// A block for each piece of 32 columns; result [outer, pieces, inner].
template <class Op, class From, class To>
__global__ void __launch_bounds__(kColumns* kLines)
    reduce_columns_kernel(const From* x, To* y, int64_t outer, int64_t extent, int64_t inner, int64_t piece,
                          int64_t pieces, double scale) {
  __shared__ double parts[kLines][kColumns];
  const int64_t strips = (inner + kColumns - 1) / kColumns;
  for (int64_t task = blockIdx.x; task < outer * pieces * strips; task += gridDim.x) {
    const int64_t part = task / strips, column = task % strips * kColumns + threadIdx.x;
    const int64_t first = part % pieces * piece, last = min(first + piece, extent);
    const From* from = x + part / pieces * extent * inner + column;
    double own = Op::initial();
    if (column < inner)
      for (int64_t j = first + threadIdx.y; j < last; j += kLines) own = Op::join(own, to_double(from[j * inner]));
    parts[threadIdx.y][threadIdx.x] = own;
    __syncthreads();
    if (threadIdx.y == 0 && column < inner) {
      for (int line = 1; line < kLines; ++line) own = Op::join(own, parts[line][threadIdx.x]);
      y[part * inner + column] = from_double<To>(own * scale);
    }
    __syncthreads();
  }
}

template <class Op, class From, class To>
void launch_pieces(const From* x, To* y, int64_t outer, int64_t extent, int64_t inner, int64_t piece, int64_t pieces,
                   double scale) {
  if (inner == 1) {
    dispatch_width<From>(extent, {x}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      reduce_rows_kernel<Op, From, To, N>
          <<<row_blocks(outer * pieces), row_threads(std::min(piece, extent) / N), 0, stream()>>>(x, y, outer, extent,
                                                                                                  piece, pieces, scale);
    });
  } else {
    const int64_t tasks = outer * pieces * ceil_div(inner, kColumns);
    reduce_columns_kernel<Op>
        <<<row_blocks(tasks), dim3(kColumns, kLines), 0, stream()>>>(x, y, outer, extent, inner, piece, pieces, scale);
  }
}

template <class Op, class From, class To>
void reduce_with(const From* x, To* y, int64_t outer, int64_t extent, int64_t inner, double scale) {
  if (outer * inner == 0) return;
  constexpr int64_t kRowPiece = 8192, kColumnPiece = 256;
  const int64_t piece = inner == 1 ? kRowPiece : kColumnPiece;
  const int64_t pieces = std::max<int64_t>(1, ceil_div(extent, piece));
  if (pieces == 1) return launch_pieces<Op>(x, y, outer, extent, inner, piece, pieces, scale);
  const Workspace<double> partial(outer * pieces * inner);
  launch_pieces<Op>(x, partial.get(), outer, extent, inner, piece, pieces, 1);
  reduce_with<Op>(static_cast<const double*>(partial.get()), y, outer, pieces, inner, scale);
}

// value and place of the best so far; a NaN counts as the largest, and the first of equals wins.
struct Best {
  float value;
  int64_t place;

  __device__ void take(float other, int64_t at) {
    const bool nan = value != value, other_nan = other != other;
    const bool better = other_nan ? !nan : other > value;
    const bool equal = nan && other_nan ? true : other == value;
    if (better || (equal && at < place)) {
      value = other;
      place = at;
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    argmax_rows_kernel(const T* x, int* index, int64_t rows, int64_t extent) {
  __shared__ Best parts[kRowThreads / kWarp];
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* from = x + r * extent;
    Best best{to_float(from[0]), 0};
    for (int64_t j = threadIdx.x; j < extent; j += blockDim.x) best.take(to_float(from[j]), j);
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      const float value = __shfl_xor_sync(kAllLanes, best.value, offset);
      best.take(value, __shfl_xor_sync(kAllLanes, best.place, offset));
    }
    if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int w = 1; w < static_cast<int>(blockDim.x) / kWarp; ++w) best.take(parts[w].value, parts[w].place);
      index[r] = static_cast<int>(best.place);
    }
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    argmax_columns_kernel(const T* x, int* index, int64_t outer, int64_t extent, int64_t inner) {
  for (int64_t task = first_item(); task < outer * inner; task += item_stride()) {
    const T* from = x + task / inner * extent * inner + task % inner;
    Best best{to_float(from[0]), 0};
    for (int64_t j = 1; j < extent; ++j) best.take(to_float(from[j * inner]), j);
    index[task] = static_cast<int>(best.place);
  }
}

}  // namespace

void reduce(View x, View y, Reduction op, int64_t outer, int64_t extent, int64_t inner) {
  if (outer * inner == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* from = data_of<T>(x);
    if (op == Reduction::max)
      reduce_with<MaxOf>(from, data_of<T>(y), outer, extent, inner, 1);
    else
      reduce_with<SumOf>(from, data_of<T>(y), outer, extent, inner,
                         op == Reduction::mean ? 1.0 / static_cast<double>(extent) : 1.0);
  });
  check_launch("reduce");
}

void reduce_sum(const void* x, DType x_type, void* y, DType y_type, int64_t outer, int64_t extent, int64_t inner) {
  dispatch_float(x_type, [&](auto from) {
    dispatch_float(y_type, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      reduce_with<SumOf>(static_cast<const From*>(x), static_cast<To*>(y), outer, extent, inner, 1);
    });
  });
  check_launch("reduce_sum");
}

void argmax(View x, View index, int64_t outer, int64_t extent, int64_t inner) {
  if (outer * inner == 0) return;
  dispatch_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (inner == 1)
      argmax_rows_kernel<<<row_blocks(outer), row_threads(extent), 0, stream()>>>(data_of<T>(x), data_of<int>(index),
                                                                                  outer, extent);
    else
      argmax_columns_kernel<<<blocks_for(outer * inner), kThreads, 0, stream()>>>(data_of<T>(x), data_of<int>(index),
                                                                                  outer, extent, inner);
  });
  check_launch("argmax");
}

}  // namespace sffn::cuda
