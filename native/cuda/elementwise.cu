// Element by element: functions of one operand and their derivatives, fill, copy, cast, accumulation of gradients.
#include "activation.cuh"
#include "pack.cuh"
#include "trigonometry.cuh"

namespace sffn::cuda {
namespace {

// The numbers of lib/ops/elementwise.ts; c is the scalar operand.
__device__ float apply_unary(int op, float a, float c) {
  switch (op) {
    case 0:
      return -a;
    case 1:
      return expf(a);
    case 2:
      return logf(a);
    case 3:
      return sqrtf(a);
    case 4:
      return 1.f / sqrtf(a);
    case 5:
      return tanhf(a);
    case 6:
      return sigmoid(a);
    case 7:
      return gelu(a);
    case 8:
      return silu(a);
    case 9:
      return relu(a);
    case 10:
      return a * a;
    case 11:
      return fabsf(a);
    case 12:
      return a * c;
    case 13:
      return a + c;
    case 14:
      return powf(a, c);
    case 15:
      return sine(a);
    case 16:
      return cosine(a);
    case 17:
      return 1.f / a;
    case 18:
      return a < c ? c : a;
    default:
      return a > c ? c : a;
  }
}

// dy/da; y is what the forward kernel gave.
__device__ float unary_derivative(int op, float a, float y, float c) {
  switch (op) {
    case 0:
      return -1.f;
    case 1:
      return y;
    case 2:
      return 1.f / a;
    case 3:
      return 0.5f / y;
    case 4:
      return -0.5f * y * y * y;
    case 5:
      return 1.f - y * y;
    case 6:
      return y * (1.f - y);
    case 7:
      return gelu_derivative(a);
    case 8:
      return silu_derivative(a);
    case 9:
      return relu_derivative(a);
    case 10:
      return a + a;
    case 11:
      return a > 0.f ? 1.f : (a < 0.f ? -1.f : 0.f);
    case 12:
      return c;
    case 13:
      return 1.f;
    case 14:
      return c * powf(a, c - 1.f);
    case 15:
      return cosine(a);
    case 16:
      return -sine(a);
    case 17:
      return -y * y;
    case 18:
      return a > c ? 1.f : 0.f;
    default:
      return a < c ? 1.f : 0.f;
  }
}

constexpr int64_t kUnaryOps = 20;

void check_op(int64_t op) {
  if (op < 0 || op >= kUnaryOps) throw Error("ERR_OPTION", "unary: no such operation");
}

template <class T>
__global__ void __launch_bounds__(kThreads) unary_kernel(const T* a, T* y, int64_t size, int op, float c) {
  for (int64_t i = first_item(); i < size; i += item_stride()) y[i] = from_float<T>(apply_unary(op, to_float(a[i]), c));
}

// y is recomputed from a where its rounding to T would spoil the derivative.
template <class T>
__global__ void __launch_bounds__(kThreads)
    unary_backward_kernel(const T* dy, const T* a, T* da, int64_t size, int op, float c) {
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

void unary(View a, View y, int64_t op, double c) {
  check_op(op);
  if (y.size == 0) return;
  dispatch_float(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_kernel<T><<<blocks_for(y.size), kThreads, 0, stream()>>>(data_of<T>(a), data_of<T>(y), y.size,
                                                                   static_cast<int>(op), static_cast<float>(c));
  });
  check_launch("unary");
}

void unary_backward(View dy, View a, View, View da, int64_t op, double c) {
  check_op(op);
  if (da.size == 0) return;
  dispatch_float(da.dtype, [&](auto zero) {
    using T = decltype(zero);
    unary_backward_kernel<T><<<blocks_for(da.size), kThreads, 0, stream()>>>(
        data_of<T>(dy), data_of<T>(a), data_of<T>(da), da.size, static_cast<int>(op), static_cast<float>(c));
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
