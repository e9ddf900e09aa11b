// AdamW and the global gradient norm over many tensors. All of it stays on the device: the factor of clipping, and the
// decision to skip a step whose gradients are not finite.
#include <cmath>

#include "rows.cuh"
#include "tensor_list.cuh"

namespace sffn::cuda {
namespace {

#include "../adamw_numbers.inl"

template <class T>
struct AdamWTensors {
  T* param;
  const T* grad;
  float *exp_avg, *exp_avg_sq;
  float* master;  // null for f32 parameters, which need no copy
  const AdamWNumbers* numbers;
};

template <class T, int N>
__device__ void update(const AdamWTensors<T>& at, int64_t i, float scale, const AdamWNumbers& by) {
  float gradient[N], first[N], second[N], value[N];
  load_pack<N>(at.grad + i, gradient);
  load_pack<N>(at.exp_avg + i, first);
  load_pack<N>(at.exp_avg_sq + i, second);
  if constexpr (std::is_same_v<T, float>)
    load_pack<N>(at.param + i, value);
  else
    load_pack<N>(at.master + i, value);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    const float g = gradient[k] * scale;
    first[k] = by.keep1 * first[k] + by.add1 * g;
    second[k] = by.keep2 * second[k] + by.add2 * g * g;
    value[k] = value[k] * by.decay - by.rate * first[k] / (sqrtf(second[k]) * by.correction + by.epsilon);
  }
  store_pack<N>(at.exp_avg + i, first);
  store_pack<N>(at.exp_avg_sq + i, second);
  store_pack<N>(at.param + i, value);
  if constexpr (!std::is_same_v<T, float>) store_pack<N>(at.master + i, value);
}

// 4 elements to an access, 16 bytes of f32 and 8 of bf16, where all addresses are aligned; the last ones go one by one.
template <class T>
__global__ void __launch_bounds__(kThreads)
    adamw_kernel(const __grid_constant__ TensorList<AdamWTensors<T>> list, const float* grad_scale, bool wide) {
  const float scale = grad_scale ? grad_scale[0] : 1.f;
  if (!isfinite(scale)) return;
  int64_t begin;
  const int tensor = list.find(begin);
  const AdamWTensors<T> at = list.entries[tensor];
  const AdamWNumbers numbers = *at.numbers;
  const int64_t end = min(begin + list.kPiece, list.sizes[tensor]),
                whole = wide ? begin + (end - begin) / 4 * 4 : begin;
  for (int64_t i = begin + threadIdx.x * 4; i < whole; i += kThreads * 4) update<T, 4>(at, i, scale, numbers);
  for (int64_t i = whole + threadIdx.x; i < end; i += kThreads) update<T, 1>(at, i, scale, numbers);
}

// The sum of squares of one piece, in f64.
template <class T>
__global__ void __launch_bounds__(kThreads)
    squares_kernel(const __grid_constant__ TensorList<const T*> list, double* partial) {
  int64_t begin;
  const int tensor = list.find(begin);
  const T* from = list.entries[tensor];
  const int64_t end = min(begin + list.kPiece, list.sizes[tensor]);
  double own = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double value = to_float(from[i]);
    own += value * value;
  }
  own = block_join(own, 0.0, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) partial[blockIdx.x] = own;
}

__global__ void __launch_bounds__(kThreads)
    norm_kernel(const double* partial, int64_t count, float* norm, float* scale, double max_norm) {
  double own = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) own += partial[i];
  const double total = sqrt(block_join(own, 0.0, [](double a, double b) { return a + b; }));
  if (threadIdx.x != 0) return;
  const double factor = max_norm > 0 ? fmin(1., max_norm / (total + 1e-6)) : 1.;
  const float given = static_cast<float>(total);
  const bool usable = isfinite(given) && total * factor <= kLargestNorm && factor >= kSmallestScale;
  norm[0] = usable || isnan(given) ? given : INFINITY;
  scale[0] = usable ? static_cast<float>(factor) : NAN;
}

// A thread to a tensor.
__global__ void __launch_bounds__(kThreads)
    gather_scalars_kernel(const __grid_constant__ TensorList<const float*> list, float* y) {
  if (const int i = static_cast<int>(threadIdx.x); i < list.count) y[i] = list.entries[i][0];
}

}  // namespace

void adamw_numbers(View numbers, Ints steps, int64_t first, double lr, double beta1, double beta2, double eps,
                   double weight_decay) {
  std::vector<AdamWNumbers> rows;
  for (const int32_t step : steps) rows.push_back(adamw_numbers_of(lr, beta1, beta2, eps, weight_decay, step));
  const int64_t words = static_cast<int64_t>(rows.size() * sizeof(AdamWNumbers) / sizeof(float));
  transfer({rows.data(), words, DType::f32, Device{}},
           {data_of<AdamWNumbers>(numbers) + first, words, DType::f32, here()});
}

void adamw_step(Views params, Views grads, Views exp_avg, Views exp_avg_sq, Views masters, View grad_scale,
                View numbers, int64_t first) {
  if (params.empty()) return;
  dispatch_float(params[0].dtype, [&](auto zero) {
    using T = decltype(zero);
    if (!std::is_same_v<T, float> && masters.size() != params.size())
      throw Error("ERR_DTYPE", "adamw_step: bfloat16 parameters need a float32 master each");
    bool wide = true;
    for (const Views& views : {params, grads, exp_avg, exp_avg_sq, masters})
      for (const View& view : views) wide = wide && aligned(view.data, 4 * size_of(view.dtype));
    for_tensor_lists<AdamWTensors<T>>(
        params.size(),
        [&](size_t t) {
          return AdamWTensors<T>{data_of<T>(params[t]),
                                 data_of<T>(grads[t]),
                                 data_of<float>(exp_avg[t]),
                                 data_of<float>(exp_avg_sq[t]),
                                 std::is_same_v<T, float> ? nullptr : data_of<float>(masters[t]),
                                 data_of<const AdamWNumbers>(numbers) + first + static_cast<int64_t>(t)};
        },
        [&](size_t t) { return params[t].size; },
        [&](const TensorList<AdamWTensors<T>>& list) {
          adamw_kernel<T>
              <<<static_cast<unsigned>(list.pieces()), kThreads, 0, stream()>>>(list, data_of<float>(grad_scale), wide);
        });
  });
  check_launch("adamw_step");
}

void grad_norm(Views grads, View norm, View scale, double max_norm) {
  int64_t pieces = 0;
  for (const View& grad : grads) pieces += ceil_div(grad.size, TensorList<const float*>::kPiece);
  const Workspace<double> partial(pieces);
  double* next = partial.get();
  const auto add = [&](DType dtype) {
    dispatch_float(dtype, [&](auto zero) {
      using T = decltype(zero);
      for_tensor_lists<const T*>(
          grads.size(), [&](size_t t) { return data_of<const T>(grads[t]); },
          [&](size_t t) { return grads[t].dtype == dtype ? grads[t].size : 0; },
          [&](const TensorList<const T*>& list) {
            squares_kernel<T><<<static_cast<unsigned>(list.pieces()), kThreads, 0, stream()>>>(list, next);
            next += list.pieces();
          });
    });
  };
  add(DType::f32);
  add(DType::bf16);
  norm_kernel<<<1, kThreads, 0, stream()>>>(partial.get(), pieces, data_of<float>(norm), data_of<float>(scale),
                                            max_norm);
  check_launch("grad_norm");
}

void gather_scalars(Views x, View y) {
  float* to = data_of<float>(y);
  for_tensor_lists<const float*>(
      x.size(), [&](size_t t) { return data_of<const float>(x[t]); }, [&](size_t t) { return x[t].size; },
      [&](const TensorList<const float*>& list) {
        gather_scalars_kernel<<<1, kThreads, 0, stream()>>>(list, to);
        to += list.count;
      });
  check_launch("gather_scalars");
}

}  // namespace sffn::cuda
