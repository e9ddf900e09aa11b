// Element by element: functions of one operand and their derivatives, fill, copy, cast, accumulation of gradients.
#include "activation.cuh"
#include "pack.cuh"
#include "trigonometry.cuh"

namespace sffn::cuda {
namespace {

__device__ float splat(float value) { return value; }
__device__ float exponential(float a) { return expf(a); }
__device__ float logarithm(float a) { return logf(a); }
__device__ float root(float a) { return sqrtf(a); }
__device__ float hyperbolic_tangent(float a) { return tanhf(a); }
__device__ float magnitude(float a) { return fabsf(a); }
__device__ float power(float a, float b) { return powf(a, b); }

// c is the scalar operand.
__device__ float apply_unary(UnaryOp op, float a, float c) {
  switch (op) {
#define UNARY(name, value, derivative) \
  case UnaryOp::name:                  \
    return value;
#include "../codes.def"
  }
  return a;
}

// dy/da; y is what the forward kernel gave.
__device__ float unary_derivative(UnaryOp op, float a, float y, float c) {
  switch (op) {
#define UNARY(name, value, derivative) \
  case UnaryOp::name:                  \
    return derivative;
#include "../codes.def"
  }
  return a;
}

template <class T>
__global__ void __launch_bounds__(kThreads) unary_kernel(const T* a, T* y, int64_t size, UnaryOp op, float c) {
  for (int64_t i = first_item(); i < size; i += item_stride()) y[i] = from_float<T>(apply_unary(op, to_float(a[i]), c));
}

// y is computed again from a where its rounding to T would spoil the derivative.
template <class T>
__global__ void __launch_bounds__(kThreads)
    unary_backward_kernel(const T* dy, const T* a, T* da, int64_t size, UnaryOp op, float c) {
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    const float x = to_float(a[i]);
    da[i] = from_float<T>(to_float(dy[i]) * unary_derivative(op, x, apply_unary(op, x, c), c));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) scale_by_kernel(T* x, const float* factor, int64_t size) {
  const float f = *factor;
  if (f == 1.f) return;
  for (int64_t i = first_item(); i < size; i += item_stride()) x[i] = from_float<T>(to_float(x[i]) * f);
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_scaled_kernel(const T* x, T* acc, int64_t size, float scale) {
  for (int64_t i = first_item(); i < size; i += item_stride())
    acc[i] = from_float<T>(to_float(acc[i]) + scale * to_float(x[i]));
}

template <class T>
__global__ void __launch_bounds__(kThreads) fill_kernel(T* y, int64_t size, T value) {
  for (int64_t i = first_item(); i < size; i += item_stride()) y[i] = value;
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads) cast_kernel(const From* x, To* y, int64_t size) {
  for (int64_t i = first_item(); i < size; i += item_stride()) y[i] = from_float<To>(to_float(x[i]));
}

}  // namespace

void unary(View a, View y, UnaryOp op, double c) {
  if (y.size == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_kernel<T><<<blocks_for(y.size), kThreads, 0, stream()>>>(data_of<T>(a), data_of<T>(y), y.size, op,
                                                                   static_cast<float>(c));
  });
  check_launch("unary");
}

void unary_backward(View dy, View a, View, View da, UnaryOp op, double c) {
  if (da.size == 0) return;
  dispatch_float(da.dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_backward_kernel<T><<<blocks_for(da.size), kThreads, 0, stream()>>>(
        data_of<T>(dy), data_of<T>(a), data_of<T>(da), da.size, op, static_cast<float>(c));
  });
  check_launch("unary_backward");
}

void scale_by(View x, View factor) {
  if (x.size == 0) return;
  dispatch_float(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    scale_by_kernel<T><<<blocks_for(x.size), kThreads, 0, stream()>>>(data_of<T>(x), data_of<float>(factor), x.size);
  });
  check_launch("scale_by");
}

void add_scaled(View x, View acc, double scale) {
  if (acc.size == 0) return;
  dispatch_float(acc.dtype, [&](auto zero) {
    using T = decltype(zero);
    add_scaled_kernel<T><<<blocks_for(acc.size), kThreads, 0, stream()>>>(data_of<T>(x), data_of<T>(acc), acc.size,
                                                                          static_cast<float>(scale));
  });
  check_launch("add_scaled");
}

void fill(View y, double value) {
  if (y.size == 0) return;
  const auto launch = [&](auto typed) {
    using T = decltype(typed);
    fill_kernel<T><<<blocks_for(y.size), kThreads, 0, stream()>>>(data_of<T>(y), y.size, typed);
  };
  switch (y.dtype) {
    case DType::f32:
      launch(static_cast<float>(value));
      break;
    case DType::bf16:
      launch(from_float<bf16>(static_cast<float>(value)));
      break;
    case DType::i32:
      launch(static_cast<int32_t>(value));
      break;
    case DType::i8:
      launch(static_cast<int8_t>(value));
      break;
  }
  check_launch("fill");
}

void copy(View x, View y) { transfer(x, y); }

void cast(View x, View y) {
  if (y.size == 0) return;
  if (x.dtype == y.dtype) return copy(x, y);
  if (y.dtype == DType::bf16)
    cast_kernel<<<blocks_for(y.size), kThreads, 0, stream()>>>(data_of<float>(x), data_of<bf16>(y), y.size);
  else
    cast_kernel<<<blocks_for(y.size), kThreads, 0, stream()>>>(data_of<bf16>(x), data_of<float>(y), y.size);
  check_launch("cast");
}

}  // namespace sffn::cuda
