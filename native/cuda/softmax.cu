// Softmax and log-softmax over rows: the formulas of native/cpu/softmax.inl.
#include "rows.cuh"

namespace sffn::cuda {
namespace {

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    softmax_forward_kernel(const T* x, T* y, int64_t n, int64_t features, bool log) {
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    const T* from = x + r * features;
    const MaxSum row = row_max_sum<N>(from, features);
    const float log_total = logf(row.total), factor = 1.f / row.total;
    for_packs<N>(features, [&](int64_t i) {
      float value[N];
      load_pack<N>(from + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float shifted = value[k] - row.top;
        value[k] = log ? shifted - log_total : expf(shifted) * factor;
      }
      store_pack<N>(y + r * features + i, value);
    });
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    softmax_backward_kernel(const T* dy, const T* y, T* dx, int64_t n, int64_t features, bool log) {
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    float own = 0.f;
    for_packs<N>(features, [&](int64_t i) {
      float d[N], value[N];
      load_pack<N>(dy + r * features + i, d);
      load_pack<N>(y + r * features + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) own += log ? d[k] : d[k] * value[k];
    });
    const float total = block_sum(own);
    for_packs<N>(features, [&](int64_t i) {
      float d[N], value[N];
      load_pack<N>(dy + r * features + i, d);
      load_pack<N>(y + r * features + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) d[k] = log ? d[k] - expf(value[k]) * total : value[k] * (d[k] - total);
      store_pack<N>(dx + r * features + i, d);
    });
  }
}

}  // namespace

void softmax_forward(View x, View y, int64_t n, int64_t features, int64_t log) {
  if (n * features == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {x.data, y.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      softmax_forward_kernel<T, N><<<row_blocks(n), row_threads(features / N), 0, stream()>>>(
          data_of<T>(x), data_of<T>(y), n, features, log != 0);
    });
  });
  check_launch("softmax_forward");
}

void softmax_backward(View dy, View y, View dx, int64_t n, int64_t features, int64_t log) {
  if (n * features == 0) return;
  dispatch_float(dx.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {dy.data, y.data, dx.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      softmax_backward_kernel<T, N><<<row_blocks(n), row_threads(features / N), 0, stream()>>>(
          data_of<T>(dy), data_of<T>(y), data_of<T>(dx), n, features, log != 0);
    });
  });
  check_launch("softmax_backward");
}

}  // namespace sffn::cuda
