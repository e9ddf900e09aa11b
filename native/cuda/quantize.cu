// Weights of fewer bits: the arithmetic of native/cpu/quantize.inl, bit for bit.
#include "rows.cuh"

namespace sffn::cuda {
namespace {

constexpr float kMostInt8 = 127.f;

__global__ void __launch_bounds__(kRowThreads)
    quantize_kernel(const float* x, int8_t* y, float* scales, int64_t rows, int64_t columns) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float* from = x + row * columns;
    float largest = 0.f, wrong = 0.f;
    for_packs<1>(columns, [&](int64_t i) {
      largest = fmaxf(largest, fabsf(from[i]));
      wrong += from[i] * 0.f;  // NaN for what is not finite
    });
    const float scale = block_max(largest) / kMostInt8 + block_sum(wrong), inverse = scale > 0.f ? 1.f / scale : 0.f;
    if (threadIdx.x == 0) scales[row] = scale;
    for_packs<1>(columns, [&](int64_t i) {
      y[row * columns + i] = static_cast<int8_t>(fminf(fmaxf(rintf(from[i] * inverse), -kMostInt8), kMostInt8));
    });
  }
}

template <class W>
__global__ void __launch_bounds__(kThreads)
    dequantize_kernel(const W* x, const float* scales, float* y, int64_t size, int64_t columns) {
  for (int64_t i = first_item(); i < size; i += item_stride())
    y[i] = static_cast<float>(x[i]) * (scales ? scales[i / columns] : 1.f);
}

}  // namespace

void quantize(View x, View y, View scales, int64_t rows, int64_t columns) {
  if (rows == 0) return;
  quantize_kernel<<<row_blocks(rows), row_threads(columns), 0, stream()>>>(x.f32(), y.i8(), scales.f32(), rows,
                                                                           columns);
  check_launch("quantize");
}

void dequantize(View x, View scales, View y, int64_t rows, int64_t columns) {
  const int64_t size = rows * columns;
  if (size == 0) return;
  if (x.dtype == DType::bf16)
    dequantize_kernel<<<blocks_for(size), kThreads, 0, stream()>>>(data_of<bf16>(x), nullptr, y.f32(), size, columns);
  else
    dequantize_kernel<<<blocks_for(size), kThreads, 0, stream()>>>(x.i8(), scales.f32(), y.f32(), size, columns);
  check_launch("dequantize");
}

}  // namespace sffn::cuda
