// Layer norm and RMS norm over rows: the formulas of native/cpu/layer_norm.inl and rms_norm.inl. The gradients of
// weight and bias are sums over rows: blocks sum fixed chunks of rows, and the chunks are joined in order.
#include "reduce.cuh"
#include "rows.cuh"

namespace sffn::cuda {
namespace {

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    layer_norm_forward_kernel(const T* x, const T* weight, const T* bias, T* y, float* mean, float* rstd, int64_t n,
                              int64_t features, float eps) {
  const float inverse = 1.f / static_cast<float>(features);
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    const T* from = x + r * features;
    float own = 0.f;
    for_packs<N>(features, [&](int64_t i) {
      float value[N];
      load_pack<N>(from + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) own += value[k];
    });
    // The sum of the differences shows the rounding error of the rough mean.
    const float rough = block_sum(own) * inverse;
    float own_drift = 0.f, own_squares = 0.f;
    for_packs<N>(features, [&](int64_t i) {
      float value[N];
      load_pack<N>(from + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float d = value[k] - rough;
        own_drift += d;
        own_squares += d * d;
      }
    });
    const float drift = block_sum(own_drift) * inverse;
    const float variance = fmaxf(block_sum(own_squares) * inverse - drift * drift, 0.f);
    const float center = rough + drift, factor = 1.f / sqrtf(variance + eps);
    for_packs<N>(features, [&](int64_t i) {
      float value[N], scale[N], shift[N];
      load_pack<N>(from + i, value);
      load_pack<N>(weight + i, scale);
      if (bias) load_pack<N>(bias + i, shift);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        value[k] = (value[k] - center) * factor * scale[k];
        if (bias) value[k] += shift[k];
      }
      store_pack<N>(y + r * features + i, value);
    });
    if (threadIdx.x == 0) {
      mean[r] = center;
      rstd[r] = factor;
    }
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kRowThreads)
    rms_norm_forward_kernel(const T* x, const T* weight, T* y, float* rstd, int64_t n, int64_t features, float eps) {
  for (int64_t r = blockIdx.x; r < n; r += gridDim.x) {
    const T* from = x + r * features;
    float own = 0.f;
    for_packs<N>(features, [&](int64_t i) {
      float value[N];
      load_pack<N>(from + i, value);
#pragma unroll
      for (int k = 0; k < N; ++k) own += value[k] * value[k];
    });
    const float factor = 1.f / sqrtf(block_sum(own) / static_cast<float>(features) + eps);
    for_packs<N>(features, [&](int64_t i) {
      float value[N], scale[N];
      load_pack<N>(from + i, value);
      load_pack<N>(weight + i, scale);
#pragma unroll
      for (int k = 0; k < N; ++k) value[k] = value[k] * factor * scale[k];
      store_pack<N>(y + r * features + i, value);
    });
    if (threadIdx.x == 0) rstd[r] = factor;
  }
}

// Rows of a chunk, which depend only on the number of rows: at most 512 chunks.
struct RowChunks {
  int64_t rows, count;
  explicit RowChunks(int64_t n)
      : rows(std::max<int64_t>(16, ceil_div(n, 512))), count(std::max<int64_t>(1, ceil_div(n, rows))) {}
};

// The distance in shared memory from the sum of element k of a pack to that of element k + 1. All packs lie in between,
// so that neighbouring threads add to neighbouring banks; and 32 / N more, so that neighbouring columns lie in
// different banks.
template <int N>
__host__ __device__ int64_t element_step_in_shared(int64_t features) {
  return (features / N + kWarp - 1) / kWarp * kWarp + kWarp / N;
}

// One block to a chunk of rows. x̂ = (x − mean)·rstd. A null mean stands for 0 (RMS norm, which has no mean of g
// either). The sums of the chunk lie in shared memory, where every thread has its own columns. If they do not fit, they
// lie directly in `parts` [chunks, sums, features]. dx or parts may be null.
template <class T, int N, bool Centered>
__global__ void __launch_bounds__(kRowThreads)
    norm_backward_kernel(const T* dy, const T* x, const T* weight, const float* mean, const float* rstd, T* dx,
                         float* parts, bool parts_in_shared, int64_t n, int64_t features, int64_t chunk_rows) {
  extern __shared__ float4 shared_sums[];
  constexpr int kSums = Centered ? 2 : 1;
  float* result = parts ? parts + blockIdx.x * kSums * features : nullptr;
  float* sums = parts_in_shared ? reinterpret_cast<float*>(shared_sums) : result;
  const int64_t pack_step = parts_in_shared ? 1 : N;
  const int element_step = parts_in_shared ? static_cast<int>(element_step_in_shared<N>(features)) : 1;
  const int64_t sum_step = parts_in_shared ? N * element_step : features;
  // Where element 0 of the pack that begins at column i lies.
  const auto place = [&](int64_t i) { return i / N * pack_step; };
  const float inverse = 1.f / static_cast<float>(features);
  if (parts)
    for_packs<N>(features, [&](int64_t i) {
      float* at = sums + place(i);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        at[k * element_step] = 0.f;
        if (Centered) at[sum_step + k * element_step] = 0.f;
      }
    });
  const int64_t last = min((blockIdx.x + 1) * chunk_rows, n);
  for (int64_t r = blockIdx.x * chunk_rows; r < last; ++r) {
    const float center = Centered ? mean[r] : 0.f, factor = rstd[r];
    float own_g = 0.f, own_gx = 0.f;
    for_packs<N>(features, [&](int64_t i) {
      float d[N], value[N], scale[N];
      load_pack<N>(dy + r * features + i, d);
      load_pack<N>(x + r * features + i, value);
      load_pack<N>(weight + i, scale);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float normed = (value[k] - center) * factor, g = d[k] * scale[k];
        own_g += g;
        own_gx += g * normed;
        value[k] = d[k] * normed;
      }
      if (!parts) return;
      float* at = sums + place(i);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        at[k * element_step] += value[k];
        if (Centered) at[sum_step + k * element_step] += d[k];
      }
    });
    if (!dx) continue;
    const float mean_g = Centered ? block_sum(own_g) * inverse : 0.f, mean_gx = block_sum(own_gx) * inverse;
    for_packs<N>(features, [&](int64_t i) {
      float d[N], value[N], scale[N];
      load_pack<N>(dy + r * features + i, d);
      load_pack<N>(x + r * features + i, value);
      load_pack<N>(weight + i, scale);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float normed = (value[k] - center) * factor;
        d[k] = factor * (d[k] * scale[k] - mean_g - normed * mean_gx);
      }
      store_pack<N>(dx + r * features + i, d);
    });
  }
  if (!parts || !parts_in_shared) return;
  __syncthreads();
  for (int sum = 0; sum < kSums; ++sum)
    for (int64_t i = threadIdx.x; i < features; i += blockDim.x)
      result[sum * features + i] = sums[sum * sum_step + i % N * element_step + i / N];
}

template <bool Centered>
void norm_backward(View dy, View x, View weight, View mean, View rstd, View dx, View dweight, View dbias, int64_t n,
                   int64_t features) {
  constexpr int kSums = Centered ? 2 : 1;
  const RowChunks chunks(n);
  const bool wants_sums = dweight || dbias;
  const Workspace<float> parts(wants_sums ? chunks.count * kSums * features : 0);
  const DType dtype = dx ? dx.dtype : dweight ? dweight.dtype : dbias.dtype;
  dispatch_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {dy.data, x.data, weight.data, dx.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      constexpr size_t kSharedLimit = 48 << 10;  // what every device allows without a request
      const size_t bytes = static_cast<size_t>(kSums * N * element_step_in_shared<N>(features)) * sizeof(float);
      const bool in_shared = wants_sums && bytes <= kSharedLimit;
      norm_backward_kernel<T, N, Centered>
          <<<static_cast<unsigned>(chunks.count), row_threads(features / N), in_shared ? bytes : 0, stream()>>>(
              data_of<T>(dy), data_of<T>(x), data_of<T>(weight), data_of<float>(mean), data_of<float>(rstd),
              data_of<T>(dx), wants_sums ? parts.get() : nullptr, in_shared, n, features, chunks.rows);
    });
  });
  check_launch("norm_backward");
  if (!wants_sums) return;
  // The columns of [chunks, sums·features] are summed in one pass if both sums are wanted in one type.
  const Workspace<float> sums(kSums * features);
  reduce_sum(parts.get(), DType::f32, sums.get(), DType::f32, 1, chunks.count, kSums * features);
  const auto put = [&](const float* from, View to) {
    if (!to) return;
    const View total{const_cast<float*>(from), features, DType::f32, here()};
    if (to.dtype == DType::f32)
      copy(total, to);
    else
      cast(total, to);
  };
  put(sums.get(), dweight);
  if (Centered) put(sums.get() + features, dbias);
}

}  // namespace

void layer_norm_forward(View x, View weight, View bias, View y, View mean, View rstd, int64_t n, int64_t features,
                        double eps) {
  if (n * features == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {x.data, weight.data, bias.data, y.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      layer_norm_forward_kernel<T, N><<<row_blocks(n), row_threads(features / N), 0, stream()>>>(
          data_of<T>(x), data_of<T>(weight), data_of<T>(bias), data_of<T>(y), data_of<float>(mean),
          data_of<float>(rstd), n, features, static_cast<float>(eps));
    });
  });
  check_launch("layer_norm_forward");
}

void layer_norm_backward(View dy, View x, View weight, View mean, View rstd, View dx, View dweight, View dbias,
                         int64_t n, int64_t features) {
  if (features > 0 && (dx || dweight || dbias))
    norm_backward<true>(dy, x, weight, mean, rstd, dx, dweight, dbias, n, features);
}

void rms_norm_forward(View x, View weight, View y, View rstd, int64_t n, int64_t features, double eps) {
  if (n * features == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    dispatch_width<T>(features, {x.data, weight.data, y.data}, [&](auto width) {
      constexpr int N = decltype(width)::value;
      rms_norm_forward_kernel<T, N><<<row_blocks(n), row_threads(features / N), 0, stream()>>>(
          data_of<T>(x), data_of<T>(weight), data_of<T>(y), data_of<float>(rstd), n, features, static_cast<float>(eps));
    });
  });
  check_launch("rms_norm_forward");
}

void rms_norm_backward(View dy, View x, View weight, View rstd, View dx, View dweight, int64_t n, int64_t features) {
  if (features > 0 && (dx || dweight)) norm_backward<false>(dy, x, weight, {}, rstd, dx, dweight, {}, n, features);
}

}  // namespace sffn::cuda
