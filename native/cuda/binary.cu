// Elementwise kernels of two operands, with broadcasting.
#include <algorithm>

#include "pack.cuh"
#include "strides.cuh"

namespace sffn::cuda {
namespace {

__device__ float splat(float value) { return value; }
__device__ float power(float a, float b) { return powf(a, b); }

__device__ float apply_binary(BinaryOp op, float a, float b) {
  switch (op) {
#define BINARY(name, value) \
  case BinaryOp::name:      \
    return value;
#include "../codes.def"
  }
  return a;
}

// N neighbours in the innermost dimension, where the operand is contiguous or repeats one element.
template <int N, class T>
__device__ void load_inner(const T* from, bool repeated, float (&to)[N]) {
  if (repeated) {
    const float value = to_float(*from);
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = value;
  } else {
    load_pack<N>(from, to);
  }
}

template <class T, int N, class Index>
__global__ void __launch_bounds__(kThreads)
    binary_kernel(const T* a, const T* b, T* y, int64_t packs, BinaryOp op, const __grid_constant__ Strided<2> shape) {
  const int last = shape.rank - 1;
  const bool a_repeats = shape.stride[0][last] == 0, b_repeats = shape.stride[1][last] == 0;
  for (int64_t i = first_item(); i < packs; i += item_stride()) {
    int64_t offset[2];
    locate(shape, static_cast<Index>(i * N), offset);
    float left[N], right[N];
    load_inner<N>(a + offset[0], a_repeats, left);
    load_inner<N>(b + offset[1], b_repeats, right);
#pragma unroll
    for (int k = 0; k < N; ++k) left[k] = apply_binary(op, left[k], right[k]);
    store_pack<N>(y + i * N, left);
  }
}

// Whether every pack of `width` neighbours lies in one inner row of each operand, aligned if its address is.
bool packs_fit(const Strided<2>& shape, int64_t width) {
  const int last = shape.rank - 1;
  if (shape.size[last] % width != 0) return false;
  for (const auto& strides : shape.stride) {
    if (strides[last] != 0 && strides[last] != 1) return false;
    if (strides[last] == 1 && std::any_of(strides, strides + last, [&](int64_t s) { return s % width != 0; }))
      return false;
  }
  return true;
}

}  // namespace

void binary(View a, View b, View y, BinaryOp op, Ints dims, Ints a_strides, Ints b_strides) {
  if (y.size == 0) return;
  const Strided<2> shape(dims, {a_strides, b_strides});
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    const bool fit = packs_fit(shape, 16 / sizeof(T));
    dispatch_width<T>(fit ? y.size : 1, {a.data, b.data, y.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      dispatch_index(y.size, [&](auto index) {
        binary_kernel<T, N, decltype(index)><<<blocks_for(y.size / N), kThreads, 0, stream()>>>(
            data_of<T>(a), data_of<T>(b), data_of<T>(y), y.size / N, op, shape);
      });
    });
  });
  check_launch("binary");
}

}  // namespace sffn::cuda
