// The activations of a layer and their derivatives: the formulas of native/cpu/activation.inl.
#pragma once

#include "common.cuh"

namespace sffn::cuda {

__host__ __device__ inline float sigmoid(float a) { return 1.f / (1.f + expf(-a)); }
__host__ __device__ inline float silu(float a) { return a * sigmoid(a); }
__host__ __device__ inline float silu_derivative(float a) {
  const float s = sigmoid(a);
  return s * (1.f + a * (1.f - s));
}
__host__ __device__ inline float relu(float a) { return a < 0.f ? 0.f : a; }
__host__ __device__ inline float relu_derivative(float a) { return a > 0.f ? 1.f : 0.f; }

// The tanh form (Hendrycks and Gimpel 2016).
constexpr float kGeluScale = 0.7978845608028654f;  // √(2/π)
constexpr float kGeluCubic = 0.044715f;
__host__ __device__ inline float gelu(float a) {
  return 0.5f * a * (1.f + tanhf(kGeluScale * (a + kGeluCubic * a * a * a)));
}
__host__ __device__ inline float gelu_derivative(float a) {
  const float t = tanhf(kGeluScale * (a + kGeluCubic * a * a * a));
  return 0.5f * (1.f + t) + 0.5f * a * (1.f - t * t) * kGeluScale * (1.f + 3.f * kGeluCubic * a * a);
}

// The gradient with respect to a pre-activation (for swiglu, both), and the activation's result.
struct Gradient {
  float activated, gate, up = 0;
};
__host__ __device__ inline Gradient gradient_of(Activation kind, float dy, float a, float up) {
  switch (kind) {
    case Activation::gelu:
      return {gelu(a), dy * gelu_derivative(a)};
    case Activation::silu:
      return {silu(a), dy * silu_derivative(a)};
    case Activation::relu:
      return {relu(a), dy * relu_derivative(a)};
    case Activation::swiglu:
      return {silu(a) * up, dy * up * silu_derivative(a), dy * silu(a)};
    default:
      return {a, dy};
  }
}

// For one pre-activation. swiglu takes two and is not handled here.
__host__ __device__ inline float activated(Activation kind, float a) {
  switch (kind) {
    case Activation::gelu:
      return gelu(a);
    case Activation::silu:
      return silu(a);
    case Activation::relu:
      return relu(a);
    default:
      return a;
  }
}

}  // namespace sffn::cuda
